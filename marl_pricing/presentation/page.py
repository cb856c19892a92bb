"""Look and behaviour of pages: everything that is not content. Nothing here loads from a network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from math import isfinite

from marl_pricing.presentation.words import say, say_page

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --text: #1d2125; --soft: #5b646c; --line: #d9dde1; --card: #f5f6f8;
  --accent: #0072b2; --strong: #fff7ea; }
@media (prefers-color-scheme: dark) { :root { --page: #15181b; --text: #e6e8ea; --soft: #a2abb3; --line: #343a40;
  --card: #1e2226; --accent: #56b4e9; --strong: #2b2619; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 12px; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 44px 0 8px; padding-top: 14px; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
h3 { font-size: 1.05rem; margin: 28px 0 6px; }
p, li { overflow-wrap: anywhere; }
p.lead { font-size: 1.05rem; max-width: 48em; }
.soft, figcaption, .note { color: var(--soft); font-size: 0.92rem; }
a { color: var(--accent); }
.answers p { max-width: 62em; margin: 0 0 10px; }
.mind { background: var(--strong); border-left: 4px solid #d55e00; border-radius: 4px; padding: 8px 12px;
  max-width: none; }
nav ul { display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; padding: 10px 0; margin: 18px 0 0;
  border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); }
.pair > div { break-inside: avoid; padding-top: 1px; }
@media (min-width: 1000px) { .pair { columns: 2; column-gap: 28px; margin-top: 12px; } .pair h3 { margin-top: 12px; } }
.plot { min-height: 300px; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 0.84rem; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 8px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap;
  vertical-align: top; }
td.long { white-space: normal; min-width: 24em; }
tbody tr:last-child > * { border-bottom: 0; }
th.text, td.text { text-align: left; }
thead th { background: var(--card); vertical-align: bottom; white-space: normal; }
tbody th { font-weight: 500; position: sticky; left: 0; background: var(--page); text-align: left; }
tr.learned > * { background: var(--strong); }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
sup { line-height: 0; }
.unit, .interval { display: block; color: var(--soft); font-weight: 400; font-size: 0.8rem; }
figure { margin: 12px 0 4px; }
figure .picture { overflow-x: auto; background: #ffffff; border: 1px solid var(--line); border-radius: 8px;
  padding: 10px; }
figure img { display: block; width: 100%; max-width: 860px; height: auto; margin: 0 auto; }
button.zoom { display: block; width: 100%; font: inherit; cursor: zoom-in; text-align: left; }
button.zoom:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
dialog { max-width: 98vw; max-height: 96vh; padding: 8px; border: 0; border-radius: 8px; background: #fff;
  overflow: auto; cursor: zoom-out; }
dialog img { display: block; width: max(100%, 1100px); height: auto; }
dialog::backdrop { background: rgba(0, 0, 0, 0.7); }
.glance img { max-width: 1180px; } .glance figcaption { max-width: none; }
details figure img { max-width: 560px; }
figcaption { margin-top: 6px; max-width: 52em; }
/* Plotly writes its own colours; letters follow the page's, in light and in dark. */
.js-plotly-plot [class*=tick] text, .js-plotly-plot .legendtext, .js-plotly-plot .g-xtitle text,
.js-plotly-plot .g-ytitle text, .js-plotly-plot .g-y2title text, .js-plotly-plot .g-x2title text {
  fill: var(--text) !important; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px; overflow-x: auto;
  font-size: 0.85rem; line-height: 1.45; }
details { margin: 14px 0; }
summary { cursor: pointer; font-weight: 600; overflow-wrap: anywhere; }
.told { font-weight: 400; color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; font-size: 0.9rem; }
dt { font-family: ui-monospace, monospace; } dd { margin: 0; color: var(--soft); overflow-wrap: anywhere; }
@media (max-width: 700px) {
  main { padding: 16px 12px 48px; }
  h1 { font-size: 1.35rem; }
  figure .picture { padding: 4px; }
  tbody th { white-space: normal; min-width: 7.5em; max-width: 46vw; overflow-wrap: break-word; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: 8px; }
}
"""

# Sorts a table by the column whose head is pressed: numbers by data-value, texts by what stands there.
SCRIPT = """
document.querySelectorAll("table.sortable").forEach(table => {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") === "descending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const x = key(a), y = key(b), order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      if ((x === "") !== (y === "")) return x === "" ? 1 : -1;
      return up ? order : -order;
    });
    table.tBodies[0].append(...rows);
  }));
});
// A picture that is pressed is shown as large as it was drawn; Escape, or a press anywhere, puts it back.
const dialog = document.querySelector("dialog");
document.querySelectorAll("button.zoom").forEach(button => button.addEventListener("click", () => {
  const image = button.querySelector("img");
  Object.assign(dialog.querySelector("img"), {src: image.src, alt: image.alt});
  dialog.showModal();
}));
dialog.addEventListener("click", () => dialog.close());
"""

_LONG = 60  # characters from which on the texts of a column are broken into lines

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
{library}
<dialog aria-label="Enlarged figure"><img alt=""></dialog>
<script>{script}</script>
</body>
</html>
"""


def picture(title: str, caption: str, wide: bytes, narrow: bytes, *, head: bool = True) -> str:
    """A figure with its caption, from PNG or WebP images for wide pages and for phones.

    Args:
        head: the title stands above it, too.
    """
    for_page, for_phone = (_data(image) for image in (wide, narrow))
    return (
        (f"<h3>{escape(title)}</h3>" if head else "")
        + f"<figure><button class='picture zoom' aria-label='Enlarge: {escape(title)}'>"
        f"<picture><source media='(max-width: 700px)' srcset='{for_phone}'>"
        f"<img alt='{escape(title)}: {escape(caption)}' src='{for_page}'>"
        f"</picture></button><figcaption>{escape(caption)}</figcaption></figure>"
    )


def _data(image: bytes) -> str:
    kind = "png" if image.startswith(b"\x89PNG") else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def pair(parts: Sequence[str]) -> str:
    """Parts of a page two by two where it is wide, under each other on a phone; nothing for none."""
    return f"<div class=pair>{''.join(f'<div>{part}</div>' for part in parts)}</div>" if parts else ""


def fold(summary: str, html: str, *, told: str = "", unfolded: bool = False) -> str:
    """A part of a page behind a line that unfolds it; nothing for no part.

    Args:
        summary: the line.  told: what is found there, said behind it.
    """
    said = f" <span class=told>{escape(told)}</span>" if told else ""
    state = " open" if unfolded else ""
    return f"<details{state}><summary>{escape(summary)}{said}</summary>{html}</details>" if html else ""


def contents(links: Sequence[tuple[str, str]]) -> str:
    """A table of contents: (id of a part, its name) each."""
    listed = "".join(f"<li><a href='#{escape(place)}'>{escape(name)}</a></li>" for place, name in links)
    return f"<nav aria-label='Contents'><ul>{listed}</ul></nav>"


def breakable(text: str) -> str:
    """A name, escaped, that a line may break behind its underscores, and nowhere within a word."""
    return escape(text).replace("_", "_<wbr>")


def table(heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[tuple[str, float | None]]]) -> str:
    """A table that sorts.

    Args:
        heads: (name, unit) a column; the first column names its row.
        rows: (text, value to sort by; None for a text, infinite or NaN for a number that is not known) a cell.
    """
    texts = [all(row[column][1] is None for row in rows) for column in range(len(heads))]
    long = [text and any(len(row[column][0]) > _LONG for row in rows) for column, text in enumerate(texts)]
    head = "".join(
        f"<th{' class=text' if text else ''} scope=col><button>{escape(name)}"
        f"{f'<span class=unit>{escape(unit)}</span>' if unit else ''}</button></th>"
        for (name, unit), text in zip(heads, texts, strict=True)
    )
    body = []
    for row in rows:
        cells = [f"<th scope=row>{breakable(row[0][0])}</th>"]
        for (text, value), is_text, is_long in zip(row[1:], texts[1:], long[1:], strict=True):
            kind = " class='text long'" if is_long else " class=text" if is_text else ""
            known = value is not None and isfinite(value)
            told = "" if value is None else f" data-value='{float(value) if known else ''}'"
            cells.append(f"<td{kind}{told}>{escape(text)}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f"<div class=scroll tabindex=0><table class=sortable><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def render(title: str, body: Sequence[str], library: str = "") -> str:
    """The whole page, from its parts in order, in the words in force."""
    text = say_page("\n".join(body))
    return PAGE.format(title=escape(say(title)), style=STYLE, library=library, body=text, script=SCRIPT)
