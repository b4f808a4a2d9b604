"""The commands ``params`` and ``claims``: parameters and multiply-adds counted, and held against published figures."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from petl_bench.cli.options import (
    BackboneOption,
    DatasetOption,
    DecoderOption,
    Format,
    FormatOption,
    SetOption,
    print_as,
    settings_of,
)
from petl_bench.cli.tasks import tasks_or_channels
from petl_bench.config import merge
from petl_bench.errors import UsageError


class By(StrEnum):
    """What parameters are grouped by."""

    MODULE = "module"


def params_command(
    method: Annotated[str, typer.Option(help="A method, or all.")] = "all",
    backbone: BackboneOption = None,
    dataset: DatasetOption = None,
    tasks: Annotated[
        str | None, typer.Option("--tasks", help="The first N tasks, names, or channels: semseg:21,normals:3.")
    ] = None,
    decoder: DecoderOption = None,
    set_: SetOption = None,
    by: Annotated[By | None, typer.Option("--by", help="Where the parameters are, module by module.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="The closed form, its numbers, and the modules.")] = False,
    flops: Annotated[
        bool, typer.Option("--flops", help="Multiply-adds and parameters by torch, by fvcore and by closed form.")
    ] = False,
    check: Annotated[
        Path | None, typer.Option("--check", help="Compare all default counts with a file; exit 1 if one moved.")
    ] = None,
    write: Annotated[Path | None, typer.Option("--write", help="Write all default counts into a file.")] = None,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Count trained parameters from the modules, on the meta device: nothing is computed.

    With --flops one image is passed through every method, with at most four tasks; --flops --by module says where.
    """
    asked = settings_of(None, backbone, dataset, decoder, tasks and tasks_or_channels(tasks), set_)
    given = {"--by": by, "--explain": explain, "--flops": flops, "--check": check, "--write": write}
    views = [flag for flag, value in given.items() if value]
    if len(views) > 1 and views != ["--by", "--flops"]:
        raise UsageError(f"{' and '.join(views)} are different questions: give one of them at a time.")
    if check is not None or write is not None:
        _guard_counts(check, write, method, asked)
        return
    from petl_bench.measure.count import table

    names, left_out = table.methods_on(method, asked)
    if left_out:
        typer.echo(f"not defined on this backbone: {', '.join(left_out)}", err=True)
    view = {
        "": table.count_table,
        "--by": table.module_table,
        "--explain": table.formula_table,
        "--flops": table.agreement_table,
        "--by --flops": table.traced_table,
    }[" ".join(views)]
    rows, title = view([merge(asked, {"method": {"name": name}}) for name in names], list(set_ or []))
    shown = [table.shown(row) for row in rows] if format_ is Format.TABLE and not views else rows
    print_as(shown, format_, title)
    wrong = [row for row in rows if row.get("verdict") == table.UNEQUAL]
    if wrong:
        typer.echo(f"The counts disagree: {', '.join(dict.fromkeys(row['method'] for row in wrong))}", err=True)
        raise typer.Exit(1)


def _guard_counts(check: Path | None, write: Path | None, method: str, asked: dict[str, Any]) -> None:
    """Write the counts of the guard, or compare them and exit 1 if one moved."""
    if asked or (write is not None and method != "all"):
        raise UsageError(
            "--check and --write count the default settings of every method on fixed backbones: give no other flag "
            "(but --check FILE --method NAME, to look at one).\nType: petl-bench params --check FILE"
        )
    from petl_bench.measure.count.guard_file import check_golden, update_golden

    if write is not None:
        typer.echo(update_golden(write))
    elif check is not None:
        same, message = check_golden(check, method)
        typer.echo(message)
        if not same:
            raise typer.Exit(1)


def claims_command(format_: FormatOption = Format.TABLE) -> None:
    """Count the published figures again, and say which of them our code reproduces, and which nobody can check."""
    from petl_bench.experiment import experiments_folder
    from petl_bench.measure.count.claims import judge_all, shown, tried_lines
    from petl_bench.measure.count.quoted import quoted_lines
    from petl_bench.published import read_claims

    rows = judge_all(read_claims(experiments_folder() / "published"))
    print_as(rows if format_ is Format.JSON else [shown(row) for row in rows], format_, "published figures")
    if format_ is Format.TABLE:
        for line in [*tried_lines(rows), *quoted_lines(rows)]:
            typer.echo(line)
