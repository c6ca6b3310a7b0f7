"""Per-token log-probabilities of a text under a Gemma 3 GGUF file, by `transformers`.

The tensors are dequantised by the `gguf` package and put into
Gemma3ForCausalLM by hand, since a GGUF leaves three things unsaid that a
generic loader must guess: the norms have their 1 already added (subtracted
here), the local rotary base is 10,000, and every sixth layer is global.
Computed in float32, eager attention, <bos> in front and not scored.

OUT gets {ids, token_logprobs, mean_nll, ...}: ids with <bos>, one natural
logarithm for each id but the first.

--compare also prints how far sdpa attention, true float64, and transformers'
own GGUF loader are from the result (what a tolerance has to allow), and how
far some mistakes are (what it must not).

Usage: python gemma3_logprobs.py MODEL.gguf TOKENIZER.json TEXT OUT.json [--compare]
"""

import argparse
import json
import pathlib
import re
import time

import gguf
import torch
from exact import float64
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig

LOCAL_ROPE_BASE = 10_000.0
PATTERN = 6  # five local layers, then a global one
CHUNK = 128  # positions whose logits exist at once

LAYER_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def parameter_name(name):
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    layer, part = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name).groups()
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.weight"


def load(path, attention, local_base=LOCAL_ROPE_BASE, pattern=PATTERN):
    reader = gguf.GGUFReader(path)

    def field(name):
        return reader.fields[f"gemma3.{name}"].contents()

    tensors = {}
    for t in reader.tensors:
        w = torch.from_numpy(gguf.quants.dequantize(t.data, t.tensor_type).copy()).float()
        tensors[parameter_name(t.name)] = w - 1.0 if "norm" in t.name else w
    config = Gemma3TextConfig(
        vocab_size=tensors["model.embed_tokens.weight"].shape[0],
        hidden_size=field("embedding_length"),
        intermediate_size=field("feed_forward_length"),
        num_hidden_layers=field("block_count"),
        num_attention_heads=field("attention.head_count"),
        num_key_value_heads=field("attention.head_count_kv"),
        head_dim=field("attention.key_length"),
        # No key in the file; every Gemma 3 but the 27B has head_dim here.
        query_pre_attn_scalar=field("attention.key_length"),
        sliding_window=field("attention.sliding_window"),
        max_position_embeddings=field("context_length"),
        rms_norm_eps=field("attention.layer_norm_rms_epsilon"),
        sliding_window_pattern=pattern,
        rope_parameters={
            "sliding_attention": {"rope_type": "default", "rope_theta": local_base},
            "full_attention": {"rope_type": "default", "rope_theta": field("rope.freq_base")},
        },
    )
    config._attn_implementation = attention
    with torch.device("meta"):
        model = Gemma3ForCausalLM(config)
    missing, unexpected = model.load_state_dict(tensors, strict=False, assign=True)
    assert unexpected == [] and missing == ["lm_head.weight"], (missing, unexpected)
    # The buffers are not in the file and were made without storage above.
    model.model.rotary_emb = type(model.model.rotary_emb)(config)
    model.model.embed_tokens.embed_scale = torch.tensor(config.hidden_size**0.5)
    model.tie_weights()
    return model.eval()


@torch.no_grad()
def logprobs(model, ids, positions=None):
    """[len(ids) - 1] natural logarithms, float64; the head runs over CHUNK positions at a time."""
    hidden = model.model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]
    out = []
    for start in range(0, len(ids) - 1, CHUNK):
        end = min(start + CHUNK, len(ids) - 1)
        logits = model.lm_head(hidden[start:end]).double()
        target = torch.tensor(ids[start + 1 : end + 1])
        out.append(torch.log_softmax(logits, dim=-1).gather(1, target[:, None])[:, 0])
    return torch.cat(out)


def difference(label, a, b):
    d = (a - b).abs()
    print(
        f"{label}: largest {d.max():.2e}, mean {d.mean():.2e} nats a token, "
        f"mean nll differs by {abs(a.mean() - b.mean()):.1e}, perplexity {torch.exp(-b.mean()):.6f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "tokenizer", "text", "out"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--compare", action="store_true")
    args = parser.parse_args()

    ids = Tokenizer.from_file(str(args.tokenizer)).encode(args.text.read_text(), add_special_tokens=False).ids
    ids = [2] + ids
    model = load(args.model, "eager")
    start = time.time()
    lp = logprobs(model, ids)
    print(f"{len(ids) - 1} tokens scored in {time.time() - start:.1f} s, mean nll {-lp.mean():.9f}")
    args.out.write_text(
        json.dumps(
            {
                "about": "Made by gemma3_logprobs.py: natural logarithms, float32, eager attention; ids[0] is <bos>, unscored.",
                "mean_nll": -lp.mean().item(),
                "perplexity": torch.exp(-lp.mean()).item(),
                "ids": ids,
                "token_logprobs": [round(v, 7) for v in lp.tolist()],
            },
            separators=(",", ":"),
        )
        + "\n"
    )
    if args.compare:
        difference("sdpa", lp, logprobs(load(args.model, "sdpa"), ids))
        loader = AutoModelForCausalLM.from_pretrained(
            args.model.parent, gguf_file=args.model.name, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        c, d = loader.config, model.config
        for key in ("layer_types", "rope_parameters", "sliding_window", "query_pre_attn_scalar", "rms_norm_eps"):
            if getattr(c, key) != getattr(d, key):
                print(f"transformers' GGUF loader has {key} = {getattr(c, key)}, not {getattr(d, key)}")
        difference("transformers' GGUF loader", lp, logprobs(loader, ids))
        del loader
        with float64():
            exact = logprobs(model.double(), ids)
        difference("float64", lp, exact)
        del model
        for label, wrong in (("local base 1e6", dict(local_base=1e6)), ("global every 7th", dict(pattern=7))):
            difference(label, lp, logprobs(load(args.model, "eager", **wrong), ids))
        model = load(args.model, "eager")
        model.config.sliding_window += 1
        difference("window 513", lp, logprobs(model, ids))
        model.config.sliding_window -= 1
        difference("bfloat16", lp, logprobs(model.bfloat16(), ids))


if __name__ == "__main__":
    main()
