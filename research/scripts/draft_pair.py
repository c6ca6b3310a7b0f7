"""Makes a model of random weights and a draft model that agrees with it often, to measure drafts beside llama.cpp.

Usage: python draft_pair.py RANDOM.gguf TOKENIZER.gguf TARGET.gguf DRAFT.gguf [--layers 2] [--first 4] [--rest 0.5]

RANDOM is a file of `wmgen bench --shape gemma2-2b --write-gguf`. TARGET has its tensors, but the weights of the norms behind
attention and feed-forward are FIRST in the first LAYERS layers and REST in all others. DRAFT has the first LAYERS layers alone.
Both cost what their shapes cost. With REST from 0.35 to 0.9 they predict the same token nearly always; the embedding is tied
and random, so the text is often one token again and again. Both files get the tokenizer of TOKENIZER, cut to the vocabulary of
RANDOM.
"""

import argparse

import gguf
import numpy as np

NORMS = ("post_attention_norm.weight", "post_ffw_norm.weight")


def layer(name):
    """Returns the number of the layer that a tensor belongs to, or None."""
    return int(name.split(".")[1]) if name.startswith("blk.") else None


def add_fields(writer, fields, vocabulary=None, **replaced):
    for field in fields:
        kind = field.types[0]
        value = replaced.get(field.name.split(".")[-1], field.contents())
        element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        if element is not None and vocabulary is not None and len(value) > vocabulary:
            value = value[:vocabulary]
        writer.add_key_value(field.name, value, kind, sub_type=element)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("random", "tokenizer", "target", "draft"):
        parser.add_argument(name)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--first", type=float, default=4)
    parser.add_argument("--rest", type=float, default=0.5)
    args = parser.parse_args()
    random, tokenizer = gguf.GGUFReader(args.random), gguf.GGUFReader(args.tokenizer)
    own = [
        field
        for field in random.fields.values()
        if not field.name.startswith(("GGUF.", "tokenizer.")) and field.name != "general.architecture"
    ]
    words = [field for field in tokenizer.fields.values() if field.name.startswith("tokenizer.")]
    vocabulary = next(int(t.shape[1]) for t in random.tensors if t.name == "token_embd.weight")
    for path, layers in ((args.target, None), (args.draft, args.layers)):
        writer = gguf.GGUFWriter(path, arch="gemma2")
        add_fields(writer, own, **({} if layers is None else {"block_count": layers}))
        add_fields(writer, words, vocabulary)
        kept = [t for t in random.tensors if layers is None or layer(t.name) is None or layer(t.name) < layers]
        for tensor in kept:
            writer.add_tensor_info(
                tensor.name, tensor.data.shape, tensor.data.dtype, tensor.data.nbytes, tensor.tensor_type
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in kept:
            data = tensor.data
            if tensor.name.endswith(NORMS):
                data = np.full_like(data, args.first if layer(tensor.name) < args.layers else args.rest)
            writer.write_tensor_data(data)
        writer.close()


if __name__ == "__main__":
    main()
