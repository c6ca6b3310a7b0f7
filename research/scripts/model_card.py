"""Writes the default model's card from the files that the other scripts wrote.

Usage: python model_card.py MODEL KN.json HELD_OUT.json UNMARKED.jsonl PROMPTS.jsonl MODEL.gguf COMMAND OUT.md
           [--note NOTE] [--mark MARK.json ...] [--detected DETECTED.json] [--transformers DIFFERENCE] [--llama LLAMA.json ...]
  MODEL      the directory that `wmgen train` wrote
  KN         of kneser_ney.py
  HELD_OUT   of held_out_peer.py, of MODEL.gguf
  UNMARKED   of `wmgen generate --no-watermark --json` on PROMPTS; every tenth text, from the first, is a sample
  COMMAND    the command that trained the model, as the card shall say it
  NOTE       what else there is to say of the training
  MARK       of mark_cost.py score
  DETECTED   of mark_cost.py detected
  DIFFERENCE what trained.py printed as the largest
  LLAMA      of llama_greedy.py
"""

import argparse
import hashlib
import json
from pathlib import Path


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def quoted(text):
    """As a Markdown quotation, every line a line."""
    escaped = text.replace("\\", "\\\\")
    for mark in "*_`[]<>#":
        escaped = escaped.replace(mark, "\\" + mark)
    return "\n".join(("> " + line + "\\" if line else ">") for line in escaped.split("\n")).rstrip("\\")


def signed(value, digits=4):
    return f"{value:+.{digits}f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "kn", "held_out", "unmarked", "prompts", "gguf", "command", "out"):
        parser.add_argument(name)
    parser.add_argument("--mark", action="append", default=[])
    parser.add_argument("--detected")
    parser.add_argument("--transformers")
    parser.add_argument("--note", default="")
    parser.add_argument("--llama", action="append", default=[])
    args = parser.parse_args()
    training, config = read(f"{args.model}/training.json"), read(f"{args.model}/config.json")
    kn, held_out = read(args.kn), read(args.held_out)
    texts, prompts = lines(args.unmarked), [line["prompt"] for line in lines(args.prompts)]
    assert kn["held_out_scored"] == training["held_out_scored"] and len(texts) == len(prompts)
    settings, same = training["settings"], held_out["same_text"]
    size = Path(args.gguf).stat().st_size
    sampling = texts[0]["sampling"]
    below = 1 - held_out["all"]["perplexity"] / kn["perplexity"]

    parts = [f"""# Model card: wmgen-default

A Gemma 2 of {training['parameters'] / 1e6:.1f} million parameters, trained from nothing with `wmgen train`. With it the programs can write on
a machine without weights and without a network. Next to a real Gemma it is a toy. It is good for trying the mark, for
tests and for demonstrations.

| | |
|---|---|
| file | GGUF, Q8_0 (norms f32), {size / 2**20:.2f} MiB, tokenizer inside |
| SHA-256 | `{hashlib.sha256(Path(args.gguf).read_bytes()).hexdigest()}` |
| architecture | Gemma 2: hidden {config['hidden_size']}, {config['num_hidden_layers']} layers (local of {config['sliding_window']} positions and global in turn), {config['num_attention_heads']} heads of {config['head_dim']}, {config['num_key_value_heads']} key-value heads, feed-forward {config['intermediate_size']}, soft caps {config['attn_logit_softcapping']:g} and {config['final_logit_softcapping']:g}, tied embedding |
| vocabulary | {config['vocab_size']:,} pieces, byte-pair encoding with byte fallback, learned from the same text |
| context | {settings['context']} tokens |
| licence | weights and tokenizer: MIT or Apache-2.0, as the repository; the training text is in the public domain in the US |

## Data

296 public-domain books of Project Gutenberg, plain narrative and dialogue of about 1870 to 1960 (Alger, Burnett, Doyle, Nesbit,
Montgomery, Baum, Wodehouse and others), headers stripped, paragraphs with slurs dropped; taken from the public repository
rcdm-uga/Gutenberg_Text. {(training['train_bytes'] + training['held_out_bytes']) / 1e6:.1f} MB. The text is not in this repository. One book in a hundred, chosen by SHA-256, is held out:
{training['held_out_tokens']:,} tokens, {training['held_out_bytes'] / 1e3:.0f} kB. The vocabulary was learned from all of the text.

## Training

```sh
{args.command}
```

{training['steps']:,} steps of {settings['batch']} rows of {settings['context']} tokens: {training['tokens'] / 1e6:.1f} million tokens, {training['epochs']:.2f} times the training text, in {training['seconds'] / 3600:.1f} hours on 2 CPU
cores that it shared. AdamW (decay {settings['optimizer']['weight_decay']:g}), learning rate {settings['learning_rate']:g} after {settings['warmup']} steps, then a cosine to {settings['learning_rate'] * settings['floor']:g}; seed {settings['seed']}, float32.{' ' + args.note if args.note else ''}

![Loss](loss.svg)

## Held-out text

All rows of the three held-out books, {training['held_out_scored']:,} tokens, each row scored from nothing after `<bos>`.

| | nats a token | perplexity a token | bits a byte |
|---|---|---|---|
| this model, float32 | {training['held_out']:.4f} | {training['perplexity']:.2f} | {training['bits_per_byte']:.3f} |
| this model, the Q8_0 file | {held_out['all']['held_out']:.4f} | {held_out['all']['perplexity']:.2f} | {held_out['all']['bits_per_byte']:.3f} |
| modified Kneser-Ney {kn['order']}-gram, same tokens | {kn['held_out']:.4f} | {kn['perplexity']:.2f} | {kn['bits_per_byte']:.3f} |

The file's perplexity is {abs(below):.1%} {'below' if below > 0 else 'above'} that of the {kn['order']}-gram model, which was fitted on the same training text with the same
vocabulary (three discounts an order, interpolated; it knows how rows begin as the model does. With the text before a row as
context, which the model does not get: {kn['held_out_unbroken']:.4f} nats).

For scale, a public model on the same {same['bytes'] / 1e3:.0f} kB ({len(same['rows'])} of the rows, text before the row unseen by both):

| | parameters | bits a byte |
|---|---|---|
| this model, the Q8_0 file | {training['parameters'] / 1e6:.1f} M | {same['ours']['bits_per_byte']:.3f} |
| SmolLM2-135M-Instruct (Q4_1) | 135 M | {same['peer']['bits_per_byte']:.3f} |

It was trained on trillions of tokens; these books, long in the public domain, are probably among them.
"""]

    items = []
    if args.detected or args.mark:
        parts.append(f"""## Marked text

100 openings of the held-out books (`research/data/prompts.jsonl`), one text of 100 tokens each, temperature
{sampling['temperature']:g}, top-k {sampling['top_k']}, one key.
""")
    if args.detected:
        d = read(args.detected)
        low, high = d["unmarked_interval"]
        items.append(f"""- Detected from the text alone at a false-positive rate of 1e-3: {d['detected_1e-3']} of {d['texts']}; at 1e-6: {d['detected_1e-6']} of {d['texts']}. Largest p-value: {d['largest_p']:.1e}.
- Unmarked texts under {d['keys']} random keys at 1e-3: {d['unmarked_flagged']} of {d['unmarked_trials']:,}, {d['unmarked_rate']:.5f} (95 % over keys: {low:.5f} to {high:.5f}).
""")
    for path in args.mark:
        m = read(path)
        d, r = m["difference_nats_a_token"], m["perplexity_ratio"]
        items.append(f"""- Perplexity of the texts under {m['peer']}: marked {m['marked']['perplexity']:.1f}, unmarked {m['unmarked']['perplexity']:.1f}. Paired difference
  {signed(d['mean'])} nats a token (95 %: {signed(d['interval'][0])} to {signed(d['interval'][1])}), a factor of {r['mean']:.3f} ({r['interval'][0]:.3f} to {r['interval'][1]:.3f}).
""")

    parts += ["".join(items)] if items else []

    if args.llama:
        parts.append("## In other programs\n")
        items = []
        if args.transformers:
            items.append(f"- `transformers` on the directory: log-probabilities of {settings['context']} tokens differ by at most {args.transformers} nats.\n")
        for path in args.llama:
            m = read(path)
            gaps = [abs(p["gap_llama_cpp"]) for p in m["parted"] if p["gap_llama_cpp"] is not None]
            parted = f"; where they part, the two tokens are at most {max(gaps):.1g} nats apart" if gaps else ""
            items.append(f"- llama.cpp on `{m['model']}`: {m['same_texts']} of {m['prompts']} greedy texts of 60 tokens are the same{parted}. The ids of {m['same_prompt_ids']} prompts are the same.\n")

        parts.append("".join(items))

    parts.append(f"""## Samples

Unmarked, unedited, temperature {sampling['temperature']:g}, top-k {sampling['top_k']}, 100 tokens: the texts of every tenth of the 100 prompts, seeds
{', '.join(str(text['sampling']['seed']) for text in texts[::10])}. The prompt is in bold.
""")
    for prompt, text in list(zip(prompts, texts))[::10]:
        bold, rest = quoted(prompt)[2:], quoted(text["text"])[2:]
        parts.append(f"> **{bold}**{rest}\n")

    parts.append("""## Limits

- English as it was a hundred years ago, with that time's views of people and of the world. Names and places come from the books.
- Many sentences hold together, few paragraphs do. It invents words, knows no facts and no arithmetic, and can repeat itself.
- No chat, no instructions, no safety training. Nothing but English prose was in the training text.
- The mark of so unpredictable a model is found sooner than that of a large one at the same temperature: results here
  say little about real models. See [docs/reference/results.md](../docs/reference/results.md) for those.
""")
    Path(args.out).write_text("\n".join(parts), encoding="utf-8")


main()
