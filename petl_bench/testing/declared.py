"""What a method says of itself: the shapes of its features and the numbers of its parameters."""

import torch

from petl_bench.ledger import count
from petl_bench.testing.subject import IMAGE_SIZES, TASKS, Subject

OWNERS = ("shared", "per_task", "generator")


def builds(subject: Subject) -> None:
    """A model can be built for one task and for three, and runs."""
    for tasks in (TASKS[:1], TASKS):
        subject.build(tasks)(subject.images())


def features_as_declared(subject: Subject) -> None:
    """The pyramids have the channels and strides of ``feature_info``, which decoders are built from."""
    method = subject.build().method
    images = subject.images()
    features = method(images)
    size = IMAGE_SIZES[subject.family]
    declared = [(len(images), stage.channels, *[max(1, size // stage.stride)] * 2) for stage in method.feature_info]
    for task in TASKS:
        seen = [tuple(level.shape) for level in features.for_task(task)]
        assert seen == declared, f"the pyramid of {task} has the shapes {seen}, feature_info says {declared}"


def count_is_closed_form(subject: Subject) -> None:
    """The modules hold as many trained parameters as the closed form says, for one task and for three."""
    for tasks in (TASKS[:1], TASKS):
        model = subject.build(tasks)
        expected, seen = model.method.expected_parameters(), count(model)
        held, said = ({owner: getattr(ledger, owner) for owner in OWNERS} for ledger in (seen, expected))
        assert held == said, f"T = {len(tasks)}: the modules hold {held}, the closed form says {said}"


def meta_device(subject: Subject) -> None:
    """Built on the meta device, where nothing is computed, it counts what a real model holds."""
    real = subject.build()
    with torch.device("meta"):
        model = subject.build()
    allocated = [name for name, parameter in model.named_parameters() if not parameter.is_meta]
    assert not allocated, f"{len(allocated)} parameters are real on the meta device, first {allocated[0]}"
    assert count(model) == count(real), f"on the meta device {count(model)}, in a real model {count(real)}"
