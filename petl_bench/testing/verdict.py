"""What is said of a property: it holds, it does not, or it does not apply."""

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from petl_bench.testing.subject import Subject

Check = Callable[[Subject], None]
Outcome = Literal["ok", "FAIL", "not applicable"]
BUILDS = "builds"
LONGEST = 300  # characters kept of each end of a long message


class NotApplicable(Exception):  # noqa: N818
    """Raised by a check whose property says nothing about this method; the message says why."""


@dataclass(frozen=True)
class Verdict:
    """Whether a property holds, and what was seen if not.

    Attributes:
        check: Name of the property.
        outcome: ``ok``, ``FAIL`` or ``not applicable``.
        detail: What was seen, or why the property does not apply.
        seconds: How long it took to find out.
    """

    check: str
    outcome: Outcome
    detail: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the property."""
        return self.outcome != "FAIL"

    def __str__(self) -> str:
        return f"{self.outcome:4} {self.check}{': ' if self.detail else ''}{self.detail}"


def judge(name: str, call: Callable[[], object]) -> Verdict:
    """Run one check; whatever a method raises is a verdict."""
    start = time.perf_counter()
    outcome: Outcome = "ok"
    detail = ""
    try:
        call()
    except NotApplicable as reason:
        outcome, detail = "not applicable", str(reason)
    except AssertionError as error:
        outcome, detail = "FAIL", _shortened(error) or _place(error)
    except Exception as error:  # a method is code of its author's: it may raise anything
        outcome, detail = "FAIL", f"{type(error).__name__}: {_shortened(error)} ({_place(error)})"
    return Verdict(name, outcome, detail, time.perf_counter() - start)


def judge_all(
    subject: Subject, checks: Mapping[str, Check], tell: Callable[[str], None] = lambda name: None
) -> tuple[Verdict, ...]:
    """Run checks in their order; nothing more is asked of a method that cannot be built.

    Args:
        subject: The method on its network.
        checks: By name, ``builds`` first.
        tell: Called with the name of each check before it runs.
    """
    verdicts: list[Verdict] = []
    for name, check in checks.items():
        tell(name)
        verdicts.append(judge(name, lambda check=check: check(subject)))
        if name == BUILDS and not verdicts[-1].passed:
            break
    return tuple(verdicts)


def _shortened(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 2 * LONGEST else f"{text[:LONGEST]} ... {text[-LONGEST:]}"


def _place(error: Exception) -> str:
    """Return the deepest place outside installed libraries that the error passed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    return f"{own[-1].filename}:{own[-1].lineno}"
