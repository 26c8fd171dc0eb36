"""How every plot of a report looks: SVG whose colours are those of the page around it, dark or light.

Matplotlib knows no style sheets, so plots are drawn in stand-in colours that `inline` replaces by the page's variables
and `alone` by fixed ones, for a file that is looked at by itself.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, SOFT, LINE, PAPER = "#010203", "#010204", "#010205", "#010206"
SERIES = tuple(f"#0102{i:02x}" for i in range(16, 22))
"""Stand-in colours of the curves; a seventh variant has the first one again."""
COLOURS = {
    INK: ("var(--ink)", "#1b1f24"), SOFT: ("var(--soft)", "#57606a"), LINE: ("var(--line)", "#d0d7de"),
    PAPER: ("var(--paper)", "#ffffff"),
    SERIES[0]: ("var(--series-0)", "#1b1f24"), SERIES[1]: ("var(--series-1)", "#0a5bb5"),
    SERIES[2]: ("var(--series-2)", "#a8430a"), SERIES[3]: ("var(--series-3)", "#1a6b38"),
    SERIES[4]: ("var(--series-4)", "#8a2f87"), SERIES[5]: ("var(--series-5)", "#7a4b00"),
}
"""Stand-in -> (variable of the page, colour of a file by itself)."""

MARKERS = ("o", "s", "^", "D", "v", "P")
"""So that variants are told apart without colours too."""

STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "qvla-bench", "font.family": "sans-serif", "font.size": 10,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": SOFT, "xtick.color": SOFT, "ytick.color": SOFT,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.facecolor": "none", "figure.facecolor": "none",
    "savefig.facecolor": "none", "grid.color": LINE, "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False, "lines.linewidth": 1.6,
}
"""A page's own fonts, no fixed ground, no random identifiers."""


@dataclass(frozen=True)
class Plot:
    """One plot of a report."""

    name: str
    """File name without extension; unique in a report."""
    title: str
    """Heading above it."""
    caption: str
    """What is shown: definitions, units, how many episodes."""
    svg: str
    """The drawing in stand-in colours."""

    def inline(self) -> str:
        """The drawing for a page that has the colour variables; identifiers carry the plot's name."""
        text = self.svg[self.svg.index("<svg"):]
        text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.name}-", text)
        return _coloured(text.replace("<svg ", f'<svg role="img" aria-label="{self.title}" ', 1), 0)

    def alone(self) -> str:
        """The drawing as a file, dark on white."""
        ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
        return _coloured(re.sub(r"(<svg [^>]*>)", rf"\g<1>{ground}", self.svg, count=1), 1)


def colour(place: int) -> str:
    """The stand-in colour of the variant that is number `place` in the report."""
    return SERIES[place % len(SERIES)]


def draw(paint: Callable[[Figure], None], width: float = 9.0, height: float = 4.0) -> str:
    """The SVG of what `paint` paints on a figure of so many inches; equal for equal data."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure)
        sink = io.StringIO()
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    return sink.getvalue()


def legend_above(axes: Axes, columns: int = 4) -> None:
    """Names of the variants in rows above the axes, out of the way of the data."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.3, columnspacing=1.4)


def _coloured(svg: str, which: int) -> str:
    for stand_in, final in COLOURS.items():
        svg = svg.replace(stand_in, final[which])
    return svg
