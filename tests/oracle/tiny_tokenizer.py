"""Makes detector/tests/fixtures/tokenizer and tests/fixtures/chats.json: a Gemma-style vocabulary of 512 entries and
what the references make of it.

Usage: python tiny_tokenizer.py TEXT CHAT_CONFIG OUT CHATS
  TEXT         a plain English text to learn the pieces from (the committed files: a public-domain book)
  CHAT_CONFIG  tokenizer_config.json of a Gemma 3 instruction-tuned model, for its chat_template
  OUT          the directory to write (detector/tests/fixtures/tokenizer)
  CHATS        the file of chats to write (tests/fixtures/chats.json)

Written into OUT: tokenizer.json and tokenizer.gguf (the same vocabulary, as Hugging Face and llama.cpp spell it), and
reference.json with ids and text by SentencePiece. CHATS has chats by transformers.
"""

import io
import json
import random
import sys
from pathlib import Path

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPACE = "\u2581"
CONTROL = ["<start_of_turn>", "<end_of_turn>"]
USER = ["\n" * n for n in range(1, 6)] + [SPACE * n for n in range(2, 7)] + ["\t\t", "<table>", "</table>"]
SIZE = 512

TEXTS = [
    "", " ", "a", "The old man went down to the river.", "the  end", "   three before, three after   ",
    "one\ntwo\n\nthree\n\n\n\n\n\n\n\nten", "\r\n", "tab\t\ttab\ttab", "x" + " " * 20 + "y", "banana nananana aaaaaaa",
    "<table>row</table><table", "<bos>", "<start_of_turn>model\nI am the model<end_of_turn>\n<eos>", "<unk><pad>",
    "<0x41><0x0A>", "caf\u00e9 na\u00efve cafe\u0301", "\u4f60\u597d\uff0c\u4e16\u754c", "\U0001f600\U0001f469\u200d\U0001f680!",
    "\u2581literal \u2581\u2581 block", "\u0000\u0001\ufeff\u200b\u2028", "1234567890 3.14159 1e-9", "ALL CAPS And Mixed cAsE",
    "\ud7ff\ue000\U0010ffff",
]  # fmt: skip

CHATS = [
    ["Hello"],
    ["  Hello there \n", "Good day to you.", "What is the time?"],
    ["one", "\n\n two\t", "three ", "four", "five\u3000\u001f"],
    ["", "", "and now?"],
    ["\n\nleading newlines"],
]


def train(text: Path) -> pb.ModelProto:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.read_text(encoding="utf-8").splitlines()),
        model_writer=model,
        model_type="bpe",
        vocab_size=SIZE,
        byte_fallback=True,
        character_coverage=0.999,
        pad_id=0, eos_id=1, bos_id=2, unk_id=3,
        pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", unk_piece="<unk>",
        control_symbols=CONTROL,
        user_defined_symbols=USER,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        num_threads=1,
        minloglevel=2,
    )  # fmt: skip
    proto = pb.ModelProto()
    proto.ParseFromString(model.getvalue())
    return proto


def to_json(proto: pb.ModelProto) -> Tokenizer:
    """As transformers converts Gemma: merges ranked by the score of the whole, the longer left part first."""
    piece = pb.ModelProto.SentencePiece
    vocab = {p.piece: i for i, p in enumerate(proto.pieces)}
    merges = []
    for p in proto.pieces:
        if p.type in (piece.NORMAL, piece.USER_DEFINED):
            for cut in range(1, len(p.piece)):
                left, right = p.piece[:cut], p.piece[cut:]
                if left in vocab and right in vocab:
                    merges.append((p.score, len(left), len(right), left, right))
    merges.sort(key=lambda m: m[:3], reverse=True)
    tokenizer = Tokenizer(
        models.BPE(vocab, [m[3:] for m in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", vocab["<bos>"])]
    )
    for p in proto.pieces:
        if p.type in (piece.CONTROL, piece.UNKNOWN):
            tokenizer.add_special_tokens([AddedToken(p.piece, normalized=False, special=True)])
        elif p.type == piece.USER_DEFINED:
            tokenizer.add_tokens([AddedToken(p.piece, normalized=False)])
    # Training leftovers that a detector must ignore.
    tokenizer.enable_truncation(max_length=8)
    tokenizer.enable_padding(length=8)
    return tokenizer


def to_gguf(proto: pb.ModelProto, path: Path) -> None:
    """As convert_hf_to_gguf.py writes Gemma: control types by name, scores of added pieces -1000, spaces as spaces."""
    piece = pb.ModelProto.SentencePiece
    writer = gguf.GGUFWriter(path, "gemma2")
    writer.add_name("Tiny tokenizer")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    user = piece.USER_DEFINED
    writer.add_token_list([p.piece.replace(SPACE, " ") if p.type == user else p.piece for p in proto.pieces])
    writer.add_token_scores([p.score if p.type in (piece.NORMAL, piece.BYTE) else -1000.0 for p in proto.pieces])
    writer.add_token_types([piece.CONTROL if p.type == piece.UNKNOWN else p.type for p in proto.pieces])
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_add_space_prefix(False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def main() -> None:
    text, chat_config, out, chat_file = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    proto = train(text)
    reference = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    tokenizer = to_json(proto)
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    to_gguf(proto, out / "tokenizer.gguf")

    rng = random.Random(2)
    byte0 = reference.piece_to_id("<0x00>")
    # Incomplete, incomplete before a character, never valid, a surrogate, overlong.
    cases = (b"\xe2\x82", b"\xe2\x82\xc3\xa9", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80")
    stray = [[byte0 + b for b in case] for case in cases]
    for _ in range(40):
        pool = [byte0 + b for b in (0xF0, 0x9F, 0x98, 0x80, 0xC3, 0xA9, 0xE2, 0x41)]
        # Not the control tokens: SentencePiece writes <unk> as U+2047.
        pool += [rng.randrange(6, SIZE) for _ in range(4)]
        stray.append([rng.choice(pool) for _ in range(rng.randrange(1, 12))])

    tokenizer.no_truncation()
    tokenizer.no_padding()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )
    fast.chat_template = json.loads(chat_config.read_text(encoding="utf-8"))["chat_template"]
    chats = []
    for turns in CHATS:
        messages = [{"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(turns)]
        ids = fast.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
        chats.append({"turns": turns, "ids": ids})

    write_rows(
        out / "reference.json",
        {
            "encode": [{"text": t, "ids": reference.encode(t)} for t in TEXTS],
            "decode": [{"ids": ids, "text": reference.decode(ids)} for ids in stray],
        },
    )
    write_rows(chat_file, {"chat": chats})


def write_rows(path: Path, lists: dict[str, list]) -> None:
    """Writes an object of lists, one row a line."""
    lines = [f'"{key}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]" for key, rows in lists.items()]
    path.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


main()
