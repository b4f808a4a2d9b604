"""The conformance kit: what a method promises, checked on small real networks. Public: run it on your own method.

``petl-bench check NAME`` or ``petl-bench check my_module:MyMethod``, or in Python

from petl_bench.testing import check_method
for verdict in check_method(MyMethod):
    print(verdict)
"""

from petl_bench.config import MethodConfig
from petl_bench.method import Method
from petl_bench.testing.checks import CHECKS, SLOW_CHECKS
from petl_bench.testing.subject import TASKS, Subject, alone_from, disturb, losses, steps, tiny_backbone
from petl_bench.testing.verdict import NotApplicable, Verdict, judge_all

__all__ = [
    "CHECKS",
    "SLOW_CHECKS",
    "TASKS",
    "NotApplicable",
    "Subject",
    "Verdict",
    "alone_from",
    "check_method",
    "disturb",
    "losses",
    "steps",
    "tiny_backbone",
]


def check_method(
    method: type[Method], config: MethodConfig | None = None, family: str = "swin", *, slow: bool = False
) -> tuple[Verdict, ...]:
    """Check every property of a method on a small backbone of ``family``.

    Args:
        method: The class; it need not be registered.
        config: Its settings, the defaults if None.
        family: ``swin`` or ``vit``.
        slow: Also run two processes and the default compiler, about a minute more.
    """
    subject = Subject(method, config or method.Config(name=getattr(method, "name", method.__name__)), family)
    checks = {**CHECKS, **SLOW_CHECKS} if slow else CHECKS
    return judge_all(subject, checks)
