"""``run(config, store)``: one run from its config to its record, by one process at a time, from where it was left."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from petl_bench.config import RunConfig
from petl_bench.engine.allocator import keep_freed_memory
from petl_bench.engine.clock import Clock, Watch, unwatched
from petl_bench.engine.device import deterministic, make_accelerator
from petl_bench.engine.draft import draft, identified
from petl_bench.engine.keep import Say, silent
from petl_bench.engine.signals import stopping
from petl_bench.engine.work import Work
from petl_bench.errors import UsageError
from petl_bench.records.claims import ClaimedError, claimed
from petl_bench.records.run import RunRecord
from petl_bench.records.store import Store
from petl_bench.records.working import CHECKPOINT, clear, clear_scratch


@dataclass(frozen=True)
class Outcome:
    """A record, where it lies, and whether it was found instead of made."""

    record: RunRecord
    folder: Path
    found: bool


def run(
    config: RunConfig,
    store: Store,
    watch: Watch = unwatched,
    *,
    force: bool = False,
    evaluate_only: bool = False,
    say: Say = silent,
    start_seconds: float = 0.0,
) -> Outcome:
    """Execute a run, go on with one that was broken off, or find it finished in the store.

    The state of the training is kept in the store while it runs, and what was trained before it is evaluated. A run
    that fails leaves a record with its error, and its last state; a user's mistake leaves nothing.

    Args:
        config: The resolved config.
        store: Where the run's folder goes.
        watch: Told how far the run is.
        force: Repeat a finished run, from its first step.
        evaluate_only: Train nothing: make metrics and pictures again from what was trained.
        say: Told in words where training goes on, and whose work is waited for.
        start_seconds: Seconds that the process took before this call, for the account of the wall time.

    Raises:
        UsageError: Something the config asks for cannot be had.
        KeyboardInterrupt: SIGINT came; the state of the training is on disk. SystemExit by SIGTERM likewise.
    """
    with _threads(config.runtime.threads), deterministic(config.runtime.deterministic), stopping() as stop:
        keep_freed_memory()
        accelerator = make_accelerator(config)
        planned = draft(identified(config), accelerator.device)
        store.require_writable()
        again = force or evaluate_only
        if not again and (known := store.find(planned.folder_name)) is not None:
            _tidy(store.working(planned.folder_name))
            return Outcome(known, store.folder / planned.folder_name, found=True)
        with _owned(store, planned.folder_name, accelerator, say, discard=force) as require:
            known = store.find(planned.folder_name)
            if known is not None and not again:  # made while this process waited
                return Outcome(known, store.folder / planned.folder_name, found=True)
            work = Work(config, planned, store, accelerator, watch, say, stop, require, Clock({"start": start_seconds}))
            if evaluate_only:
                work.require_trained(known)
            record = work.recorded(lambda: work.assess_again(known) if known and evaluate_only else work.execute())
    return Outcome(record, store.folder / planned.folder_name, found=False)


def _tidy(working: Path) -> None:
    """Remove what a process left that was killed between its last file and its end, unless another one is there."""
    if working.exists():
        with suppress(ClaimedError, OSError), claimed(working, say=silent, wait=False) as claim:
            clear(claim.folder)


@contextmanager
def _owned(
    store: Store, name: str, accelerator: Accelerator, say: Say, *, discard: bool
) -> Generator[Callable[[], None], None, None]:
    """Hold the run's claim in the main process, and have the others begin when it has it; give what checks it.

    ``discard`` removes the state of a training that is there.
    """
    if not accelerator.is_main_process:
        broadcast_object_list([None])
        yield lambda: None
        return
    with _said_if_unwritable(store), claimed(store.working(name), say=say) as claim:
        clear_scratch(claim.folder)
        if discard:
            (claim.folder / CHECKPOINT).unlink(missing_ok=True)
        if accelerator.num_processes > 1:
            broadcast_object_list([None])
        yield claim.require


@contextmanager
def _said_if_unwritable(store: Store) -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"The store {str(store.folder)!r} cannot be written: {error.strerror or error}. The last state of the "
            "training, if there was one, is as it was.\nMake room, then type the same command: it goes on from there."
        ) from error


@contextmanager
def _threads(number: int | None) -> Generator[None, None, None]:
    """Let torch use so many threads inside the block."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
