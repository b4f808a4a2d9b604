"""The two figures of results: delta_m against trained parameters, and every task's metric."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.ticker import EngFormatter
from matplotlib.transforms import Bbox

from petl_bench.report.aggregate import Column, Row
from petl_bench.report.analysis import Analysis
from petl_bench.report.stats import Estimate
from petl_bench.report.style import HATCHES, MARKERS, Colours, figure, fix_layout, rank_among_kin

_OFFSETS = (
    (8, 0),
    (-8, 0),
    (0, 9),
    (0, -9),
    (8, 9),
    (-8, 9),
    (8, -9),
    (-8, -9),
    (10, 20),
    (-10, 20),
    (10, -20),
    (-10, -20),
)
_FAR = 20
"""A label that stands so many points above or below its point has a line to it."""

_Point = tuple[Row, int, Estimate]


def draw_delta_m(analysis: Analysis, colours: Colours, path: Path) -> bool:
    """Draw delta_m in % against the method's parameters (symlog, so that 0 has a place); False if there is none."""
    points = [
        (row, row.parameters.method, row.delta_m)
        for row in analysis.rows
        if row.delta_m is not None and row.parameters is not None
    ]
    if not points:
        return False
    without_controls = [point for point in points if point[0].kind != "control"]
    panels = {"all rows": points, "without controls": without_controls}
    if len(without_controls) in (0, len(points)):
        del panels["without controls"]
    with figure(path, width=7.0 * len(panels), height=5.0) as drawn:
        grid = drawn.subplots(1, len(panels), squeeze=False)
        for axes, (title, shown) in zip(grid.flat, panels.items(), strict=True):
            _draw_panel(axes, shown, points, colours)
            axes.set_title(title, fontsize="medium")
        reference = analysis.base.reference.label if analysis.base.reference else "nothing"
        drawn.suptitle(f"{analysis.comparison.title}; relative to {reference}", fontsize="medium")
        fix_layout(drawn)
        for axes, shown in zip(grid.flat, panels.values(), strict=True):
            _label_points(axes, shown)
    return True


def draw_tasks(analysis: Analysis, colours: Colours, path: Path) -> bool:
    """Draw one facet per task with a bar per row, sd over seeds, the trivial predictor dashed; False if none."""
    shown = [row for row in analysis.rows if row.runs and row.scores]
    if not shown:
        return False
    columns = analysis.columns
    across = min(4, len(columns))
    down = math.ceil(len(columns) / across)
    height = 0.32 * len(shown) + 0.9
    label_width = 0.075 * max(len(row.label) for row in shown)
    with figure(path, width=label_width + 2.5 * across, height=height * down + 0.4) as drawn:
        grid = drawn.subplots(down, across, sharey=True, squeeze=False)
        for axes, column in zip(grid.flat, columns, strict=False):
            _draw_bars(axes, shown, column, colours, analysis.base.trivial.get(column.name))
        for axes in grid.flat[len(columns) :]:
            axes.set_visible(False)
        drawn.suptitle(analysis.comparison.title, fontsize="medium")
        if analysis.base.trivial:
            trivial = Line2D([], [], color="0.2", linestyle="--", linewidth=1.2, label="trivial predictor")
            drawn.legend(handles=[trivial], loc="outside lower right", frameon=False)
    return True


def _draw_panel(axes: Axes, shown: Sequence[_Point], points: Sequence[_Point], colours: Colours) -> None:
    ranks = rank_among_kin([row for row, *_ in points])
    numbers = [parameters for _, parameters, _ in points if parameters]
    low, high = (math.floor(math.log10(edge(numbers, default=1))) for edge in (min, max))
    axes.set_xscale("symlog", linthresh=10.0**low, linscale=0.6)
    axes.axhline(0, color="0.35", linewidth=1, zorder=1)
    for point in shown:
        _draw_point(axes, point, colours, MARKERS[ranks[point[0].label] % len(MARKERS)])
    axes.set_xticks([0, *(10.0**power for power in range(low, high + 2))])
    axes.xaxis.set_major_formatter(EngFormatter())  # the default writes a formula, which is not set as one here
    axes.set_xlim(-0.5 * 10.0**low, 6 * 10.0**high)
    axes.margins(y=0.15)
    axes.set_xlabel("trained parameters of the method, decoders excluded")
    axes.set_ylabel("delta_m (%) ↑")


def _draw_point(axes: Axes, point: _Point, colours: Colours, marker: str) -> None:
    row, parameters, delta_m = point
    colour = colours[row.method]
    axes.errorbar(
        parameters,
        delta_m.mean,
        yerr=None if math.isnan(delta_m.sd) else delta_m.sd,
        fmt=marker,
        color=colour,
        markerfacecolor="white" if row.kind == "control" else colour,
        markeredgewidth=1.6,
        markersize=6,
        capsize=3,
        zorder=3,
    )


def _label_points(axes: Axes, points: Sequence[_Point]) -> None:
    """Write the label of every point at the first of a few places around it that is free."""
    frame = axes.get_window_extent()
    taken = [_box(axes, point) for point in points]
    for row, parameters, delta_m in points:
        candidates = [_annotate(axes, row.label, (parameters, delta_m.mean), offset) for offset in _OFFSETS]
        boxes = [_text_box(candidate) for candidate in candidates]
        costs = [_overlap(box, taken) + 4 * _outside(box, frame) for box in boxes]
        chosen = int(np.argmin(costs))
        taken.append(boxes[chosen])
        for index, candidate in enumerate(candidates):
            if index != chosen:
                candidate.remove()


def _box(axes: Axes, point: _Point) -> Bbox:
    """Return what a point and its error bar cover, in pixels."""
    _, parameters, delta_m = point
    reach = 0.0 if math.isnan(delta_m.sd) else delta_m.sd
    x, low = axes.transData.transform((parameters, delta_m.mean - reach))
    _, high = axes.transData.transform((parameters, delta_m.mean + reach))
    return Bbox.from_extents(x - 9, low - 9, x + 9, high + 9)


def _annotate(axes: Axes, label: str, point: tuple[float, float], offset: tuple[int, int]) -> Annotation:
    dx, dy = offset
    side = "left" if dx > 0 else "right" if dx < 0 else "center"
    level = "bottom" if dy > 0 else "top" if dy < 0 else "center"
    return axes.annotate(
        label,
        point,
        offset,
        textcoords="offset points",
        ha=side,
        va=level,
        fontsize="small",
        zorder=4,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
        arrowprops={"arrowstyle": "-", "color": "0.5", "linewidth": 0.6} if abs(dy) >= _FAR else None,
    )


def _text_box(label: Annotation) -> Bbox:
    """Return what the words cover, in pixels, without the line to the point."""
    label.get_window_extent()  # puts them in their place
    return Text.get_window_extent(label)


def _overlap(box: Bbox, others: Sequence[Bbox]) -> float:
    shared = (Bbox.intersection(box, other) for other in others)
    return sum(common.width * common.height for common in shared if common is not None)


def _outside(box: Bbox, frame: Bbox) -> float:
    inside = Bbox.intersection(box, frame)
    return box.width * box.height - (inside.width * inside.height if inside is not None else 0.0)


def _draw_bars(axes: Axes, rows: Sequence[Row], column: Column, colours: Colours, trivial: float | None) -> None:
    ranks = rank_among_kin(rows)
    scores = [(place, row, row.scores.get(column.name)) for place, row in enumerate(rows)]
    drawn = [(place, row, score) for place, row, score in scores if score is not None and math.isfinite(score.mean)]
    axes.barh(
        [place for place, *_ in drawn],
        [score.mean for *_, score in drawn],
        xerr=[score.sd for *_, score in drawn],  # nan draws none
        color=[colours[row.method] for _, row, _ in drawn],
        hatch=[HATCHES[ranks[row.label] % len(HATCHES)] for _, row, _ in drawn],
        edgecolor="white",
        error_kw={"ecolor": "0.2", "capsize": 2, "elinewidth": 1},
    )
    if trivial is not None and math.isfinite(trivial):
        axes.axvline(trivial, color="0.2", linestyle="--", linewidth=1.2)
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_title(column.name, fontsize="medium")
    axes.set_xlabel(f"{column.metric} ({column.unit}) {column.arrow}")
