"""Losses of distillation and their gradients, with PyTorch in float64 and TRL's own functions.

Usage: python distill_reference.py OUT.json

The divergence is TRL's `generalized_jsd_loss`, which has top-k and tail. The cross-entropy with sampled targets is that of Gemma
3's report, written with `torch.nn.functional.cross_entropy` and soft targets.
Gradients are with respect to the student's logits before the soft cap.
"""

import json
import sys

import torch
import torch.nn.functional as F
from trl.experimental.iw_opd.iw_opd_trainer import IWOPDTrainer, _add_tail_bucket, _jsd_divergence

torch.manual_seed(7)
VOCAB, POSITIONS, K = 41, 2, 5


def capped(x, cap):
    return x if cap is None else cap * torch.tanh(x / cap)


def case(kind, student, teacher, cap, loss, **more):
    student = student.clone().requires_grad_()
    value = loss(capped(student, cap))
    value.sum().backward()
    return {"kind": kind, "softcap": cap, "student": student.detach().tolist(), "teacher": teacher.tolist(),
            "loss": value.tolist(), "grad": student.grad.tolist(), **more}


def main():
    cases = []
    # Numbers of 32 bits, so that the fixture holds what both sides compute with.
    draw = lambda scale: (scale * torch.randn(POSITIONS, VOCAB)).float().double()
    for cap in [None, 4.0]:
        student, teacher = draw(2.5), draw(2.5)
        for temperature in [1.0, 2.0]:
            for beta in [0.0, 0.5, 0.3, 1.0]:
                for top_k, tail in [(0, True), (K, True), (K, False)]:
                    def loss(logits):
                        return IWOPDTrainer.generalized_jsd_loss(
                            logits[None], teacher[None], beta=beta, temperature=temperature, reduction="none",
                            top_k=top_k, add_tail=tail)[0].sum(-1)
                    cases.append(case("teacher", student, teacher, cap, loss, beta=beta, temperature=temperature,
                                      top_k=top_k, tail=tail))
        logprobs = F.log_softmax(teacher, -1).float().double()
        listed, ids = logprobs.topk(K, -1)
        for beta in [0.0, 0.5, 1.0]:
            for tail in [True, False]:
                for temperature in [1.0] if tail else [1.0, 2.0]:
                    def loss(logits):
                        ours = F.log_softmax(logits / temperature, -1).gather(-1, ids)
                        mask = torch.ones_like(ids, dtype=torch.bool)
                        if tail:
                            ours, both = _add_tail_bucket(ours, mask)
                            theirs, _ = _add_tail_bucket(listed, mask)
                        else:
                            ours, both = F.log_softmax(ours, -1), mask
                            theirs = F.log_softmax(listed / temperature, -1)
                        return _jsd_divergence(ours, theirs, beta, both).sum(-1)
                    cases.append(case("listed", student, teacher, cap, loss, beta=beta, temperature=temperature,
                                      top_k=0, tail=tail, ids=ids.tolist(), logprobs=listed.tolist()))
        drawn = torch.multinomial(teacher.softmax(-1), K)
        theirs = logprobs.gather(-1, drawn)
        soft = torch.zeros_like(teacher).scatter(-1, drawn, theirs.exp())
        soft = soft / soft.sum(-1, keepdim=True)
        cases.append(case("sampled", student, teacher, cap, lambda x: F.cross_entropy(x, soft, reduction="none"),
                          ids=drawn.tolist(), logprobs=theirs.tolist()))
    lines = [json.dumps({key: rounded(value) for key, value in one.items()}) for one in cases]
    with open(sys.argv[1], "w") as file:
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


def rounded(value):
    """To 9 digits: they give back each number of 32 bits, and are far finer than the tolerance."""
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


main()
