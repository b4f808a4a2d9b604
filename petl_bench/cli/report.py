"""The command ``report``: parses, calls one function, prints."""

from pathlib import Path
from typing import Annotated

import typer

from petl_bench.cli.options import pairs_of


def report_command(
    runs: Annotated[list[Path] | None, typer.Argument(help="Stores or run folders [default: runs].")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the report goes [default: `report` in the store].")] = None,
    experiment: Annotated[
        str, typer.Option(help="Whose reference, floor, controls and axes: a name or a TOML file.")
    ] = "main",
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="What stands for a task: --metric semseg=pixel_accuracy", metavar="TASK=METRIC"),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 when a reference run is missing.")] = False,
) -> None:
    """Turn records into tables and figures."""
    from petl_bench.experiment import experiment_path, read_experiment
    from petl_bench.records.store import RECORD
    from petl_bench.report import report
    from petl_bench.terminal import print_table

    folders = runs or [Path("runs")]
    store = folders[0].parent if (folders[0] / RECORD).is_file() else folders[0]
    roles = read_experiment(experiment_path(experiment)).report
    done = report(folders, out or store / "report", roles, pairs_of("--metric", metric))
    for group in done.groups:
        print_table(group.title, list(group.narrow.columns), group.narrow.to_numpy().tolist())
        for note in group.notes:
            typer.echo(f"- {note}")
    for note in done.notes:
        typer.echo(note)
    for command in done.missing_references:
        typer.echo(f"missing reference: {command}")
    typer.echo(f"report: {done.page}")
    if strict and done.missing_references:
        raise typer.Exit(1)
