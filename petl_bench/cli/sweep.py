"""The commands ``sweep`` and ``status``: many runs, and what they are doing."""

import time
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from petl_bench.cli.options import Format, FormatOption, SetOption, print_as, settings_of
from petl_bench.cli.tasks import seeds_of
from petl_bench.config import merge
from petl_bench.errors import UsageError

if TYPE_CHECKING:
    from petl_bench.records.store import Store
    from petl_bench.sweep.job import Job
    from petl_bench.sweep.launchers import Launcher as Place
    from petl_bench.sweep.survey import Survey


class Launcher(StrEnum):
    """Where runs are executed."""

    LOCAL = "local"
    RAY = "ray"
    SLURM = "slurm"


class Retry(StrEnum):
    """What is done again."""

    FAILED = "failed"


LauncherOption = Annotated[Launcher, typer.Option("--launcher", help="Where runs are executed.")]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Runs at a time [default: as many as fit the machine].")
]
RetryOption = Annotated[Retry | None, typer.Option("--retry", help="failed: do failed runs again.")]
BudgetOption = Annotated[str | None, typer.Option("--budget", help="smoke, quick or full.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda ...")]
RootOption = Annotated[Path | None, typer.Option("--root", help="Folder of the data set's files.")]
StoreOption = Annotated[Path, typer.Option("--out", help="The store: one folder a run.")]


def sweep_command(
    experiment: Annotated[str, typer.Argument(help="An experiment: a name or a TOML file.")],
    launcher: LauncherOption = Launcher.LOCAL,
    jobs: JobsOption = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="In place of the experiment's: 0-4, or 0,1,2.")] = None,
    retry: RetryOption = None,
    budget: BudgetOption = None,
    set_: SetOption = None,
    device: DeviceOption = "auto",
    root: RootOption = None,
    out: StoreOption = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what is done and what is left, and stop.")] = False,
) -> None:
    """Do all runs of an experiment, one process each: done ones are found, a failed one does not stop the others."""
    asked = asked_of("sweep", budget, set_, device, root)
    from petl_bench import plan, plugins
    from petl_bench.experiment import expand, experiment_path, read_experiment
    from petl_bench.records.store import Store
    from petl_bench.sweep.launchers import LAUNCHERS
    from petl_bench.sweep.survey import survey

    read = read_experiment(experiment_path(experiment))
    if seeds is not None:
        read = read.model_copy(update={"seeds": seeds_of(seeds)})
    configs = [plan.plan(one, plugins.vocabulary) for one in expand(read, asked)]
    where = LAUNCHERS[launcher](read.launch, jobs)
    store = Store(out)
    found = survey(store, (where.preview if dry_run else where.jobs)(configs), retry_failed=retry is Retry.FAILED)
    if dry_run:
        print_as(_rows(found), Format.TABLE, f"{experiment}: {len(found.runs)} runs in {out}")
    typer.echo(summary(found), err=not dry_run)
    if dry_run:
        return
    done = do_runs(where, store, found)
    if done is None:
        typer.echo(f"Type: petl-bench status {out}   and when all are done: petl-bench report {out}")
        return
    _tell_end(experiment, found, done, out)


def asked_of(
    command: str, budget: str | None, set_: list[str] | None, device: str, root: Path | None
) -> dict[str, Any]:
    """Return what is laid on top of an experiment's settings.

    Raises:
        UsageError: A setting of a method is among it.
    """
    runtime = {"device": device} | ({} if root is None else {"root": str(root)})
    asked = settings_of(None, None, None, None, None, set_)
    if "method" in asked:
        raise UsageError(f"An experiment names its methods itself: give `{command}` no method.* setting.")
    return merge({"runtime": runtime}, asked if budget is None else {**asked, "budget": budget})


def do_runs(where: "Place", store: "Store", found: "Survey") -> dict[str, bool] | None:
    """Do what is left and show it; return whether each run is finished, None if they are left to others."""
    from petl_bench.sweep.job import plan_into

    for job in found.to_do:
        plan_into(store, job)
    shown = _Shown(len(found.to_do))
    with shown:
        return where.run(store, found.to_do, shown)


def _rows(found: "Survey") -> list[dict[str, Any]]:
    return [
        {
            "run": run.job.name,
            "state": run.state or "new",
            "to do": run.is_to_be_done,
            "cores": run.job.cores,
            "gpus": run.job.gpus,
            "seconds": "-" if run.seconds is None else f"{run.seconds:.0f}",
        }
        for run in found.runs
    ]


def summary(found: "Survey") -> str:
    """Say what is done, what is left, and how long that takes."""
    states = Counter(run.state or "new" for run in found.runs)
    counts = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    left = len(found.to_do)
    if found.seconds is None:
        time_left = "no record on such a machine says how long they take"
    else:
        time_left = f"about {found.seconds / 60:.0f} min by the records on such a machine, one after the other"
    return f"{len(found.runs)} runs: {counts or 'none'}; {left} to do" + (f", {time_left}" if left else "")


def _tell_end(experiment: str, found: "Survey", done: dict[str, bool], out: Path) -> None:
    failed = [name for name, is_done in done.items() if not is_done]
    kept = [run.job.name for run in found.runs if run.state == "failed" and not run.is_to_be_done]
    typer.echo(f"{sum(done.values())} done, {len(failed)} failed, {len(found.runs) - len(done)} were there already")
    for name in [*failed, *kept]:
        typer.echo(f"failed: {name}, see {out / 'logs' / name}.log")
    if failed or kept:
        typer.echo(f"Type: petl-bench sweep {experiment} --out {out} --retry failed")
    typer.echo(f"Type: petl-bench report {out} --experiment {experiment}")
    if failed or kept:
        raise typer.Exit(1)


class _Shown:
    """The sweep on a terminal: a line for what ends, a bar for what runs; without one, lines alone."""

    def __init__(self, total: int) -> None:
        from rich.console import Console

        from petl_bench.terminal import bar

        self._console = Console(stderr=True)
        self._bar = bar(self._console)
        self._all = self._bar.add_task("sweep", total=total, state="")
        self._lines: dict[str, Any] = {}

    def __enter__(self) -> None:
        if self._console.is_terminal:
            self._bar.start()

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def began(self, job: "Job", log: Path) -> None:
        self._say(f"{job.name} begins, log: {log}")

    def ended(self, job: "Job", how: str, seconds: float) -> None:
        self._say(f"{job.name} {how} ({seconds:.0f} s)")
        if how == "done" or how.startswith("failed"):
            self._bar.advance(self._all)

    def at(self, lines: dict[str, str]) -> None:
        for name in self._lines.keys() - lines.keys():
            self._bar.remove_task(self._lines.pop(name))
        for name, line in lines.items():
            if name not in self._lines:
                self._lines[name] = self._bar.add_task(name, total=None, state="")
            self._bar.update(self._lines[name], state=line[:80])

    def _say(self, words: str) -> None:
        now = time.strftime("%H:%M:%S")
        self._console.print(f"{now} {words}", soft_wrap=True, highlight=False, markup=False)


def status_command(
    store: Annotated[Path, typer.Argument(help="The store.")] = Path("runs"), format_: FormatOption = Format.TABLE
) -> None:
    """Say what every run of a store is doing, from the store alone, and where its log is."""
    from petl_bench.records.status import STATES, statuses

    try:
        found = statuses(store)
    except OSError as error:
        raise UsageError(
            f"The store {str(store)!r} cannot be read: {error.strerror or error}.\nType: petl-bench status FOLDER"
        ) from None
    rows = [
        {
            "run": one.name,
            "state": one.state,
            "step": "" if one.step is None else f"{one.step}/{one.steps or '?'}",
            "process": one.who,
            "log": "" if one.log is None else str(one.log),
            "error": one.error,
        }
        for one in found
    ]
    if format_ is Format.TABLE:
        rows = [row for row in rows if row["state"] != "done"]
    if rows or format_ is not Format.TABLE:
        print_as(rows, format_, str(store))
    if format_ is Format.TABLE:
        for state, meaning in STATES.items():
            number = sum(one.state == state for one in found)
            if number:
                typer.echo(f"{number} {state}: {meaning}")
        if not found:
            typer.echo(f"There is no run in {store}.")
