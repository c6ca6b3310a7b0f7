"""Tiny random Gemma checkpoints and what `transformers` computes with them.

Writes OUT/<name>/{config.json, model*.safetensors, reference.safetensors} for
a handful of models that are small enough to commit and shaped so that the
usual mistakes show: the window is many times shorter than the text,
query_pre_attn_scalar differs from head_dim, heads * head_dim differs from
hidden_size, key/value heads are shared, and weights are scaled so that the
soft caps bite. The script asserts how far each mistake moves the result, and
how far float32 is from float64, which bounds what a tolerance may demand.

reference.safetensors holds
  input_ids  [T]         i64  the text, <bos> first, sampled from the model
  logits     [N, vocab]  f32  the logits of the last N positions (N = T unless long)
with T, N, first_position, mean_nll, max_f64_difference and the shifts that
the mistakes cause as strings of a JSON object in the metadata entry
"reference". The weights stay in the dtype of the
file and are computed in float32, as from_pretrained(dtype=float32) does.

Usage: python gemma_checkpoints.py OUT
"""

import copy
import json
import math
import pathlib
import shutil
import sys

import torch
from exact import float64
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
)

GEMMA2 = dict(
    vocab_size=160,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=12,
    query_pre_attn_scalar=20,
    sliding_window=8,
    attn_logit_softcapping=2.0,
    final_logit_softcapping=5.0,
    max_position_embeddings=512,
    rms_norm_eps=1e-6,
)
GEMMA3 = dict(
    vocab_size=144,
    hidden_size=32,
    intermediate_size=40,
    num_hidden_layers=8,
    num_attention_heads=4,
    num_key_value_heads=1,
    head_dim=12,
    query_pre_attn_scalar=20,
    sliding_window=8,
    max_position_embeddings=512,
    rms_norm_eps=1e-6,
    rope_parameters={
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
    },
)

# name -> (model class, config, saved dtype, shard size, old-form config.json, text length, positions kept)
CHECKPOINTS = {
    "gemma2-f32": (Gemma2ForCausalLM, GEMMA2, torch.float32, None, False, 96, 96),
    "gemma2-bf16": (
        Gemma2ForCausalLM,
        GEMMA2
        | dict(
            vocab_size=200,
            hidden_size=48,
            intermediate_size=64,
            num_hidden_layers=5,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            query_pre_attn_scalar=24,
            sliding_window=10,
            rms_norm_eps=1e-5,
        ),
        torch.bfloat16,
        None,
        False,
        96,
        96,
    ),
    "gemma2-sharded-f16": (Gemma2ForCausalLM, GEMMA2 | dict(vocab_size=128), torch.float16, "24KB", False, 96, 96),
    "gemma2-hub": (
        Gemma2ForCausalLM,
        GEMMA2
        | dict(
            vocab_size=130,
            num_hidden_layers=3,
            rope_parameters={"rope_type": "default", "rope_theta": 2000.0},
        ),
        torch.bfloat16,
        None,
        True,
        96,
        96,
    ),
    "gemma2-long": (
        Gemma2ForCausalLM,
        GEMMA2 | dict(vocab_size=128, num_hidden_layers=5, sliding_window=16),
        torch.bfloat16,
        None,
        False,
        400,
        100,
    ),
    "gemma3-bf16": (Gemma3ForCausalLM, GEMMA3, torch.bfloat16, None, False, 96, 96),
    "gemma3-hub": (
        Gemma3ForCausalLM,
        GEMMA3 | dict(num_hidden_layers=7, num_key_value_heads=2, sliding_window=6),
        torch.bfloat16,
        None,
        True,
        96,
        96,
    ),
}

# Mistakes that must move the mean loss by more than LOSS_SHIFT nats; all others must
# move some logit by more than LOGIT_SHIFT.
LOSS_MISTAKES = {"no_attn_cap", "no_final_cap"}
LOSS_SHIFT = 0.05
LOGIT_SHIFT = 1e-2
# Half of the 1e-4 that a reader may be held to: what is left is for its own rounding.
F64_LIMIT = 5e-5


def randomise(model, generator):
    """Overwrites every parameter: standard deviations chosen so that the caps bite."""
    gemma3 = model.config.model_type == "gemma3_text"
    for name, p in model.named_parameters():
        if "norm" in name:
            # Gemma multiplies by (1 + w). A mean of 1 after and behind the sublayers lets
            # the layers, not the embedding of the current token, decide the logits.
            mean = 1.0 if "post_" in name or name == "model.norm.weight" else 0.2
            if gemma3 and ("q_norm" in name or "k_norm" in name):
                mean = 0.3
            value = mean + 0.3 * torch.randn(p.shape, generator=generator)
        elif "embed_tokens" in name:
            # Without a final cap the logits, and with them the embedding, must stay small of themselves.
            value = (0.15 if gemma3 else 0.35) * torch.randn(p.shape, generator=generator)
        else:
            scale = 1.4 if "q_proj" in name or "k_proj" in name else 1.0
            value = scale / math.sqrt(p.shape[1]) * torch.randn(p.shape, generator=generator)
        with torch.no_grad():
            p.copy_(value)


@torch.no_grad()
def forward(model, ids):
    return model(input_ids=ids[None], use_cache=False).logits[0]


@torch.no_grad()
def sample_text(model, length, generator):
    """<bos> and then length - 1 ancestral samples, so that a mistake raises the loss on average."""
    ids = [2]
    while len(ids) < length:
        p = torch.softmax(forward(model, torch.tensor(ids))[-1].double(), dim=-1)
        ids.append(int(torch.multinomial(p, 1, generator=generator)))
    return torch.tensor(ids)


def mean_nll(logits, ids):
    return torch.nn.functional.cross_entropy(logits[:-1].double(), ids[1:]).item()


def variant(model, change_config=None, change_weights=None):
    """The same weights under a changed configuration: the model that a mistake would build."""
    config = copy.deepcopy(model.config)
    if change_config:
        change_config(config)
    config._attn_implementation = "eager"
    other = type(model)(config).eval()
    other.load_state_dict(model.state_dict())
    if change_weights:
        with torch.no_grad():
            change_weights(other)
    return other


def set_fields(**fields):
    def apply(config):
        for key, value in fields.items():
            setattr(config, key, value)

    return apply


def mistakes(model):
    c = model.config
    flipped = ["full_attention" if t == "sliding_attention" else "sliding_attention" for t in c.layer_types]
    shifted = [c.layer_types[(i + 1) % len(c.layer_types)] for i in range(len(c.layer_types))]

    def norm_without_one(m):
        for name, p in m.named_parameters():
            if "norm" in name:
                p.sub_(1.0)

    def unscaled_embedding(m):
        m.model.embed_tokens.embed_scale.fill_(1.0)

    yield "no_window", variant(model, set_fields(layer_types=["full_attention"] * c.num_hidden_layers))
    yield "window_everywhere", variant(model, set_fields(layer_types=["sliding_attention"] * c.num_hidden_layers))
    yield "window_one_too_wide", variant(model, set_fields(sliding_window=c.sliding_window + 1))
    yield "window_one_too_narrow", variant(model, set_fields(sliding_window=c.sliding_window - 1))
    yield "head_dim_scale", variant(model, set_fields(query_pre_attn_scalar=c.head_dim))
    yield "norm_without_one", variant(model, None, norm_without_one)
    yield "unscaled_embedding", variant(model, None, unscaled_embedding)
    if c.model_type == "gemma2":
        yield "flipped_parity", variant(model, set_fields(layer_types=flipped))
        yield "no_attn_cap", variant(model, set_fields(attn_logit_softcapping=None))
        yield "no_final_cap", variant(model, set_fields(final_logit_softcapping=None))
        wrong_base = {"rope_type": "default", "rope_theta": 2.0 * c.rope_parameters["rope_theta"]}
        yield "rope_base_doubled", variant(model, set_fields(rope_parameters=wrong_base))
    else:
        if "full_attention" in shifted:
            yield "pattern_shifted", variant(model, set_fields(layer_types=shifted))
        for kind in ("sliding_attention", "full_attention"):
            one = copy.deepcopy(c.rope_parameters)
            other = "full_attention" if kind == "sliding_attention" else "sliding_attention"
            one[kind]["rope_theta"] = one[other]["rope_theta"]
            yield f"rope_base_of_{other}_everywhere", variant(model, set_fields(rope_parameters=one))

        def without_qk_norm(m):
            for layer in m.model.layers:
                layer.self_attn.q_norm = torch.nn.Identity()
                layer.self_attn.k_norm = torch.nn.Identity()

        yield "no_qk_norm", variant(model, None, without_qk_norm)


def to_hub_form(path):
    """Rewrites config.json as the files on the hub have it (transformers 4: no layer_types, no rope_parameters)."""
    c = json.loads(path.read_text())
    rope = c.pop("rope_parameters")
    for absent in ("layer_types", "tie_word_embeddings", "use_bidirectional_attention"):
        c.pop(absent)
    c["torch_dtype"] = c.pop("dtype")
    c["transformers_version"] = "4.42.4"
    c["hidden_act"] = c["hidden_activation"]
    if c["model_type"] == "gemma2":
        c["rope_theta"] = rope["rope_theta"]
        c["cache_implementation"] = "hybrid"
    else:
        c["rope_theta"] = rope["full_attention"]["rope_theta"]
        c["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        c["rope_scaling"] = None
        c["sliding_window_pattern"] = 6
        c.pop("_sliding_window_pattern", None)
        c["cache_implementation"] = "hybrid"
    path.write_text(json.dumps(c, indent=2, sort_keys=True) + "\n")


def build(out, name, seed):
    cls, fields, dtype, shard, hub, length, keep = CHECKPOINTS[name]
    config_cls = Gemma2Config if cls is Gemma2ForCausalLM else Gemma3TextConfig
    config = config_cls(**fields)
    config._attn_implementation = "eager"
    generator = torch.Generator().manual_seed(seed)
    model = cls(config).eval()
    randomise(model, generator)

    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    (folder / "generation_config.json").unlink(missing_ok=True)
    if hub:
        to_hub_form(folder / "config.json")

    # From here on only what a reader of the files gets counts.
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    assert type(model) is cls and model.dtype == torch.float32
    assert model.config.layer_types == config.layer_types, "the old form must mean the same layers"
    assert model.config.rope_parameters == config.rope_parameters
    ids = sample_text(model, length, generator)
    logits = forward(model, ids)
    loss = mean_nll(logits, ids)
    assert loss > 1.0, (name, "a text that the model is sure of shows no mistakes", loss)

    with float64():
        f64 = (forward(copy.deepcopy(model).double(), ids) - logits.double()).abs().max().item()
    assert f64 < F64_LIMIT, (name, f64)

    first = length - keep
    meta = {
        "T": str(length),
        "N": str(keep),
        "first_position": str(first),
        "mean_nll": f"{loss:.9f}",
        "max_f64_difference": f"{f64:.3e}",
    }
    print(f"{name}: mean nll {loss:.4f}, f32 against f64 {f64:.1e}, largest |logit| {logits.abs().max():.2f}")
    for mistake, wrong in mistakes(model):
        other = forward(wrong, ids)
        shift = (other[first:] - logits[first:]).abs().max().item()
        nats = mean_nll(other, ids) - loss
        print(f"  {mistake:40} logit {shift:8.4f}  loss {nats:+.4f}")
        assert shift > LOGIT_SHIFT, (name, mistake, shift)
        assert mistake not in LOSS_MISTAKES or abs(nats) > LOSS_SHIFT, (name, mistake, nats)
        meta[f"logit_shift_{mistake}"] = f"{shift:.4f}"
        meta[f"loss_shift_{mistake}"] = f"{nats:+.4f}"
    save_file(
        {"input_ids": ids, "logits": logits[first:].contiguous()},
        folder / "reference.safetensors",
        # One entry: safetensors writes several in an order that changes from run to run.
        metadata={"reference": json.dumps(meta)},
    )


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    for seed, name in enumerate(CHECKPOINTS, start=11):
        build(out, name, seed)
    total = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    print(f"{total} bytes")


if __name__ == "__main__":
    main()
