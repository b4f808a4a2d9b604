"""The two figures of runs: how training went, and what was predicted."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.image import imread
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from petl_bench.records.run import HistoryPoint
from petl_bench.report.aggregate import Row
from petl_bench.report.analysis import Analysis
from petl_bench.report.style import LINES, Colours, figure, rank_among_kin

MOST_PICTURES = 6
_TOTAL = "total"


def draw_curves(analysis: Analysis, colours: Colours, path: Path) -> bool:
    """Draw the training losses: a facet for the total and one per task, a thin line per seed, a thick mean.

    Returns:
        False if no run has a curve, so nothing was drawn.
    """
    curves = {row.label: [run.history for run in row.runs if run.history] for row in analysis.rows}
    shown = [row for row in analysis.rows if curves[row.label]]
    if not shown:
        return False
    facets = [_TOTAL, *analysis.comparison.runs[0].tasks]
    across = min(3, len(facets))
    down = math.ceil(len(facets) / across)
    ranks = rank_among_kin(shown)
    with figure(path, width=3.4 * across, height=2.5 * down + 0.3 * math.ceil(len(shown) / 3)) as drawn:
        grid = drawn.subplots(down, across, squeeze=False)
        for axes, facet in zip(grid.flat, facets, strict=False):
            for row in shown:
                line = LINES[ranks[row.label] % len(LINES)]
                _draw_seeds(axes, [_losses(curve, facet) for curve in curves[row.label]], colours[row.method], line)
            axes.set_title("total (weighted)" if facet == _TOTAL else facet, fontsize="medium")
            axes.set_xlabel("step")
            axes.set_ylabel("training loss")
        for axes in grid.flat[len(facets) :]:
            axes.set_visible(False)
        drawn.legend(handles=_handles(shown, colours, ranks), loc="outside lower center", ncols=3, frameon=False)
    return True


def draw_pictures(analysis: Analysis, _: Colours, path: Path) -> bool:
    """Stack the pictures of each row's lowest seed, the reference and the methods first, at most six.

    Returns:
        False if no row has a readable picture, so nothing was drawn.
    """
    rows = sorted((row for row in analysis.rows if row.runs), key=lambda row: row.kind == "control")
    pictures = {f"{row.label}, seed {row.seeds[0]}": picture for row in rows if (picture := _picture(row)) is not None}
    shown = list(pictures.items())[:MOST_PICTURES]
    if not shown:
        return False
    ratios = [picture.shape[0] / picture.shape[1] for _, picture in shown]
    width = 8.0
    with figure(path, width=width, height=sum(width * ratio + 0.35 for ratio in ratios)) as drawn:
        grid = drawn.subplots(len(shown), 1, squeeze=False, gridspec_kw={"height_ratios": ratios})
        for axes, (label, picture) in zip(grid.flat, shown, strict=True):
            axes.imshow(picture, interpolation="antialiased")
            axes.set_axis_off()
            axes.set_title(label, loc="left", fontsize="medium")
    return True


def _losses(curve: Sequence[HistoryPoint], facet: str) -> dict[int, float]:
    if facet == _TOTAL:
        return {point.step: point.loss for point in curve}
    return {point.step: point.losses[facet] for point in curve if facet in point.losses}


def _draw_seeds(axes: Axes, seeds: Sequence[Mapping[int, float]], colour: object, line: str) -> None:
    if len(seeds) > 1:
        thin = [np.column_stack([list(losses), list(losses.values())]) for losses in seeds]
        axes.add_collection(LineCollection(thin, colors=[colour], linestyles=line, linewidths=0.6, alpha=0.45))
    steps = sorted(set.intersection(*(set(losses) for losses in seeds)))
    means = [float(np.mean([losses[step] for losses in seeds])) for step in steps]
    axes.plot(steps, means, color=colour, linestyle=line, linewidth=1.6)


def _handles(rows: Sequence[Row], colours: Colours, ranks: Mapping[str, int]) -> list[Line2D]:
    return [
        Line2D([], [], color=colours[row.method], linestyle=LINES[ranks[row.label] % len(LINES)], label=row.label)
        for row in rows
    ]


def _picture(row: Row) -> NDArray[np.float32] | None:
    path = row.runs[0].picture
    if path is None:
        return None
    try:
        picture = imread(path)
    except (OSError, ValueError, SyntaxError):
        return None
    return picture if picture.ndim >= 2 and picture.size else None
