#!/usr/bin/env python3
"""Renders `make demo` and `wslmesh status` in the demo's world as SVG pictures.

    tools/pictures.py [--check] COMMAND...

COMMAND runs the demo. It runs on a terminal of our own, so that it prints colours, and
writes the status page to the file that WSLMESH_DEMO_STATUS names. The pictures go to
docs/pictures; with --check they are only made, not written. Needs Python alone.
"""

import html
import os
import pathlib
import pty
import re
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "docs/pictures"
COLUMNS = 80
WIDTH, HEIGHT, SIZE = 8.4, 19, 14  # of a character, of a line, of the font
MARGIN, BAR = 18, 34
TEXT, BACKGROUND, FRAME = "#d4d7dd", "#16181d", "#2a2d35"
FONT = "ui-monospace, 'DejaVu Sans Mono', 'Liberation Mono', Menlo, Consolas, monospace"
# SGR parameters that wslmesh and the demo print.
STYLES = {
    "1": 'font-weight="bold" fill="#ffffff"',
    "2": 'fill="#8b9099"',
    "31": 'fill="#ff6b68"',
    "32": 'fill="#7ec97f"',
    "33": 'fill="#e6c05c"',
}
# The demo is long: its picture leaves out what is between the lines of each pair.
CUTS = (("> eth0 is lowered", "> 4. new address"), ("file  forward", "The client came back"))
SGR = re.compile(r"\x1b\[([0-9;]*)m")


def on_a_terminal(command, env):
    """Runs a command with a terminal as standard output and returns what it printed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, stdout=theirs, env={**os.environ, "TERM": "xterm-256color", **env})
    os.close(theirs)
    output = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # EIO: the other end is closed
            part = b""
        if not part:
            break
        output += part
    if process.wait() != 0:
        sys.exit(output.decode() + f"\n{command[0]} failed")
    return output.decode()


def spans(line, style):
    """A line as (style, text), and the style at its end."""
    found = []
    for place, part in enumerate(SGR.split(line)):
        if place % 2:
            style = "" if part in ("", "0") else STYLES[part]
        elif part:
            found.append((style, part))
    return found, style


def picture(prompt, text):
    """An SVG of a terminal that shows a command and its output."""
    lines = ["\x1b[32m$\x1b[0m " + prompt] + text.replace("\r", "").rstrip("\n").split("\n")
    width = COLUMNS * WIDTH + 2 * MARGIN
    height = len(lines) * HEIGHT + BAR + 2 * MARGIN
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}">',
        f"<title>{html.escape(prompt)}</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
        f'<path d="M0 {BAR}V8a8 8 0 0 1 8-8H{width - 8:g}a8 8 0 0 1 8 8V{BAR}z" fill="{FRAME}"/>',
        *(f'<circle cx="{20 + 20 * at}" cy="{BAR / 2:g}" r="6" fill="{fill}"/>' for at, fill in enumerate(("#ff5f57", "#febc2e", "#28c840"))),
        f'<g font-family="{html.escape(FONT)}" font-size="{SIZE}" fill="{TEXT}" xml:space="preserve">',
    ]
    style = ""
    for row, line in enumerate(lines):
        parts, style = spans(line, style)
        column, y = 0, BAR + MARGIN + SIZE + row * HEIGHT
        for of, part in parts:
            # textLength keeps the columns whatever font there is.
            if part.strip():
                lead = len(part) - len(part.lstrip(" "))
                shown = part.strip(" ")
                x = MARGIN + (column + lead) * WIDTH
                svg.append(
                    f'<text x="{x:g}" y="{y:g}" textLength="{len(shown) * WIDTH:g}"'
                    f'{" " + of if of else ""}>{html.escape(shown)}</text>'
                )
            column += len(part)
        if column > COLUMNS:
            sys.exit(f"wider than {COLUMNS} columns: {line!r}")
    return "\n".join([*svg, "</g>", "</svg>", ""])


def shortened(demo):
    """The demo without the lines between CUTS, which must exist."""
    lines = demo.replace("\r", "").split("\n")
    for cut in CUTS:
        plain = [SGR.sub("", line).strip() for line in lines]
        start, end = (next(at for at, line in enumerate(plain) if line.startswith(text)) for text in cut)
        lines = [*lines[:start], "\x1b[2m[...]\x1b[0m", "", *lines[end:]]
    return "\n".join(lines)


def main(arguments):
    check = arguments[:1] == ["--check"]
    command = arguments[1:] if check else arguments
    with tempfile.NamedTemporaryFile() as status:
        demo = on_a_terminal(command, {"WSLMESH_DEMO_STATUS": status.name})
        page = pathlib.Path(status.name).read_text()
    # What is printed before the demo, such as cargo's lines, is not part of it.
    start = demo.find("\x1b[1mwslmesh: ")
    if start < 0 or not page:
        sys.exit(f"the demo printed no title, or `wslmesh status` nothing:\n{demo}\n{page}")
    for name, prompt, text in (("demo", "make demo", shortened(demo[start:])), ("status", "sudo wslmesh status", page)):
        svg = picture(prompt, text)
        if check:
            print(f"{name}.svg: {len(svg)} bytes")
        else:
            FOLDER.mkdir(exist_ok=True)
            (FOLDER / f"{name}.svg").write_text(svg)
            print(f"docs/pictures/{name}.svg")


main(sys.argv[1:])
