"""What the reference tokenizers make of strings chosen to be awkward, with the real Gemma vocabularies.

Writes OUT with, for each string,
  gemma2  ids by Hugging Face `tokenizers` from Gemma 2's tokenizer.json
  gemma3  the same from Gemma 3's
  gguf    ids by SentencePiece from the vocabulary, scores and types in a Gemma 3 GGUF file
all without <bos> and with control tokens spelled out in the text read as plain text
(`encode_special_tokens`, as SentencePiece does). "special2" and "special3" give the
ids with control tokens recognised, and "decoded2", "decoded3" the text that plain
ids decode to; all only where they differ from plain ids and from the string. "gguf" is
absent where it equals "gemma3".

Usage: python tokenizer_reference.py GEMMA2.json GEMMA3.json GEMMA3.gguf OUT.json
"""

import json
import pathlib
import random
import sys

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import Tokenizer

SPACE = "\u2581"

FIXED = [
    "", " ", "  ", "   ", "\n", "\n\n", "\n\n\n", "\t", "\t\t", "\r\n", "\r", " \n ", "\n \n", "\t \t", "\u00a0", "\u3000",
    "a", " a", "a ", " a ", "  a", "a  ", "a  b", "a   b", "a\n\nb", "a \n\n b", "a\tb", "a\t\t\tb",
    "Hello, world!", "The quick brown fox jumps over the lazy dog.", "don't can't won't I'm you're they'll", "“Curly” ‘quotes’ — and – dashes…",
    "HELLO WORLD", "hElLo WoRlD", "antidisestablishmentarianism", "supercalifragilisticexpialidocious", "e.g. i.e. etc. U.S.A. Ph.D.",
    "1", "12", "123", "1234567890", "3.14159265358979", "1,000,000.00", "1e-9", "0x1F600", "2024-11-24T09:14:00Z", "٠١٢٣٤٥٦٧٨٩", "Ⅷ ½ ² ₃",
    # Look-alikes of control tokens and of the pieces themselves.
    "<bos>", "<eos>", "<pad>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<image_soft_token>", "<unused0>", "<unused99>",
    "<bos>Hello<eos>", "x<bos>y", "< bos >", "<bos", "bos>", "<<bos>>", "<BOS>", "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n",
    "<table>", "<b>bold</b>", "<h1>Title</h1>", "<0x0A>", "<0x41>", "<0xZZ>", "[@BOS@]", "[multimodal]", "<2mass>", "[toxicity=0]",
    "▁", "▁▁", "▁▁▁", "▁a", "a▁b", "a ▁ b", "▁ ", " ▁", "_", "__init__",
    # Emoji: joiners, modifiers, flags, keycaps.
    "😀", "😀😀😀", "👩‍🚀", "👨‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "1️⃣", "❤️", "❤", "🫠🫨🪿", "\U0001fae9", "a😀b", "\u200d", "\ufe0f",
    # Scripts.
    "नमस्ते दुनिया", "क्षत्रिय", "हिन्दी में लिखा हुआ एक वाक्य।", "سلام دنیا", "می‌خواهم", "این یک متن فارسی است.", "مرحبا بالعالم", "שלום עולם",
    "你好，世界", "中华人民共和国", "こんにちは世界", "カタカナ ﾊﾝｶｸ", "안녕하세요 세계", "ᄒ\u1161\u11ab", "สวัสดีชาวโลก", "Привет, мир", "Γειά σου Κόσμε",
    "Xin chào thế giới", "İstanbul ığdır", "Zażółć gęślą jaźń", "straße ẞ", "ﬁ ﬂ ﬀ", "ꙮ", "𓀀𓁐", "𐍈", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "ᚠᚢᚦ", "ཨོཾ", "\u1e9e\u0307",
    # Combining marks, direction marks, controls, private use, noncharacters: byte fallback.
    "é", "e\u0301", "a\u0300\u0301\u0302\u0303", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢", "\u202eabc\u202c", "\u200b", "\ufeff", "\ufeffa", "\x00", "\x01\x02\x03", "\x1b[31m", "\x7f", "\x85",
    "\u2028\u2029", "\ue000", "\uf8ff", "\ufffd", "\uffff", "\U0010ffff", "\U000e0041", "\ud7ff", "\u0378", "\U0003134a",
    # Code and markup.
    "def f(x):\n    return x  # doc\n", "\tif (a == b) {\n\t\treturn *p++;\n\t}\n", "fn main() { println!(\"{:?}\", vec![1, 2]); }",
    "SELECT * FROM t WHERE a >= 10;", "https://example.com/a?b=c&d=%20#e", "user@example.com", "C:\\Users\\x\\y.txt", "```rust\nlet x = 1;\n```",
    "{\"a\": [1, 2.5, null, true]}", "<div class=\"a\">b</div>", "a<b && c>d || e!=f", "$x^2 + \\frac{1}{2}$", "# Title\n\n- item\n- item\n", "===---===***", "!!!???...,,,;;;",
]  # fmt: skip


def strings():
    out = list(FIXED)
    for n in (4, 5, 15, 16, 17, 30, 31, 32, 33, 64, 100):
        out.append(" " * n)
    for n in (8, 16, 30, 31, 32, 33, 70):
        out.append("\n" * n)
    for n in (8, 31, 33):
        out.append("\t" * n)
    for n in (7, 31, 40):
        out.append("x" + " " * n + "y")
    for unit, n in (("a", 100), ("ab", 60), ("ha", 50), ("=", 80), ("-", 77), ("▁", 40), ("0", 64), ("é", 40), ("😀", 20), ("的", 40), ("aA", 33), ("\x00", 9)):
        out.append(unit * n)
    rng = random.Random(3)
    alphabets = [
        "ab ", "aeiou ,.\n", " \n\t", "abcdefghijklmnopqrstuvwxyz", "ABCabc123_ ", "<>/=\"' abc", "тест ", "\u0301\u0302ae ", "😀👍🏽\u200d\ufe0f ",
        "▁ a", "नमसते्ि ", "\x00\x7f\u0378a ", "0123456789.,- ", "あいう漢字ーア ", "خمیس\u200c ",
    ]  # fmt: skip
    for alphabet in alphabets:
        for length in (9, 40):
            out.append("".join(rng.choice(alphabet) for _ in range(length)))
    for _ in range(12):  # anything that UTF-8 can spell
        points = []
        while len(points) < 10:
            c = rng.randrange(0x110000 if rng.random() < 0.3 else 0x3000)
            if not 0xD800 <= c < 0xE000:
                points.append(chr(c))
        out.append("".join(points))
    assert len(set(out)) == len(out), [s for s in out if out.count(s) > 1]
    return out


def sentencepiece_from_gguf(path):
    fields = gguf.GGUFReader(path).fields
    tokens, scores, types = (fields[f"tokenizer.ggml.{k}"].contents() for k in ("tokens", "scores", "token_type"))
    model = pb.ModelProto()
    model.trainer_spec.model_type = pb.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(tokens)
    model.trainer_spec.unk_id, model.trainer_spec.bos_id, model.trainer_spec.eos_id, model.trainer_spec.pad_id = 3, 2, 1, 0
    model.trainer_spec.unk_piece = tokens[3]
    model.trainer_spec.bos_piece, model.trainer_spec.eos_piece, model.trainer_spec.pad_piece = tokens[2], tokens[1], tokens[0]
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    user_defined = pb.ModelProto.SentencePiece.USER_DEFINED
    for token, score, kind in zip(tokens, scores, types, strict=True):
        # GGUF's type numbers are SentencePiece's. llama.cpp's converter spells user-defined
        # runs of spaces as spaces; SentencePiece matches them after escaping.
        piece = token.replace(" ", SPACE) if kind == user_defined else token
        model.pieces.add(piece=piece, score=score, type=kind)
    return sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    gemma2, gemma3 = (Tokenizer.from_file(p) for p in sys.argv[1:3])
    spm = sentencepiece_from_gguf(sys.argv[3])
    rows, disagree = [], []
    for text in strings():
        row = {"text": text}
        for n, tokenizer in ((2, gemma2), (3, gemma3)):
            tokenizer.encode_special_tokens = True
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            tokenizer.encode_special_tokens = False
            special = tokenizer.encode(text, add_special_tokens=False).ids
            decoded = tokenizer.decode(ids, skip_special_tokens=False)
            row[f"gemma{n}"] = ids
            if special != ids:
                row[f"special{n}"] = special
            if decoded != text:
                row[f"decoded{n}"] = decoded
        by_score = spm.encode(text)
        if by_score != row["gemma3"]:
            row["gguf"] = by_score
            disagree.append(text)
        rows.append(row)
    about = [
        "Made by tokenizer_reference.py; ids without <bos>, control tokens in the text taken as plain text.",
        "gemma2, gemma3: Hugging Face tokenizers; gguf: SentencePiece on the GGUF's vocabulary, absent where it equals gemma3.",
        "special2, special3: ids with control tokens recognised, where that differs. decoded2, decoded3: where not the text itself.",
    ]
    body = ",\n".join(json.dumps(row, separators=(",", ":"), ensure_ascii=True) for row in rows)
    pathlib.Path(sys.argv[4]).write_text(f'{{"about":{json.dumps(about)},"rows":[\n{body}\n]}}\n')
    print(f"{len(rows)} strings, {len(disagree)} where the GGUF's vocabulary gives other ids than tokenizer.json:")
    for text in disagree:
        print(f"  {text!r}")
    print("not restored by decode:", [r["text"][:20] for r in rows if "decoded2" in r or "decoded3" in r])
    print("control tokens matter:", [r["text"][:40] for r in rows if "special2" in r or "special3" in r])


if __name__ == "__main__":
    main()
