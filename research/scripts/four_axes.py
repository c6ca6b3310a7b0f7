#!/usr/bin/env python3
"""Draws the four axes of docs/guide/choosing.md from the tables of the studies, as one SVG.

    python research/scripts/four_axes.py research/data/rules docs/rules.svg

The folder has what the studies printed, each row with the rule in its own column:
power-*.md (rule_study), responses*.md (response_study) and stealing-*.md (stealing_study).
"""

import html
import re
import sys
from pathlib import Path

# Rules from top to bottom: name, what it is, and the preset that has it.
RULES = [
    ("secret", "4 tokens", "secret"),
    ("2-4/16", "2 to 4 tokens, 16 channels", ""),
    ("1-4/16", "1 to 4 tokens, 16 channels", "balanced"),
    ("1-4/4", "1 to 4 tokens, 4 channels", "robust"),
    ("1-4/1", "1 to 4 tokens, 1 channel", ""),
    ("layered/16", "a length for each layer, 16 channels", ""),
    ("counted/16", "last token and its count, 16 channels", ""),
]
WIDTH, LEFT, PANEL, GAP, TOP, ROW = 1180, 260, 190, 38, 74, 46


def rows(path):
    """Yields the rows of the tables in a file as dicts from column to cell."""
    head = None
    for line in path.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|") or set(line) <= set("|- "):
            continue
        if "rule" in cells:
            head = cells
        elif head:
            yield dict(zip(head, cells))


def interval(cell):
    """Reads `0.769 (0.70–0.83)` or `+0.0052 ± 0.0175` as value, low, high."""
    numbers = [float(x) for x in re.findall(r"[+-]?\d+\.?\d*", cell.replace("−", "-"))]
    if "±" in cell:
        return numbers[0], numbers[0] - numbers[1], numbers[0] + numbers[1]
    return (numbers + numbers[:1] * 2)[:3]


def measured(folder):
    """Returns for each panel a dict from rule to a list of (colour, value, low, high)."""
    power, quality, diversity, forged = {}, {}, {}, {}
    for path in sorted(folder.glob("power-*.md")):
        for row in rows(path):
            contexts = row["rule"].split("/")[0]
            if row["edit"] != "replace-20":
                continue
            for name, _, _ in RULES:
                channels = name.split("/")[1] if "/" in name else "1"
                if name.split("/")[0] == contexts:
                    column = "R = 1: 0.1 %" if channels == "1" else f"R = {channels}"
                    power.setdefault(name, []).append((row["T"], *interval(row[column])))
    for path in sorted(folder.glob("responses*.md")):
        for row in rows(path):
            quality[row["rule"]] = [("", *interval(row["quality, nats a token"]))]
            diversity[row["rule"]] = [("", *interval(row["of unmarked"]))]
    for path in sorted(folder.glob("stealing-toy*.md")):
        for row in rows(path):
            if row["observer"] in ("all", "clusters") and row["answers"] in ("500", "2000", "10000"):
                kept = forged.setdefault(row["rule"], {})
                kept[row["answers"]] = max(kept.get(row["answers"], 0.0), float(row["0.1 %"]))
    forged = {rule: [(n, p, p, p) for n, p in of.items()] for rule, of in forged.items()}
    return [
        ("Found after edits", "at 0.1 %, a fifth of the words replaced", (0, 1), power),
        ("Quality of one text", "nats a token; 0 is unmarked", (-0.1, 0.1), quality),
        ("Many answers differ", "distinct 3-grams, of unmarked", (0.6, 1.0), diversity),
        ("Forged", "small model, after so many answers", (0, 1), forged),
    ]


COLOURS = {"0.5": "#8a8a8a", "0.7": "#1f6fb2", "": "#1f6fb2", "500": "#f0b090", "2000": "#d9622b", "10000": "#8c2d04"}


def draw(panels):
    """Returns the SVG."""
    height = TOP + ROW * len(RULES) + 56
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" '
        'font-size="13">',
        "<title>Rules for contexts on four axes</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    text = lambda x, y, what, more="": out.append(f'<text x="{x}" y="{y}" {more}>{html.escape(what)}</text>')
    for i, (name, what, preset) in enumerate(RULES):
        y = TOP + ROW * i + ROW / 2
        if preset:
            out.append(f'<rect x="0" y="{y - ROW / 2}" width="{WIDTH}" height="{ROW}" fill="#eef4fa"/>')
        text(12, y - 2, preset or name, 'font-weight="600"')
        text(12, y + 14, what, 'fill="#555" font-size="12"')
    for number, (title, unit, (low, high), of) in enumerate(panels):
        x0 = LEFT + number * (PANEL + GAP)
        at = lambda value: x0 + PANEL * (min(max(value, low), high) - low) / (high - low)
        text(x0, 24, title, 'font-weight="600"')
        text(x0, 42, unit, 'fill="#555" font-size="10.5"')
        bottom = TOP + ROW * len(RULES)
        for value in (low, (low + high) / 2, high):
            out.append(f'<line x1="{at(value)}" y1="{TOP}" x2="{at(value)}" y2="{bottom}" stroke="#ddd"/>')
            text(at(value), bottom + 16, f"{value:g}", 'text-anchor="middle" fill="#555" font-size="11"')
        for i, (name, _, _) in enumerate(RULES):
            points = of.get(name, [])
            for j, (key, value, least, most) in enumerate(points):
                y = TOP + ROW * i + ROW / 2 + (j - (len(points) - 1) / 2) * 12
                colour = COLOURS[key]
                out.append(
                    f'<line x1="{at(least)}" y1="{y}" x2="{at(most)}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
                )
                out.append(f'<circle cx="{at(value)}" cy="{y}" r="4.5" fill="{colour}"/>')
        keys = sorted({key for points in of.values() for key, *_ in points if key}, key=float)
        for j, key in enumerate(keys):
            x = x0 + j * 58
            out.append(f'<circle cx="{x + 5}" cy="{bottom + 36}" r="4.5" fill="{COLOURS[key]}"/>')
            text(x + 13, bottom + 40, f"T = {key}" if "." in key else f"{int(key):,}", 'font-size="11"')
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: four_axes.py FOLDER OUT.svg")
    Path(sys.argv[2]).write_text(draw(measured(Path(sys.argv[1]))))
