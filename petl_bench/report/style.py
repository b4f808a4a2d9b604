"""How figures look: one colour per method in every figure of a report, sizes, saving."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from petl_bench.report.aggregate import Row

DOTS_PER_INCH = 150
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LINES = ("-", "--", ":", "-.")
HATCHES = ("", "///", "...", "xxx")
Colours = Mapping[str, Any]


def colours(methods: Iterable[str]) -> Colours:
    """Return one colour per method, told apart by colour-blind readers for up to ten methods."""
    names = sorted(set(methods))
    palette = sns.color_palette("colorblind", len(names)) if len(names) <= 10 else sns.husl_palette(len(names))
    return dict(zip(names, palette, strict=True))


def rank_among_kin(rows: Iterable[Row]) -> dict[str, int]:
    """Number the rows of each method, by label, so that kin of one colour differ in marker, line or hatch."""
    seen: dict[str, int] = {}
    ranks: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: row.kind == "control"):
        ranks[row.label] = seen.get(row.method, 0)
        seen[row.method] = ranks[row.label] + 1
    return ranks


@contextmanager
def figure(path: Path, *, width: float, height: float) -> Generator[Figure, None, None]:
    """Give an empty figure of ``width`` x ``height`` inches and save it as PNG."""
    settings: dict[Any, Any] = {**sns.axes_style("whitegrid"), **sns.plotting_context("paper", font_scale=1.15)}
    with mpl.rc_context({**settings, "text.parse_math": False}):  # a name with a dollar is no formula
        layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
        drawn = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout)
        canvas = FigureCanvasAgg(drawn)
        yield drawn
        fix_layout(drawn)
        canvas.print_png(path)


def fix_layout(drawn: Figure) -> None:
    """Compute the places of all axes now, once: texts can then be placed, and drawing does not compute them again."""
    drawn.draw_without_rendering()
    drawn.set_layout_engine("none")
