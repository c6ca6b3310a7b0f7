#!/usr/bin/env python3
"""Draws docs/speed.svg and docs/power.svg from the tables of docs/reference/performance.md and docs/guide/choosing.md.

    python research/scripts/charts.py
"""

import html
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FONT = "font-family='system-ui, sans-serif'"
INK, MUTED, GRID = "#1f2933", "#616e7c", "#d9dee4"
OURS, THEIRS = "#1b7f5c", "#b8c1cc"
PRESETS = {"secret": "#8795a5", "balanced": "#1b7f5c", "robust": "#c05621"}


def table(page, first):
    """Yields the rows of the table whose head begins with `first`, each as a list of cells."""
    found = False
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        if line.startswith(f"| {first}"):
            found = True
        elif found and not line.startswith("|"):
            return
        elif found and set(line) - set("|- "):
            yield [cell.strip(" *`") for cell in line.strip().strip("|").split("|")]


def number(cell):
    """Returns the first number of a cell."""
    return float(re.search(r"\d+(\.\d+)?", cell)[0])


def text(x, y, words, size=13, anchor="start", colour=INK, weight="normal"):
    return (
        f"<text x='{x:.0f}' y='{y:.0f}' font-size='{size}' text-anchor='{anchor}' fill='{colour}' "
        f"font-weight='{weight}' {FONT}>{html.escape(words)}</text>"
    )


def picture(width, height, parts, title):
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img'>"
        f"<title>{html.escape(title)}</title><rect width='{width}' height='{height}' fill='#ffffff'/>"
        + "\n".join(parts)
        + "</svg>\n"
    )


def speed():
    """Bars of tokens a second: ours and llama.cpp's, a pair for each kind of decoding on both processors."""
    pairs = []
    what = ""
    for row in table("docs/reference/performance.md", "what | memory | ours | llama.cpp"):
        what = row[0] or what
        if row[0].startswith("prompt"):
            continue
        pairs.append((f"EPYC, {row[1]} memory: {what.replace('`', '').removeprefix('decode, ')}", number(row[2]), number(row[3])))
    for row in table("docs/reference/performance.md", "what | ours | llama.cpp | ratio"):
        if row[0].startswith("decode") and "later" not in row[0]:
            pairs.append((f"Xeon: {row[0].replace('`', '').removeprefix('decode, ')}", number(row[1]), number(row[2])))
    left, top, width, bar = 330, 70, 760, 13
    scale = (width - left - 70) / max(max(ours, theirs) for _, ours, theirs in pairs)
    parts = [
        text(20, 28, "Decoding a 2B model on two cores, tokens a second", 17, weight="bold"),
        f"<rect x='20' y='40' width='12' height='12' fill='{OURS}'/>",
        text(38, 51, "wmgen, with the mark"),
        f"<rect x='190' y='40' width='12' height='12' fill='{THEIRS}'/>",
        text(208, 51, "llama.cpp, without"),
    ]
    for index, (name, ours, theirs) in enumerate(pairs):
        y = top + index * 36
        parts.append(text(left - 10, y + 17, name, anchor="end"))
        for offset, value, colour in ((0, ours, OURS), (bar + 1, theirs, THEIRS)):
            parts.append(f"<rect x='{left}' y='{y + offset}' width='{value * scale:.1f}' height='{bar}' fill='{colour}'/>")
            parts.append(text(left + value * scale + 6, y + offset + 11, f"{value:.1f}", 11, colour=MUTED))
    return picture(width, top + 36 * len(pairs) + 10, parts, "Tokens a second of wmgen and llama.cpp")


def power():
    """Lines of the share found over the share of words replaced, for each preset, a panel for each temperature."""
    shares = {}
    for row in table("docs/guide/choosing.md", "T | edit | `secret`"):
        replaced = {"unedited": 0, "replace 10 %": 10, "replace 20 %": 20, "replace 30 %": 30}.get(row[1])
        if replaced is not None:
            for preset, cell in zip(PRESETS, row[2:]):
                shares.setdefault(row[0], {}).setdefault(preset, []).append((replaced, number(cell)))
    width, height, panel, top, low = 760, 330, 300, 80, 290
    parts = [text(20, 28, "Share of texts found at 0.1 %, after words were replaced", 17, weight="bold")]
    parts.append(text(20, 50, "Gemma 3 270M, 100 tokens, from the text alone", colour=MUTED))
    for index, (temperature, of_preset) in enumerate(sorted(shares.items(), reverse=True)):
        left = 60 + index * (panel + 70)

        def at(replaced, share, left=left):
            return left + replaced / 30 * (panel - 70), low - share * (low - top)

        for share in (0, 0.25, 0.5, 0.75, 1):
            (x, y), (end, _) = at(0, share), at(30, share)
            parts.append(f"<line x1='{x}' y1='{y}' x2='{end}' y2='{y}' stroke='{GRID}'/>")
            parts.append(text(x - 8, y + 4, f"{share:.0%}".replace("%", " %"), 11, "end", MUTED))
        for replaced in (0, 10, 20, 30):
            parts.append(text(at(replaced, 0)[0], low + 18, f"{replaced} %", 11, "middle", MUTED))
        parts.append(text(left, top - 12, f"temperature {temperature}", weight="bold"))
        ends = sorted((points[-1][1], preset) for preset, points in of_preset.items())
        height_of_name = -1e9
        for preset, points in of_preset.items():
            line = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in points)
            parts.append(f"<polyline points='{line}' fill='none' stroke='{PRESETS[preset]}' stroke-width='2.5'/>")
            parts += ["<circle cx='{:.1f}' cy='{:.1f}' r='3' fill='{}'/>".format(*at(*p), PRESETS[preset]) for p in points]
        for share, preset in ends:
            x, y = at(30, share)
            height_of_name = y if height_of_name < -1e8 else min(y, height_of_name - 14)
            parts.append(text(x + 8, height_of_name + 4, preset, 12, colour=PRESETS[preset], weight="bold"))
    return picture(width, height, parts, "Share of texts found by preset, temperature and share of words replaced")


def main():
    for name, drawn in (("speed", speed()), ("power", power())):
        (ROOT / "docs" / f"{name}.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
