"""The commands ``store check``, ``store diff``, ``store pack`` and ``store unpack``."""

from pathlib import Path
from typing import Annotated

import typer

from petl_bench.cli.options import Format, FormatOption, print_as
from petl_bench.errors import UsageError
from petl_bench.escape import plain

app = typer.Typer(
    help="Check a store, compare it with another one, or pass it on as one file.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

StoreArgument = Annotated[Path, typer.Argument(help="The store.")]


@app.command("check")
def check_command(
    store: StoreArgument = Path("runs"),
    repair: Annotated[
        bool, typer.Option("--repair", help="Move damaged runs to .quarantine in the store; clear scratch.")
    ] = False,
) -> None:
    """Check every record and file of a store; exit 1 if something is wrong. Nothing is deleted."""
    from petl_bench.records.check import problems
    from petl_bench.records.check import repair as mend

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


@app.command("diff")
def diff_command(
    first: StoreArgument,
    second: Annotated[Path, typer.Argument(help="The other one.")],
    format_: FormatOption = Format.TABLE,
) -> None:
    """Compare the runs of two stores, number by number; exit 1 if they differ."""
    from petl_bench.records.diff import differences

    found, both = differences(first, second)
    rows = [{"run": one.run, "what": one.what, "first": one.first, "second": one.second} for one in found]
    if rows or format_ is not Format.TABLE:
        print_as(rows, format_, f"{first} | {second}")
    if format_ is Format.TABLE:
        typer.echo(f"{both} runs in both, {len(found)} differences")
    if found:
        raise typer.Exit(1)


@app.command("pack")
def pack_command(
    store: StoreArgument, file: Annotated[Path, typer.Argument(help="The pack, a zip file: runs.zip.")]
) -> None:
    """Write all sound runs of a store into one file with a hash of everything in it."""
    from petl_bench.records.pack import pack

    packed = pack(store, file)
    for name, why in packed.left_out:
        typer.echo(plain(f"left out: {name}: {why}"), err=True)
    typer.echo(
        f"{len(packed.done)} runs in {file}\nsha256: {packed.digest}\nType: petl-bench store unpack {file} STORE"
    )


@app.command("unpack")
def unpack_command(
    file: Annotated[Path, typer.Argument(help="A pack.")],
    store: Annotated[Path, typer.Argument(help="The store that its runs are added to.")],
) -> None:
    """Add the runs of a pack to a store, after a look at every one; what is there already stays."""
    from petl_bench.records.pack import unpack

    unpacked = unpack(file, store)
    for name, why in unpacked.left_out:
        typer.echo(plain(f"left out: {name}: {why}"), err=True)
    typer.echo(f"{len(unpacked.done)} runs added to {store}\nsha256: {unpacked.digest}")
