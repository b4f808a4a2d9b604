"""The commands ``data check``, ``data guide``, ``data unpack`` and ``data demo``."""

from pathlib import Path
from typing import Annotated

import typer

from petl_bench.errors import UsageError

app = typer.Typer(
    help="Check a data set in files, say where it comes from, or write a miniature of it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

NameArgument = Annotated[str, typer.Argument(help="A name of `petl-bench list datasets`.")]


@app.command("check")
def check_command(
    name: NameArgument,
    root: Annotated[Path, typer.Option(help="Folder of the data set's files.")],
    limit: Annotated[int | None, typer.Option(help="Read so many images at most [default: all].", min=1)] = None,
    out: Annotated[Path | None, typer.Option(help="The contact sheet [default: NAME-check.png].")] = None,
) -> None:
    """Read every image and label, print what is there; exit 1 with a list where something is off."""
    from rich.console import Console

    from petl_bench.audit.check import audit, file_dataset, rows_of
    from petl_bench.audit.sheet import draw_sheet
    from petl_bench.terminal import bar, print_rows

    with bar(Console(stderr=True)) as shown:
        line = shown.add_task(f"check {name}", total=None, state="")
        seen = audit(name, root, limit=limit, tell=lambda done, total: shown.update(line, completed=done, total=total))
    told = ", ".join(
        f"{split} {number:,}" + (f" (published {seen.known[split]:,})" if split in seen.known else "")
        for split, number in seen.counts.items()
    )
    typer.echo(f"{name}{f', packaging {seen.packaging}' if seen.packaging else ''}: {told}")
    sizes = ", ".join(f"{height} x {width}: {number:,}" for (height, width), number in seen.sizes.most_common(5))
    typer.echo(f"read: {seen.read:,} images of {len(seen.sizes)} sizes ({sizes})")
    print_rows(rows_of(seen), "table", "labels")
    for note in seen.notes:
        typer.echo(f"note: {note}")
    sheet = out or Path(f"{name}-check.png")
    draw_sheet(file_dataset(name).look(root), sheet)
    typer.echo(f"digest: {seen.digest}\nsheet: {sheet}")
    if seen.wrong:
        typer.echo(f"\nOff ({len(seen.wrong)}):")
        for finding in seen.wrong:
            typer.echo(f"- {finding}")
        raise typer.Exit(1)


@app.command("guide")
def guide_command(name: NameArgument) -> None:
    """Say where a data set comes from, under which licence, what tree is expected, and what the traps are."""
    from petl_bench.errors import unknown_name
    from petl_bench.plugins import listings

    known = listings("datasets")
    if name not in known:
        raise unknown_name("dataset", name, known, command="petl-bench list datasets")
    typer.echo(known[name].attributes.get("guide", known[name].summary).strip())


@app.command("unpack")
def unpack_command(
    source: Annotated[Path, typer.Argument(help="A folder with train*.parquet and test*.parquet.")],
    folder: Annotated[Path, typer.Argument(help="An empty folder, or one to make.")],
) -> None:
    """Write parquet files, as the hub passes them on, into a `folder` that runs read."""
    from rich.console import Console

    from petl_bench.audit.unpack import unpack
    from petl_bench.terminal import bar

    with bar(Console(stderr=True)) as shown:
        line = shown.add_task("unpack", total=None, state="")
        said = unpack(source, folder, lambda done, total: shown.update(line, completed=done, total=total))
    typer.echo(f"{said}\nType: petl-bench data check folder --root {folder}")


@app.command("demo")
def demo_command(
    name: NameArgument,
    folder: Annotated[Path, typer.Argument(help="An empty folder, or one to make.")],
    images: Annotated[int, typer.Option(help="How many.", min=3)] = 12,
    size: Annotated[int, typer.Option(help="Width of an image in pixels.")] = 128,
) -> None:
    """Write a miniature of a data set in its real layout, drawn by scenes."""
    from petl_bench.audit.demo import write_demo

    try:
        write_demo(name, folder, images=images, size=size)
    except OSError as error:
        raise UsageError(f"{str(folder)!r} cannot be written: {error.strerror}.") from None
    typer.echo(f"Type: petl-bench data check {name} --root {folder}")
