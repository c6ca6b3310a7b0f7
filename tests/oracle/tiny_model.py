"""A random Gemma 2 that fits the tiny tokenizer: a whole model directory for end-to-end tests.

Writes OUT/{config.json, model.safetensors, tokenizer.json}. Logits are spread
so that a draw has about 3 nats of entropy, which a mark of some dozens of
tokens needs to be found.

Usage: python tiny_model.py TOKENIZER.json OUT
"""

import pathlib
import shutil
import sys

import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

tokenizer, out = map(pathlib.Path, sys.argv[1:])
torch.manual_seed(2)
config = Gemma2Config(
    vocab_size=512,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=12,
    query_pre_attn_scalar=20,
    sliding_window=8,
    attn_logit_softcapping=2.0,
    final_logit_softcapping=8.0,
    max_position_embeddings=512,
    bos_token_id=2,
    eos_token_id=1,
    pad_token_id=0,
)
model = Gemma2ForCausalLM(config)
with torch.no_grad():
    for name, weight in model.named_parameters():
        weight.normal_(std=0.3 if weight.dim() > 1 else 0.1)
model.to(torch.bfloat16).save_pretrained(out)
(out / "generation_config.json").unlink(missing_ok=True)
shutil.copyfile(tokenizer, out / "tokenizer.json")
