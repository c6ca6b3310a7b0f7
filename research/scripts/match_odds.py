"""Counts how often a guess from the prompt and the text so far is right, by the length of the match.

Usage: python match_odds.py RECEIPTS.jsonl

RECEIPTS is what `wmgen generate --json` prints. The guess is that of `wmgen generate --draft prompt`: the token after the longest earlier
match of the last tokens, the latest of several. Matches of 8 tokens or more are one class.
"""

import argparse
import json

LONGEST = 8


def guess(ids):
    """Returns the guessed token and the length of the match, or None without a match."""
    best, token = 0, None
    for end in range(len(ids) - 1, 0, -1):
        matched = 0
        while matched < min(LONGEST, end) and ids[end - 1 - matched] == ids[-1 - matched]:
            matched += 1
        if matched > best:
            best, token = matched, ids[end]
    return (token, best) if best else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("receipts")
    right, made = [0] * (LONGEST + 1), [0] * (LONGEST + 1)
    with open(parser.parse_args().receipts) as lines:
        for line in lines:
            receipt = json.loads(line)
            tokens = receipt["tokens"]
            for i in range(1, len(tokens)):
                if found := guess(receipt["prompt_tokens"] + tokens[:i]):
                    token, length = found
                    made[length] += 1
                    right[length] += token == tokens[i]
    for length in range(1, LONGEST + 1):
        share = right[length] / max(made[length], 1)
        print(f"match of {length}: {right[length]} of {made[length]} right ({share:.2f})")


if __name__ == "__main__":
    main()
