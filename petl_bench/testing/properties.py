"""What is seen of a method where methods may differ: isolated tasks, its start, what a training step goes through.

Seen, not declared: ``number_of_tasks``, ``task_isolation``, ``identity_at_start`` and ``execution_as_declared`` hold
what a method says of itself against the same looks.
"""

from petl_bench.backward import trunk_kept
from petl_bench.testing.invariance import coupling, distance_at_start
from petl_bench.testing.subject import Subject
from petl_bench.testing.training import reached_by_others


def properties(subject: Subject) -> dict[str, str]:
    """Return what is seen of a method on its network, one word or two each."""
    method = subject.build().method
    coupled = coupling(subject) is not None or reached_by_others(subject) is not None
    if method.feature_info != subject.backbone().stages:
        start = "other features"
    else:
        start = "pre-trained" if distance_at_start(subject) is None else "elsewhere"
    return {
        "method": subject.method.name,
        "network": subject.family,
        "tasks": "coupled" if coupled else "isolated",
        "start": start,
        "backward": "through the trunk" if trunk_kept(method, subject.images()) else "beside the trunk",
    }
