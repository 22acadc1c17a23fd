#!/usr/bin/env python3
"""Draws a recorded terminal as an SVG: terminal.py TYPESCRIPT OUT.svg TITLE [RANGES [OLD=NEW ...]]

TYPESCRIPT is what `script -qfc COMMAND FILE` recorded. RANGES such as `0-4,60-75` chooses lines (a row of dots
stands for what is left out, and lines end with `…` after 116 columns); `list` prints them with their numbers. OLD=NEW shortens paths of the machine that
recorded it. Nothing else is changed: the picture shows what the command printed, without its spinners.
"""
import html, re, sys, unicodedata

COLOURS = {30: "#484f58", 31: "#ff7b72", 32: "#56d364", 33: "#e3b341", 34: "#79c0ff", 35: "#d2a8ff", 36: "#56d4dd", 37: "#e6edf3", 90: "#8b949e"}
WIDTH, HEIGHT, LEFT, TOP = 7.8, 19, 16, 48
source, target, title = sys.argv[1:4]
text = open(source, encoding="utf-8", errors="replace").read().replace("\r\n", "\n")
for pair in sys.argv[5:]:
    text = text.replace(*pair.split("=", 1))

def cells(character):
    return 0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1

def runs(line):
    """What remains of a line after carriage returns and erasures, as (style, text) runs."""
    line = re.split(r"\r|\x1b\[2?K", line)[-1]
    style, out = {}, []
    for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z])", line):
        if part.startswith("\x1b["):
            for code in [int(c or 0) for c in part[2:-1].split(";")] if part.endswith("m") else []:
                style = {} if code == 0 else style | ({"font-weight": "bold"} if code == 1 else {"opacity": ".65"} if code == 2 else {"fill": COLOURS[code]} if code in COLOURS else {})
        elif part:
            out.append((style, part))
    return out

lines = [runs(line) for line in text.strip("\n").split("\n") if not line.startswith(("Script started", "Script done"))]
spinner = re.compile(r"^\s*[\u2801-\u28ff]")
lines = [line for line in lines if not spinner.match("".join(t for _, t in line))]
lines = [line for i, line in enumerate(lines) if line or (i + 1 < len(lines) and "━━" in str(lines[i + 1]))]
if sys.argv[4:5] == ["list"]:
    sys.exit("\n".join(f"{i} {''.join(t for _, t in line)}" for i, line in enumerate(lines)))
if sys.argv[4:5]:
    chosen = [lines[int(a) : int(b) + 1] for a, b in (r.split("-") for r in sys.argv[4].split(","))]
    lines = [line for part in chosen for line in part + [[({"fill": COLOURS[90]}, "  ⋯")]]][:-1]
def clip(line, left=116):
    for at, (style, part) in enumerate(line):
        for index, character in enumerate(part):
            left -= cells(character)
            if left < 1 and "".join(t for _, t in line[at:])[index + 1 :].strip():
                return line[:at] + [(style, part[:index] + "…")]
    return line

lines = [clip(line) for line in lines]
columns = max(sum(cells(c) for _, t in line for c in t) for line in lines)
width, height = int(columns * WIDTH + 2 * LEFT), int(len(lines) * HEIGHT + TOP + 12)
svg = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-size="13" fill="#e6edf3" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,Noto Sans Mono CJK SC,Noto Sans CJK SC,WenQuanYi Zen Hei,PingFang SC,Microsoft YaHei,Apple Color Emoji,Segoe UI Emoji,Noto Color Emoji,monospace">',
       f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>', *(f'<circle cx="{20 + 18 * i}" cy="18" r="6" fill="{c}"/>' for i, c in enumerate(("#ff5f57", "#febc2e", "#28c840"))),
       f'<text x="{width / 2}" y="23" text-anchor="middle" fill="#8b949e">{html.escape(title)}</text>']
for row, line in enumerate(lines):
    column = 0
    for style, part in line:
        size = sum(cells(c) for c in part)
        if part.strip():
            blank = len(part) - len(part.lstrip(" "))
            part, column, size = part.lstrip(" "), column + blank, size - blank
            attributes = "".join(f' {k}="{v}"' for k, v in style.items())
            svg.append(f'<text x="{LEFT + column * WIDTH:.1f}" y="{TOP + row * HEIGHT}" textLength="{size * WIDTH:.1f}" xml:space="preserve"{attributes}>{html.escape(part)}</text>')
        column += size
open(target, "w", encoding="utf-8").write("\n".join(svg + ["</svg>"]) + "\n")
print(f"{target}: {len(lines)} lines, {columns} columns")
