"""The report as one HTML file that needs no network, no script and no second file but the videos.

Colours follow the reader's choice of dark or light; wide tables scroll in their own box, which the keyboard reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from reports.display import Cell, TextTable

if TYPE_CHECKING:  # it imports matplotlib, which a page without plots does not need
    from reports.plots.figure import Plot

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #fff; --band: #f4f6f8; --line: #d0d7de;
  --accent: #0a5bb5; --warn: #fff4d6; --warn-line: #9a6700; --series-0: #1b1f24; --series-1: #0a5bb5;
  --series-2: #a8430a; --series-3: #1a6b38; --series-4: #8a2f87; --series-5: #7a4b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #a3adb8; --paper: #14171c; --band: #1d2229;
  --line: #39414b; --accent: #7db7ff; --warn: #33290f; --warn-line: #d8a72c; --series-0: #e6e9ee; --series-1: #7db7ff;
  --series-2: #ffb07a; --series-3: #6fd08c; --series-4: #e79be4; --series-5: #f0c060; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
p, li { max-width: 48rem; }
a { color: var(--accent); }
td a, tbody th a { color: inherit; text-decoration: underline dotted; text-underline-offset: .25em; }
.plot svg { display: block; max-width: 100%; height: auto; }
a:focus-visible, .scroll:focus-visible, summary:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.notice { background: var(--warn); border-left: 4px solid var(--warn-line); padding: .6rem .9rem; margin: .6rem 0;
  max-width: none; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .7rem; text-align: right; white-space: nowrap; }
thead th { background: var(--band); border-bottom: 1px solid var(--line); vertical-align: bottom; font-weight: 600;
  white-space: normal; min-width: 4.5rem; }
tbody th { text-align: left; font-weight: 600; }
tbody tr + tr > * { border-top: 1px solid var(--line); }
th:first-child { text-align: left; }
sup a { text-decoration: none; padding-left: .15em; font-weight: 600; }
.words { text-align: left; white-space: normal; min-width: 14rem; }
.caption, .notes { color: var(--soft); font-size: .9rem; margin: .5rem 0 0; }
.notes { padding-left: 1.5rem; }
.videos { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; margin: 0; padding: 0;
  list-style: none; }
.videos video { width: 100%; display: block; border-radius: 6px; background: #000; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .35rem 1.25rem; font-size: .93rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
"""


def html_report(
    title: str,
    notices: Sequence[str],
    tables: Sequence[TextTable],
    errors: Sequence[str],
    videos: Sequence[tuple[str, str]],
    provenance: Sequence[tuple[str, str]],
    plots: Sequence[Plot] = (),
    pages: Sequence[tuple[str, str]] = (),
) -> str:
    """The whole page. `videos` and `pages` are (text, link relative to the run folder), `provenance` (name, text)."""
    body = [f"<h1>{escape(title)}</h1>", *(f'<p class="notice" role="note">{escape(line)}</p>' for line in notices)]
    if pages:
        body.append(f'<p>{" · ".join(_link(text, link) for text, link in pages)}</p>')
    body += [_section(table, index) for index, table in enumerate(tables[:1])]
    body += [f'<section class="plot"><h2>{escape(plot.title)}</h2>{plot.inline()}'
             f'<p class="caption">{escape(plot.caption)}</p></section>' for plot in plots]
    body += [_section(table, index) for index, table in enumerate(tables[1:], start=1)]
    if errors:
        items = "".join(f"<li>{escape(line)}</li>" for line in errors)
        body.append(f"<section><h2>Errors</h2><ul>{items}</ul></section>")
    if videos:
        body.append(f'<section><h2>Videos</h2><ul class="videos">{"".join(map(_video, videos))}</ul></section>')
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in provenance)
    body.append(f"<section><h2>Provenance</h2><dl>{facts}</dl></section>")
    return (f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
            f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n")


def _section(table: TextTable, index: int) -> str:
    heading = f"table-{index}"
    head = "".join(f'<th scope="col"{_words(h)}>{escape(h)}</th>' for h in table.headings)
    rows = "".join(_row(row, table.headings, heading) for row in table.rows)
    notes = "".join(f'<li id="{heading}-note-{i}">{escape(note)}</li>' for i, note in enumerate(table.notes, start=1))
    return (f'<section><h2 id="{heading}">{escape(table.title)}</h2>'
            f'<div class="scroll" role="region" aria-labelledby="{heading}" tabindex="0"><table '
            f'aria-labelledby="{heading}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
            + (f'<ol class="notes">{notes}</ol>' if notes else "")
            + f'<p class="caption">{escape(table.caption)}</p></section>')


def _row(row: Sequence[Cell], headings: Sequence[str], heading: str) -> str:
    first = f'<th scope="row">{_cell(row[0], heading)}</th>'
    rest = (f"<td{_words(h)}>{_cell(cell, heading)}</td>" for h, cell in zip(headings[1:], row[1:], strict=True))
    return f"<tr>{first}{''.join(rest)}</tr>\n"


def _cell(cell: Cell, heading: str) -> str:
    if cell.note is None:
        return escape(cell.text) if cell.link is None else _link(cell.text, cell.link)
    return (f'{escape(cell.text)}<sup><a href="#{heading}-note-{cell.note}" aria-label="footnote {cell.note}">'
            f"{cell.note}</a></sup>")


def _link(text: str, link: str) -> str:
    return f'<a href="{escape(link, quote=True)}">{escape(text)}</a>'


def _words(heading: str) -> str:
    """A column of words reads from the left, a column of figures from the right."""
    return ' class="words"' if heading == "Instruction" else ""


def _video(video: tuple[str, str]) -> str:
    text, link = escape(video[0]), escape(video[1], quote=True)
    return (f'<li><video controls muted preload="metadata" src="{link}" aria-label="{text}"></video>'
            f'<a href="{link}">{text}</a></li>')
