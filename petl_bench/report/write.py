"""Where a report goes: the files of a group, and a folder that is replaced only by a complete one."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from petl_bench import escape
from petl_bench.errors import UsageError
from petl_bench.files import appearing_folder
from petl_bench.report.analysis import Analysis
from petl_bench.report.figures import draw_delta_m, draw_tasks
from petl_bench.report.page import Section
from petl_bench.report.raw import pictures_frame, seeds_frame, to_frame
from petl_bench.report.runs_figures import MOST_PICTURES, draw_curves, draw_pictures
from petl_bench.report.style import Colours
from petl_bench.report.tables import main_table, to_latex, to_markdown
from petl_bench.signed import require_replaceable, sign_all

PAGE = "report.md"
RUNS = "runs.csv"
TABLES = "tables"
FIGURES = "figures"

_DRAWINGS: tuple[tuple[str, str, Callable[[Analysis, Colours, Path], bool]], ...] = (
    (
        "delta-m",
        "delta_m against the method's trained parameters, mean and standard deviation over seeds.",
        draw_delta_m,
    ),
    ("tasks", "Every task's metric, mean and standard deviation over seeds; dashed: trivial predictor.", draw_tasks),
    ("curves", "Training losses: thin lines are seeds, thick ones their mean.", draw_curves),
    ("predictions", f"Predictions of the lowest seed, of at most {MOST_PICTURES} rows, controls last.", draw_pictures),
)


def write_group(folder: Path, analysis: Analysis, colours: Colours) -> Section:
    """Write the tables and figures of a comparison group, and return what the page shows of it."""
    stem = analysis.comparison.slug
    table = main_table(analysis)
    (folder / TABLES / f"{stem}.md").write_text(to_markdown(table) + "\n", encoding="utf-8")
    (folder / TABLES / f"{stem}.tex").write_text(to_latex(table), encoding="utf-8")
    to_frame(analysis).map(escape.csv).to_csv(folder / TABLES / f"{stem}.csv", index=False)
    if analysis.seeds:
        seeds_frame(analysis.seeds).map(escape.csv).to_csv(folder / TABLES / f"{stem}-seeds.csv", index=False)
    if analysis.pictures:
        pictures_frame(analysis).map(escape.csv).to_csv(folder / TABLES / f"{stem}-pictures.csv", index=False)
    notes, figures = list(analysis.notes), list[tuple[str, str]]()
    for name, caption, draw in _DRAWINGS:
        path = folder / FIGURES / f"{stem}-{name}.png"
        if draw(analysis, colours, path):
            figures.append((caption, path.name))
        else:
            notes.append(f"The figure `{name}` is left out: the runs hold nothing to draw in it.")
    return Section(analysis=analysis, notes=tuple(notes), figures=tuple(figures))


@contextmanager
def replacing(out: Path) -> Generator[Path, None, None]:
    """Give a scratch folder that takes the place of ``out`` when the block ends well.

    Raises:
        UsageError: ``out`` holds anything but a report, or cannot be written.
    """
    with ExitStack() as stack:
        try:
            require_replaceable(out)
            scratch = stack.enter_context(appearing_folder(out))
        except OSError as error:
            raise UsageError(
                f"The report folder {str(out)!r} cannot be written: {error.strerror or error}.\n"
                "Type: petl-bench report --out FOLDER   with a folder of your own."
            ) from None
        yield scratch
        sign_all(scratch)
