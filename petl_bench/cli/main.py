"""The command line. Every command parses, calls one function, prints; what is heavy is imported inside a command.

Results go to stdout, progress to stderr. Exit 0, 1 when a run failed, 2 for a mistake in what was typed.
"""

import io
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from petl_bench import __version__
from petl_bench.cli.counts import claims_command, params_command
from petl_bench.cli.data import app as data_app
from petl_bench.cli.groups import groups_command
from petl_bench.cli.options import (
    BackboneOption,
    DatasetOption,
    DecoderOption,
    Format,
    FormatOption,
    MethodOption,
    SetOption,
    TasksOption,
    print_as,
    settings_of,
)
from petl_bench.cli.report import report_command
from petl_bench.cli.scaling import bench_peers_command, scaling_command
from petl_bench.cli.store import app as store_app
from petl_bench.cli.sweep import status_command, sweep_command
from petl_bench.cli.tasks import seeds_of, tasks_of_a_run
from petl_bench.cli.tune import tune_command
from petl_bench.config import merge
from petl_bench.errors import UsageError, nearest, unknown_name

_STARTED = time.perf_counter()

GROUPS = {
    "Train": ("run", "sweep", "tune", "status", "report"),
    "Measure": ("params", "scaling", "bench-peers", "claims", "groups"),
    "Inspect": ("store", "list", "check", "data"),
    "Extend": ("new", "pretrain"),
}


class Grouped(TyperGroup):
    """Commands listed by what they are for."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section a group; what belongs to none comes last."""
        left = dict(self.commands)
        for title, names in GROUPS.items():
            own = [(name, left.pop(name).get_short_help_str(100)) for name in names if name in left]
            with formatter.section(title):
                formatter.write_dl(own)
        if left:
            with formatter.section("Other"):
                formatter.write_dl([(name, command.get_short_help_str(100)) for name, command in left.items()])


app = typer.Typer(
    cls=Grouped,
    name="petl-bench",
    help="Compare parameter-efficient transfer learning methods on multi-task dense prediction.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command("run")
def run_command(
    experiment: Annotated[
        str | None, typer.Argument(help="An experiment: a name or a TOML file. Or give --method.")
    ] = None,
    method: MethodOption = None,
    tasks: TasksOption = None,
    backbone: BackboneOption = None,
    dataset: DatasetOption = None,
    decoder: DecoderOption = None,
    budget: Annotated[str | None, typer.Option(help="smoke, quick or full.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and batches.")] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="One run a seed: 0-4, or 0,1,2.")] = None,
    set_: SetOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda ...")] = "auto",
    root: Annotated[Path | None, typer.Option(help="Folder of the data set's files.")] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same numbers at every run, on CUDA too, or an error.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The store: one folder a run.")] = Path("runs"),
    force: Annotated[bool, typer.Option("--force", help="Repeat a finished run.")] = False,
    evaluate_only: Annotated[
        bool, typer.Option("--evaluate-only", help="Make metrics and pictures again from what was trained.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved config and stop.")] = False,
) -> None:
    """Train and evaluate one method, or all runs of an experiment; what was broken off goes on from where it was."""
    if force and evaluate_only:
        raise UsageError("--force trains again, --evaluate-only trains nothing: give one of them.")
    asked = settings_of(method, backbone, dataset, decoder, tasks and tasks_of_a_run(tasks), set_)
    if seeds is not None and (seed is not None or "seed" in asked):
        raise UsageError("--seed and --seeds were both given: give one of them.\nType: --seeds 0-4")
    asked = merge(asked, {k: v for k, v in {"budget": budget, "seed": seed}.items() if v is not None})
    numbers = None if seeds is None else seeds_of(seeds)
    runtime: dict[str, Any] = {"device": device} | ({} if root is None else {"root": str(root)})
    runtime |= {"deterministic": True} if deterministic else {}
    asked = merge({"runtime": runtime}, asked if numbers is None else {**asked, "seed": numbers[0]})
    from petl_bench import plan, plugins
    from petl_bench.experiment import expand, experiment_path, read_experiment

    if experiment is not None and "method" in asked:
        raise UsageError(
            f"The experiment {experiment!r} names its methods itself: give it no --method and no method.* setting.\n"
            f"Type: petl-bench run {experiment}   or: petl-bench run --method vmt"
        )
    named = asked.get("method", {})
    if not isinstance(named, dict):
        raise UsageError(f"method = {named!r}: a section is expected.\nType: --method vmt   or: --set method.name=vmt")
    if experiment is None and "name" not in named:
        raise UsageError("Which method?\nType: petl-bench run --method vmt --tasks 4   or: petl-bench list methods")
    if experiment is None:
        settings: tuple[dict[str, Any], ...] = (asked,)
    else:
        settings = expand(read_experiment(experiment_path(experiment)), asked)
    if numbers is not None:
        settings = tuple({**one, "seed": number} for one in settings for number in numbers)
    configs = [plan.plan(one, plugins.vocabulary) for one in settings]
    if dry_run:
        for config in configs:
            typer.echo(config.model_dump_json(indent=2))
        if experiment is not None:
            from petl_bench.cli.dry_run import tell_plan

            tell_plan(experiment, settings, configs)
        return
    from petl_bench.cli.run import run_all

    started = time.perf_counter() - _STARTED
    finished = run_all(configs, out, force=force, evaluate_only=evaluate_only, start_seconds=started)
    if experiment is not None:
        typer.echo(f"Type: petl-bench report {out} --experiment {experiment}")
    if not finished:
        raise typer.Exit(1)


app.command("report")(report_command)
app.command("params")(params_command)
app.command("claims")(claims_command)
app.command("sweep")(sweep_command)
app.command("tune")(tune_command)
app.command("status")(status_command)
app.add_typer(store_app, name="store")
app.command("scaling")(scaling_command)
app.command("groups")(groups_command)
app.add_typer(data_app, name="data")
app.command("bench-peers")(bench_peers_command)


KINDS = ("methods", "backbones", "datasets", "tasks", "decoders", "experiments")


@app.command("list")
def list_command(
    kind: Annotated[str, typer.Argument(help=", ".join(KINDS))],
    support: Annotated[bool, typer.Option("--support", help="Of backbones: which method runs on which.")] = False,
    format_: FormatOption = Format.TABLE,
) -> None:
    """List what there is."""
    from petl_bench import plugins
    from petl_bench.cli.listing import rows_of
    from petl_bench.cli.support import print_support, read_support
    from petl_bench.experiment import experiments_folder

    if kind not in KINDS:
        raise unknown_name(
            "kind of thing to list", kind, KINDS, command=f"petl-bench list {nearest(kind, KINDS) or 'methods'}"
        )
    if support and kind != "backbones":
        raise UsageError("--support is a view of the backbones.\nType: petl-bench list backbones --support")
    if support and format_ is Format.TABLE:
        print_support(read_support())
    else:
        print_as(read_support() if support else rows_of(kind, experiments_folder()), format_, kind)
    for words in plugins.set_aside(kind) if kind in plugins.CONTRACTS else ():
        typer.echo(f"left out: {words}", err=True)


@app.command("check")
def check_command(
    method: Annotated[str, typer.Argument(help="A method, MODULE:CLASS of your own, or all.")],
    family: Annotated[
        str | None,
        typer.Option("--backbone", help="swin, vit ... [default: all that have what it needs]."),
    ] = None,
    set_: SetOption = None,
    slow: Annotated[bool, typer.Option("--slow", help="Also two processes and the compiler: minutes.")] = False,
    write: Annotated[bool, typer.Option("--write", help="With all: the table of list backbones --support.")] = False,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Check what every method promises, on small networks; exit 1 if a promise is broken."""
    asked = settings_of(None, None, None, None, None, set_)
    settings = asked.pop("method", {})
    if asked or not isinstance(settings, dict):
        raise UsageError("--set: only settings of the method are taken.\nType: --set method.rho=8")
    from petl_bench.cli.check import check

    if write and (method != "all" or family is not None):
        raise UsageError("--write: the table is of all methods on all networks.\nType: petl-bench check all --write")
    if not check(method, family, settings, slow=slow, form=format_.value, write=write):
        raise typer.Exit(1)


@app.command("new")
def new_command(
    kind: Annotated[str, typer.Argument(help="method")],
    name: Annotated[str, typer.Argument(help="Its name: my-method.")],
    out: Annotated[Path | None, typer.Option(help="Folder of both files [default: the checkout's, or here].")] = None,
) -> None:
    """Write a method that works and its test, to start from."""
    from petl_bench.cli.scaffold import new_method

    if kind != "method":
        raise unknown_name("kind of thing to begin", kind, ["method"], command=f"petl-bench new method {name}")
    typer.echo(new_method(name, out))


@app.command("pretrain")
def pretrain_command(
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another recipe: --set steps=500; needs --out.", metavar="KEY=VALUE"),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where to write weights, if not into the package.")] = None,
    probe: Annotated[
        str | None, typer.Option("--probe", help="Train nothing; tell what weights are worth: pretrained, file:PATH.")
    ] = None,
) -> None:
    """Rebuild the embedded backbone (about an hour and a half on one core), or tell what weights of it are worth."""
    from petl_bench.cli.pretrain import pretrain_embedded, probe_weights

    typer.echo(probe_weights(probe) if probe else pretrain_embedded(resume=resume, settings=set_, out=out))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a mistake of the user's, or a file that the system refuses, is a message and exit 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # one of another encoding shows ? for an arrow, and no traceback
            stream.reconfigure(errors="replace")
    try:
        if any("\0" in argument for argument in arguments or ()):  # no shell can pass one, and no path can hold one
            raise UsageError("An argument holds a NUL character, which no name and no path can.")
        app(arguments)
    except UsageError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:
            raise
        typer.echo(f"Error: {str(error.filename)[:200]!r}: {error.strerror}.", err=True)
        sys.exit(2)
