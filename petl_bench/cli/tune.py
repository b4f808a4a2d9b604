"""The command ``tune``: the same points for every row of an experiment, chosen on the validation split."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from petl_bench.cli.options import Format, FormatOption, SetOption, print_as
from petl_bench.cli.sweep import (
    BudgetOption,
    DeviceOption,
    JobsOption,
    Launcher,
    LauncherOption,
    Retry,
    RetryOption,
    RootOption,
    StoreOption,
    asked_of,
    do_runs,
    summary,
)
from petl_bench.config import DatasetConfig, RunConfig
from petl_bench.errors import UsageError

if TYPE_CHECKING:
    from petl_bench.records.store import Store
    from petl_bench.sweep.job import Job
    from petl_bench.tuning.choose import Tuned
    from petl_bench.tuning.points import Point
    from petl_bench.tuning.rows import TuningRow

MOST = 1024


def tune_command(
    experiment: Annotated[str, typer.Argument(help="An experiment: a name or a TOML file.")],
    points: Annotated[
        int,
        typer.Option("--points", min=1, max=MOST, help="Points beside the default; 2, 4, 8 ... are balanced."),
    ] = 8,
    launcher: LauncherOption = Launcher.LOCAL,
    jobs: JobsOption = None,
    retry: RetryOption = None,
    budget: BudgetOption = None,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    root: RootOption = None,
    out: StoreOption = Path("runs"),
    write: Annotated[
        Path | None, typer.Option("--write", help="Write the chosen rows as an experiment, NAME.toml.")
    ] = None,
    format_: FormatOption = Format.TABLE,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what is there and what is left, and stop.")] = False,
) -> None:
    """Try every row of an experiment at the same rates and weight decays, and choose on the validation split.

    The points are runs of the store as a sweep's are: what is done is found, what failed stands unless --retry failed.
    No test image is opened. `sweep` of the experiment that --write makes runs the chosen rows over all seeds on the
    test images.
    """
    asked = asked_of("tune", budget, set_, device, root)
    from petl_bench import plan, plugins
    from petl_bench.experiment import experiment_path, read_experiment
    from petl_bench.records.store import Store
    from petl_bench.sweep.launchers import LAUNCHERS
    from petl_bench.sweep.survey import survey
    from petl_bench.tuning.points import points as drawn
    from petl_bench.tuning.rows import SEED, reference_of, tuning_rows
    from petl_bench.tuning.write import require_ours, tuned_experiment, write_experiment

    if write is not None:
        require_ours(write)
    read = read_experiment(experiment_path(experiment))
    rows = tuning_rows(read, asked)
    reference = reference_of(read, rows)
    for row in rows:
        _require_validation(plan.plan(row.settings, plugins.vocabulary))
    seed = plan.plan({**rows[0].settings, "seed": asked.get("seed", SEED)}, plugins.vocabulary).seed
    tried = drawn(points, seed)
    where, store = LAUNCHERS[launcher](read.launch, jobs), Store(out)
    planned = _planned(rows, tried, seed, where.preview if dry_run else where.jobs)
    unique = {job.name: job for own in planned for job in own}
    found = survey(store, list(unique.values()), retry_failed=retry is Retry.FAILED)
    is_table = format_ is Format.TABLE
    typer.echo(summary(found), err=not (dry_run and is_table))
    is_left_to_others = not dry_run and do_runs(where, store, found) is None
    tuned = _read(store, rows, tried, planned, reference)
    print_as([choice.as_row() for choice in tuned.choices], format_, f"{experiment}: the default and {points} points")
    for line in _notes(tuned, reference):
        typer.echo(line, err=not is_table)
    if dry_run:
        return
    if is_left_to_others:
        typer.echo(f"Type: petl-bench status {out}   and when all are done: the same command", err=not is_table)
    elif not tuned.is_whole:
        typer.echo(f"Type: petl-bench status {out}   then: the same command with --retry failed", err=not is_table)
        raise typer.Exit(1)
    elif write is None:
        typer.echo("Type: the same command with --write NAME.toml", err=not is_table)
    else:
        how = f"the default and {points} points for every row of {experiment!r}, seed {seed}"
        write_experiment(write, tuned_experiment(read, asked, tuned, how))
        typer.echo(f"Type: petl-bench sweep {write} --out {out}", err=not is_table)


def _require_validation(config: RunConfig) -> None:
    """Ask for images to choose by.

    Raises:
        UsageError: None are set apart.
    """
    dataset: DatasetConfig = config.dataset
    if getattr(dataset, "val_images", None) == 0:
        raise UsageError(
            "No image is set apart to tune on: tuning on the test images would make their number worthless.\n"
            "Type: --set dataset.val_images=200"
        )


def _planned(
    rows: "Sequence[TuningRow]",
    tried: "Sequence[Point]",
    seed: Any,
    jobs_of: "Callable[[Sequence[RunConfig]], tuple[Job, ...]]",
) -> "list[list[Job]]":
    """Return the runs of every row, the default first."""
    from petl_bench import plan, plugins

    trials = [[plan.plan(one, plugins.vocabulary) for one in row.trials(tried, seed)] for row in rows]
    return [[jobs_of([config])[0] for config in own] for own in trials]


def _read(
    store: "Store",
    rows: "Sequence[TuningRow]",
    tried: "Sequence[Point]",
    planned: "Sequence[Sequence[Job]]",
    reference: "TuningRow",
) -> "Tuned":
    """Read what the store says of every run, and choose."""
    from petl_bench.records.store import RECORD, read_record
    from petl_bench.tuning.choose import Trial, choose

    read = [
        (
            row,
            [
                Trial(point, read_record(store.folder / job.name / RECORD))
                for point, job in zip((None, *tried), own, strict=True)
            ],
        )
        for row, own in zip(rows, planned, strict=True)
    ]
    return choose(reference, read)


def _notes(tuned: "Tuned", reference: "TuningRow") -> list[str]:
    failed = [f"failed: {name}: {why}" for choice in tuned.choices for name, why in choice.failures]
    if not tuned.tasks:
        return [f"No delta_m: {reference.label}, which it is relative to, is not finished at its default.", *failed]
    images = ", ".join(sorted({convention.rpartition("/")[2] for convention in tuned.tasks.values()}))
    return [
        f"default, chosen, median, worst: delta_m in % on {images}, one seed, relative to {reference.label} at its "
        f"default, over {', '.join(tuned.tasks)}.",
        "What is chosen is the best of several and too good here: compare rows by `sweep` on the test images.",
        *failed,
    ]
