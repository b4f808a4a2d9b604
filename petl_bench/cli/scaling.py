"""The command that measures cost: it parses, calls one function, prints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console

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
from petl_bench.cli.tasks import numbers_of_tasks
from petl_bench.config import parse_value
from petl_bench.errors import UsageError, nearest, unknown_name
from petl_bench.experiment import experiment_path, experiments_folder, read_experiment

PHASES: tuple[Literal["infer", "train"], ...] = ("infer", "train")
PARTS: tuple[Literal["encoder", "decoders", "total"], ...] = ("encoder", "decoders", "total")
MODES: tuple[Literal["eager", "compiled", "bf16", "cuda-graphs"], ...] = ("eager", "compiled", "bf16", "cuda-graphs")
METRICS = ("latency", "macs", "elementwise", "bytes", "memory", "parameters")

Word = TypeVar("Word", bound=str)


def scaling_command(
    method: Annotated[str, typer.Option(help="Names, comma-separated, or all; a setting: lora:scope=shared.")] = "all",
    tasks: Annotated[str, typer.Option(help="Numbers of tasks to compare.")] = "1,2,4,8,16",
    backbone: BackboneOption = None,
    dataset: DatasetOption = None,
    decoder: DecoderOption = None,
    phase: Annotated[str, typer.Option(help="infer, train.")] = "infer,train",
    part: Annotated[str, typer.Option(help="encoder, decoders, total.")] = "encoder,total",
    metric: Annotated[
        str, typer.Option(help="latency, macs, elementwise, bytes, memory, parameters.")
    ] = "latency,macs,memory",
    mode: Annotated[str, typer.Option(help="How passes run: eager, compiled, bf16 or cuda-graphs.")] = "eager",
    batch: Annotated[int, typer.Option(min=1, help="Images of a timed pass.")] = 1,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds of every process, at least.")] = 10,
    seconds: Annotated[float, typer.Option(min=0, help="Seconds of every process and phase, at least.")] = 0.0,
    processes: Annotated[int, typer.Option(min=1, help="Processes in which each method is timed.")] = 5,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch [default: its own].")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda ...")] = "cpu",
    set_: SetOption = None,
    out: Annotated[Path, typer.Option(help="Where the record, the table and the figure go.")] = Path("runs/scaling"),
    format_: FormatOption = Format.TABLE,
) -> None:
    """Measure cost against the number of tasks, and say whether it is constant; what was broken off goes on."""
    asked = settings_of(None, backbone, dataset, decoder, None, set_)
    metrics = chosen("metric", metric, METRICS)
    roles = read_experiment(experiment_path("main")).report
    controls = {"floor": roles.floor[0], "ceiling": roles.reference} if "latency" in metrics else {}
    methods = {label: method_section(label) for label in dict.fromkeys([*controls.values(), *_labels(method, asked)])}
    phases, parts = chosen("phase", phase, PHASES), chosen("part", part, PARTS)
    numbers = numbers_of_tasks(tasks)
    if mode not in MODES:
        raise unknown_name("mode", mode, MODES, command=f"petl-bench scaling --mode {nearest(mode, MODES) or 'eager'}")
    from petl_bench.engine.device import choose_device
    from petl_bench.measure.cost.agreement import DisagreementError
    from petl_bench.measure.cost.record import scale
    from petl_bench.measure.cost.workload import Setup
    from petl_bench.records.refit import read_scaling
    from petl_bench.records.scaling import ScalingRecord
    from petl_bench.records.store import Store
    from petl_bench.report.scaling.headline import headline_rows
    from petl_bench.report.scaling.page import FILES, RECORD, write_scaling, write_scaling_record
    from petl_bench.report.scaling.tables import scaling_table
    from petl_bench.signed import require_replaceable, sign
    from petl_bench.terminal import bar

    require_replaceable(out, FILES)
    Store(out).require_writable()
    begun = read_scaling(out / RECORD)
    setup = Setup(asked, numbers, phases, parts, mode, batch, rounds, seconds, threads, str(choose_device(device)))
    with bar(Console(stderr=True)) as shown:
        line = shown.add_task("scaling", total=len(methods) + 1, state="")

        def progress(state: str) -> None:
            shown.update(line, advance=1 if state else 0, state=state)

        def keep(record: ScalingRecord) -> None:
            write_scaling_record(record, out)
            sign(out, FILES)

        try:
            record = scale(
                setup,
                methods,
                metrics,
                processes=processes,
                controls=controls,
                progress=progress,
                keep=keep,
                begun=begun,
                say=lambda words: typer.echo(words, err=True),  # stdout may be JSON
            )
        except DisagreementError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from None
    write_scaling(record, out)
    sign(out, FILES)
    if format_ is Format.TABLE:
        print_as(headline_rows(record), format_, f"what every method costs, {record.backbone}")
        print_as(scaling_table(record), format_, f"cost against T, {record.backbone}")
        for note in [*record.missed, f"record, table and figure: {out}"]:
            typer.echo(note)
    else:
        print_as([row.model_dump(mode="json") for row in record.rows], format_, "scaling")
    if record.missed or any(row.contradiction for row in record.rows):
        raise typer.Exit(1)


def bench_peers_command(
    backbone: BackboneOption = None,
    tasks: Annotated[str | None, typer.Option(help="Numbers of tasks [default: those of the list].")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images of a timed pass.")] = 4,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds.")] = 8,
    device: Annotated[str, typer.Option(help="cpu, cuda ...")] = "cpu",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Time the encoder of a method beside what a user would pick instead."""
    from petl_bench.engine.device import choose_device
    from petl_bench.measure.cost.peers import compare, read_peers
    from petl_bench.terminal import bar

    peers = read_peers(experiments_folder() / "costs" / "peers.toml")
    if tasks is not None:
        peers = peers.model_copy(update={"tasks": numbers_of_tasks(tasks, at_least=1)})
    asked = settings_of(None, backbone, None, None, None, None)
    with bar(Console(stderr=True)) as shown:
        line = shown.add_task("peers", total=len(peers.tasks), state="")

        def progress(state: str) -> None:
            shown.update(line, state=state, advance=shown.tasks[0].fields["state"] != "")

        rows = compare(
            asked,
            peers,
            method_section,
            batch_size=batch,
            min_rounds=rounds,
            device=str(choose_device(device)),
            progress=progress,
        )
    print_as(rows, format_, f"encoder inference, batch {batch}: times the first method ({peers.methods[0]})")


def chosen(flag: str, text: str, allowed: Sequence[Word]) -> tuple[Word, ...]:
    """Return the words of a comma-separated flag, in the order of ``allowed``.

    Raises:
        UsageError: One is not allowed.
    """
    given = [word.strip() for word in text.split(",")]
    for word in given:
        if word not in allowed:
            raise unknown_name(flag, word, allowed, command=f"petl-bench scaling --{flag} {','.join(allowed)}")
    return tuple(word for word in allowed if word in given)


def method_section(label: str) -> dict[str, Any]:
    """Return the ``method`` section of ``lora`` or ``lora:scope=shared:rank=8``.

    Raises:
        UsageError: A setting is not KEY=VALUE.
    """
    name, *settings = label.split(":")
    section: dict[str, Any] = {"name": name}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"--method {label}: NAME:KEY=VALUE is expected.\nType: --method {name}:scope=shared")
        section[key] = parse_value(value)
    return section


def _labels(text: str, asked: dict[str, Any]) -> list[str]:
    """Return the methods that were asked for; ``all`` leaves out what is not defined on the backbone."""
    if text != "all":
        return [label.strip() for label in text.split(",")]
    from petl_bench.measure.count.table import methods_on

    return methods_on("all", asked)[0]
