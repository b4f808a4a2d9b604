"""What every launcher does: claim and run one fingerprint of a store. ``python -m petl_bench.sweep.work STORE NAME``.

Progress goes to stdout, which a launcher turns into the run's log. Exit 0 when the run is finished, 1 when it failed
and left a record, 2 for what was asked and cannot be.
"""

import sys
import time
from pathlib import Path

from petl_bench.engine.clock import Watch
from petl_bench.engine.draft import identified
from petl_bench.engine.run import run
from petl_bench.errors import UsageError
from petl_bench.records.store import Store
from petl_bench.sweep.job import planned

TOLD_EVERY_SECONDS = 2.0


def work(store: Store, name: str) -> bool:
    """Claim and run a planned run; return whether it is finished.

    Raises:
        UsageError: It was not planned, or cannot be run.
    """
    config = planned(store, name)
    if config is None:
        if store.find(name) is not None:
            return True
        raise UsageError(f"{name} is not planned in {str(store.folder)!r}.\nType: petl-bench sweep ...")
    now = identified(config).folder_name
    if now != name:
        raise UsageError(
            f"{name} was planned, and is {now} now: the package, the weights or the data changed since.\n"
            "Type: petl-bench sweep ...   again"
        )
    outcome = run(config, store, _telling(), say=_say)
    _say(f"{outcome.record.status}: {outcome.folder}")
    if outcome.record.error:
        _say(outcome.record.error)
    return outcome.record.status == "finished"


def _say(words: str) -> None:
    print(words, flush=True)


def _telling() -> Watch:
    """Return what prints where a run is, now and then."""
    told_at = float("-inf")

    def watch(phase: str, done: int, total: int, state: str) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= TOLD_EVERY_SECONDS or done == total:
            told_at = time.monotonic()
            _say(f"{phase} {done}/{total}  {state}".rstrip())

    return watch


def main(arguments: list[str]) -> int:
    """Run what is named."""
    store, name = arguments
    try:
        return 0 if work(Store(Path(store)), name) else 1
    except UsageError as error:
        _say(f"Error: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
