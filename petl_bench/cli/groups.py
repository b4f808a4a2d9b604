"""The command ``groups``: parses, calls one function, prints."""

from typing import Annotated

import typer

from petl_bench.cli.options import (
    BackboneOption,
    DatasetOption,
    DecoderOption,
    Format,
    FormatOption,
    SetOption,
    TasksOption,
    print_as,
    settings_of,
)
from petl_bench.cli.tasks import tasks_of_a_run
from petl_bench.config import merge

STEPS = 50


def groups_command(
    method: Annotated[str, typer.Option("--method", help="A method that shares something, such as lora.")],
    number: Annotated[int, typer.Option("--number", help="How many groups.")] = 2,
    tasks: TasksOption = None,
    backbone: BackboneOption = None,
    dataset: DatasetOption = None,
    decoder: DecoderOption = None,
    set_: SetOption = None,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Group tasks by the cosines of their gradients in a short training (train.steps, 50 by default)."""
    from rich.console import Console

    from petl_bench import plan, plugins
    from petl_bench.engine.probe import gradient_cosines, grouped
    from petl_bench.terminal import bar

    asked = settings_of(method, backbone, dataset, decoder, tasks and tasks_of_a_run(tasks), set_)
    config = plan.plan(merge({"train": {"steps": STEPS}}, asked), plugins.vocabulary)
    with bar(Console(stderr=True)) as shown:
        job = shown.add_task("probe", total=config.train.steps, state="")
        cosines = gradient_cosines(config, lambda step: shown.update(job, completed=step))
    groups = grouped(cosines, config.tasks, number)
    rows = [
        {"task": task, **{other: round(float(value), 3) for other, value in zip(config.tasks, row, strict=True)}}
        for task, row in zip(config.tasks, cosines, strict=True)
    ]
    print_as(rows, format_, f"cosines of gradients, mean of {config.train.steps} steps")
    if format_ is Format.TABLE:
        typer.echo(f"--set method.groups={','.join('+'.join(group) for group in groups)}")
