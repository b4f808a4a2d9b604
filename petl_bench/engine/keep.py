"""What of a training is on disk: saved every so often, at its end, and when the process is asked to end."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from petl_bench.config import RuntimeConfig
from petl_bench.engine.checkpoint import RefusedError, read_checkpoint, write_checkpoint
from petl_bench.engine.signals import Stop
from petl_bench.records.working import CHECKPOINT

REFUSED = "refused.safetensors"

Say = Callable[[str], None]


def silent(words: str) -> None:
    """Say nothing."""


class Stateful(Protocol):
    """A training between two steps."""

    step: int

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the following steps depend on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        ...


@dataclass
class Spent:
    """What a training took so far, over all processes that had a part in it.

    Attributes:
        seconds: In steps and in waiting for batches; lost steps do not count.
        waiting_seconds: In waiting for batches.
        dtype: Number type in which the last step computed what a decoder gives; likewise ``device``, where it lay.
        resumed_at: Steps from which it went on.
        earlier_seconds: The part of ``seconds`` that lies before the last of them.
    """

    seconds: float = 0.0
    waiting_seconds: float = 0.0
    dtype: str = ""
    device: str = ""
    resumed_at: tuple[int, ...] = ()
    earlier_seconds: float = 0.0


class Nothing:
    """Keeps nothing: a training that lives in memory alone."""

    def __init__(self) -> None:
        self.stop = Stop()

    def restore(self, loop: Stateful) -> Spent:
        """Begin at the beginning."""
        return Spent()

    def between_steps(self, loop: Stateful, spent: Spent, *, is_last: bool) -> None:
        """Do nothing."""

    def broken(self, loop: Stateful, spent: Spent) -> None:
        """Do nothing."""

    def last(self) -> str:
        """Say which state is on disk, as a sentence with a space behind it."""
        return ""


class Keeper(Nothing):
    """Keeps the state of one run's training in its working folder.

    Args:
        folder: The working folder.
        fingerprint: Of the run.
        engine_version: Of the training loop.
        runtime: How often.
        stop: Whether the process was asked to end.
        require: Raises if the run is no longer this process's.
        say: Told in words where training goes on, what is refused, and what cannot be saved.
        writes: Whether this process is the one that writes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        fingerprint: str,
        engine_version: int,
        runtime: RuntimeConfig,
        stop: Stop,
        require: Callable[[], None],
        say: Say,
        writes: bool,
    ) -> None:
        super().__init__()
        self.path = folder / CHECKPOINT
        self.stop = stop
        self._identity = {"fingerprint": fingerprint, "engine_version": engine_version}
        self._runtime, self._require, self._say, self._writes = runtime, require, say, writes
        self._saved_at = time.monotonic()
        self._saved_step = -1

    def restore(self, loop: Stateful) -> Spent:
        """Go on from the last state, if there is one of this run; another one is put aside and said."""
        if not self.path.exists():
            return Spent()
        try:
            header, state = read_checkpoint(self.path, **self._identity)  # pyright: ignore[reportArgumentType]
        except RefusedError as error:
            self._refuse(str(error))
            return Spent()
        loop.load_state_dict(state["loop"])
        spent = Spent(**state["spent"])
        spent.resumed_at, spent.earlier_seconds = (*spent.resumed_at, header.step), spent.seconds
        self._saved_step = header.step
        self._say(f"goes on from step {header.step}, saved at {header.saved}")
        return spent

    def between_steps(self, loop: Stateful, spent: Spent, *, is_last: bool) -> None:
        """Save if it is time to, or if the process was asked to end, which it then does."""
        steps = self._runtime.checkpoint_steps
        is_time = time.monotonic() - self._saved_at >= self._runtime.checkpoint_seconds
        if is_last or is_time or (steps and loop.step % steps == 0) or self.stop.number is not None:
            self._save(loop, spent)
        if self.stop.number is not None:
            self._say(f"stopped after step {loop.step}: the same command goes on from there")
        self.stop.leave()

    def broken(self, loop: Stateful, spent: Spent) -> None:
        """Save what is there when no next batch comes, and end if that is because the process was asked to."""
        self._save(loop, spent)
        self.stop.leave()

    def last(self) -> str:
        """Say which state is on disk, as a sentence with a space behind it."""
        if self._saved_step < 0:
            return "No state is on disk yet. "
        return f"On disk is the state after step {self._saved_step}: {self.path}. "

    def _save(self, loop: Stateful, spent: Spent) -> None:
        if not self._writes or loop.step == self._saved_step:
            return
        self._require()
        state = {"loop": loop.state_dict(), "spent": asdict(spent)}
        if not all(bool(torch.isfinite(tensor).all()) for tensor in state["loop"]["trained"].values()):
            return  # the next step will fail; what is on disk is still good
        try:
            write_checkpoint(self.path, state, step=loop.step, **self._identity)  # pyright: ignore[reportArgumentType]
        except OSError as error:
            last = f"step {self._saved_step}" if self._saved_step >= 0 else "no step"
            self._say(f"the state after step {loop.step} cannot be saved: {error}. On disk is {last}; training goes on")
        else:
            self._saved_step = loop.step
        self._saved_at = time.monotonic()

    def _refuse(self, why: str) -> None:
        aside = self.path.with_name(REFUSED)
        if self._writes:
            self.path.replace(aside)
        self._say(f"the checkpoint of this run is not used: {why}. It is now {str(aside)!r}; training begins at step 0")
