"""What the commands ``run`` and ``pretrain`` show while they work: progress on stderr, results on stdout."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID

from petl_bench.config import RunConfig
from petl_bench.engine.clock import Watch
from petl_bench.engine.run import Outcome, run
from petl_bench.records.store import PICTURE, Store
from petl_bench.terminal import bar, print_table


def run_all(configs: Sequence[RunConfig], out: Path, *, force: bool, evaluate_only: bool, start_seconds: float) -> bool:
    """Execute runs one after the other; a failed one becomes a record and the others go on.

    Returns:
        Whether all of them finished.
    """
    is_main = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun starts, one speaks
    console = Console(stderr=True, quiet=not is_main)
    store = Store(out)
    finished = True
    for number, config in enumerate(configs, start=1):
        if len(configs) > 1:
            console.rule(f"run {number} of {len(configs)}: {config.method.name}, seed {config.seed}", align="left")
        if config.backbone.weights == "random":
            console.print("The backbone has random weights: a control, not a transfer.", style="yellow")
        with bar(console) as shown:
            outcome = run(
                config,
                store,
                _watching(shown, config.method.name),
                force=force,
                evaluate_only=evaluate_only,
                say=lambda words: console.print(words, style="yellow", soft_wrap=True, highlight=False, markup=False),
                start_seconds=start_seconds if number == 1 else 0.0,
            )
        if is_main:
            _show(outcome, console)
        finished = finished and outcome.record.status == "finished"
    return finished


def _watching(shown: Progress, method: str) -> Watch:
    """Return what draws a line of the bar for every phase of a run."""
    lines: dict[str, TaskID] = {}

    def watch(phase: str, done: int, total: int, state: str) -> None:
        if phase not in lines:
            lines[phase] = shown.add_task(f"{phase} {method}" if phase == "train" else phase, total=total, state="")
        shown.update(lines[phase], completed=done, state=state)

    return watch


def _show(outcome: Outcome, console: Console) -> None:
    record = outcome.record
    if record.status == "failed":
        last = (record.error or "").strip().splitlines()[-1:]
        console.print(f"The run failed: {' '.join(last)}\nIts record: {outcome.folder}", style="red", soft_wrap=True)
        return
    arrows = {True: "↑", False: "↓"}
    header = ["task", "metric", "value", "trivial predictor"]
    rows = [
        [
            task,
            f"{result.primary} {result.chosen.unit} {arrows[result.chosen.higher_is_better]}",
            f"{result.score:.2f}",
            f"{result.trivial_score:.2f}",
        ]
        for task, result in record.metrics.items()
    ]
    found = " (found in the store; --force repeats it)" if outcome.found else ""
    print_table(f"{record.method}, seed {record.seed}{found}", header, rows)
    print(f"data: {record.data_hash}")
    for task, result in record.metrics.items():
        if result.labelled_images is not None and result.labelled_images < result.scored_images:
            print(f"{task}: {result.labelled_images} of {result.scored_images} test images have a label")
    ledger = record.parameters
    if ledger is not None:
        percent = 100 * ledger.method / ledger.backbone
        native = f", {ledger.trunk:,} of them the trunk's own" if ledger.trunk else ""
        print(
            f"trained: method {ledger.method:,}{native} ({percent:.2f} % of one backbone), decoders {ledger.decoder:,}"
        )
    spent = {name: seconds for name, seconds in record.seconds.model_dump().items() if seconds >= 0.05}
    account = ", ".join(f"{name} {seconds:.1f}" for name, seconds in spent.items())
    speed = f"{record.images_per_second:.0f} images/s in training"
    if record.waiting_seconds is not None:
        speed += f", {100 * record.waiting_seconds / record.seconds.train:.1f} % of it waiting for data"
    print(f"seconds: {account}; total {sum(spent.values()):.1f} ({speed})")
    print(f"pictures: {outcome.folder / PICTURE}")
