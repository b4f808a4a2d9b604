"""SIGTERM and SIGINT end a run where nothing is lost: between two steps of training, else at once."""

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Whether the process was asked to end, and when it may.

    Attributes:
        number: The signal that waits for the end of a step, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._process = os.getpid()
        self._is_deferred = False

    @contextmanager
    def deferred(self) -> Generator[None, None, None]:
        """Let a first signal wait inside the block for ``leave``; a second one ends the process at once."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    def leave(self) -> None:
        """End the process if it was asked to.

        Raises:
            KeyboardInterrupt: By SIGINT.
            SystemExit: By SIGTERM, with the exit status of a process that it ended.
        """
        if self.number is not None:
            raise _ending(self.number)

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        if os.getpid() != self._process:  # a process that loads batches ends with the one that feeds it
            return
        if self._is_deferred and self.number is None:
            self.number = number
            return
        raise _ending(number)


@contextmanager
def stopping() -> Generator[Stop, None, None]:
    """Take both signals inside the block; outside the main thread, which alone can, they stay as they are."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ending(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
