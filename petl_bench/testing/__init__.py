"""The conformance kit: what a method promises, checked on small real networks. Public: run it on your own method.

from petl_bench.testing import check_method
for verdict in check_method(MyMethod):
    print(verdict)
"""

from dataclasses import dataclass

from petl_bench.config import MethodConfig
from petl_bench.method import Method
from petl_bench.testing.checks import CHECKS
from petl_bench.testing.subject import TASKS, Subject, alone_from, disturb, losses, steps, tiny_backbone

__all__ = [
    "CHECKS",
    "TASKS",
    "Subject",
    "Verdict",
    "alone_from",
    "check_method",
    "disturb",
    "losses",
    "steps",
    "tiny_backbone",
]


@dataclass(frozen=True)
class Verdict:
    """Whether a property holds, and if not, what was seen."""

    check: str
    passed: bool
    detail: str = ""

    def __str__(self) -> str:
        return f"{'ok  ' if self.passed else 'FAIL'} {self.check}{': ' if self.detail else ''}{self.detail}"


def check_method(method: type[Method], config: MethodConfig | None = None, family: str = "swin") -> tuple[Verdict, ...]:
    """Check every property of a method on a small backbone of ``family``.

    Args:
        method: The class; it need not be registered.
        config: Its settings, the defaults if None.
        family: ``swin`` or ``vit``.
    """
    subject = Subject(method, config or method.Config(name=getattr(method, "name", method.__name__)), family)
    verdicts: list[Verdict] = []
    for name, check in CHECKS.items():
        try:
            check(subject)
        except (AssertionError, RuntimeError, ValueError, TypeError) as error:
            verdicts.append(Verdict(name, False, f"{type(error).__name__}: {error}"))
        else:
            verdicts.append(Verdict(name, True))
    return tuple(verdicts)
