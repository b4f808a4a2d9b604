"""The command ``store``: what is wrong in a store, and putting it aside."""

from pathlib import Path
from typing import Annotated

import typer

from petl_bench.errors import UsageError, unknown_name

ACTIONS = ("check",)


def store_command(
    action: Annotated[str, typer.Argument(help="check")],
    store: Annotated[Path, typer.Argument(help="The store.")] = Path("runs"),
    repair: Annotated[
        bool, typer.Option("--repair", help="Move damaged runs to .quarantine in the store; clear scratch.")
    ] = False,
) -> None:
    """Check every record and file of a store; exit 1 if something is wrong. Nothing is deleted."""
    from petl_bench.escape import plain
    from petl_bench.records.check import problems
    from petl_bench.records.check import repair as mend

    if action not in ACTIONS:
        raise unknown_name("action on a store", action, ACTIONS, command=f"petl-bench store check {store}")
    try:
        found = list(problems(store))
        for problem in found:
            done = mend(store, problem) if repair else ""
            typer.echo(plain(f"{problem.path}: {problem.what}") + (f" - {done}" if done else ""))
    except (OSError, ValueError) as error:
        raise UsageError(f"The store {str(store)!r} cannot be checked: {error}.") from None
    left = [problem for problem in found if not (repair and problem.remedy)]
    typer.echo(f"{len(found)} problems" + (f", {len(left)} left" if repair else ""))
    if any(problem.remedy for problem in left):
        raise typer.Exit(1)
