"""What may not change a prediction: order and number of tasks, the rest of the batch, other models, how it is run."""

from collections.abc import Mapping

import torch

from petl_bench.errors import UsageError
from petl_bench.features import Features, Keyed, Pyramid
from petl_bench.testing.subject import TASKS, Subject, alone_from, disturb, losses, require_equal, steps
from petl_bench.testing.verdict import NotApplicable

SAME_START = 1e-5
HALF_PRECISION = 0.05  # relative distance; bfloat16 has 8 significant bits


def identity_at_start(subject: Subject) -> None:
    """The features equal the plain backbone's before training, or the method says that it starts elsewhere."""
    method = subject.build().method
    plain = subject.backbone()
    if method.feature_info != plain.stages:
        raise NotApplicable("the decoders read other features than the backbone's own")
    distance = distance_at_start(subject)
    if method.identity_at_start:
        assert distance is None, distance
    elif distance is None:
        raise AssertionError("the features equal the plain backbone's, while the method says that it starts elsewhere")
    else:
        raise NotApplicable("the method starts elsewhere, as it says")


def distance_at_start(subject: Subject) -> str | None:
    """Return where the features before training differ from the plain backbone's; None if nowhere."""
    images = subject.images()
    pyramid: Pyramid = subject.backbone()(images)
    try:
        _require_equal_pyramids(
            subject.build().method(images), dict.fromkeys(TASKS, pyramid), SAME_START, "the plain backbone"
        )
    except AssertionError as error:
        return str(error)
    return None


def batch_independence(subject: Subject) -> None:
    """An image's predictions do not depend on the others in the batch, and follow it to another place."""
    model = disturb(subject.build())
    images = subject.images(3)
    together = model(images)
    for number in range(len(images)):
        mine = {task: x[number : number + 1] for task, x in together.items()}
        require_equal(mine, model(images[number : number + 1]), 2e-5, f"image {number} alone")
    order = torch.tensor([2, 0, 1])
    require_equal({task: x[order] for task, x in together.items()}, model(images[order]), 2e-5, "images permuted")


def task_order(subject: Subject) -> None:
    """Reversing the tasks changes no prediction, at the start and after two steps (without dropout)."""
    one, two = subject.build(TASKS), subject.build(TASKS[::-1])
    require_equal(one(subject.images()), two(subject.images()), 1e-6, "tasks reversed, at the start")
    for model in (one, two):
        for _ in steps(model, subject.images(), 2):
            pass
    require_equal(one(subject.images()), two(subject.images()), 1e-4, "tasks reversed, after two steps")


def number_of_tasks(subject: Subject) -> None:
    """A task among three predicts what it predicts alone with the same weights, unless the method says otherwise."""
    coupled = coupling(subject)
    if not subject.build().method.couples_tasks:
        assert coupled is None, coupled
    elif coupled is None:
        raise AssertionError("no task depends on the others, while the method says that they couple")
    else:
        raise NotApplicable("a task depends on which others there are, as the method says")


def coupling(subject: Subject) -> str | None:
    """Return which task predicts something else alone, with the same weights; None if none does."""
    model = disturb(subject.build())
    predictions = model(subject.images())
    for t, task in enumerate(TASKS):
        alone = alone_from(subject, model, t)
        try:
            require_equal({task: predictions[task]}, alone(subject.images()), 2e-5, f"{task} alone")
        except AssertionError as error:
            return str(error)
    return None


def interleaved(subject: Subject) -> None:
    """Two models that run in turn do not mix, forward and backward."""
    one, two = disturb(subject.build(), 1), disturb(subject.build(), 2)
    images = subject.images()
    before = {task: x.detach().clone() for task, x in one(images).items()}
    mine = one(images)
    other = two(subject.images(3, 1))
    torch.stack(list(losses(other).values())).sum().backward()
    torch.stack(list(losses(mine).values())).sum().backward()
    require_equal(before, one(images), 0.0, "after another model ran")


def half_precision(subject: Subject) -> None:
    """Under bfloat16 autocast predictions and gradients are finite, and predictions near the float32 ones."""
    model = disturb(subject.build())
    images = subject.images()
    with torch.no_grad():
        full = model(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(images)
    half = {task: x.float() for task, x in half.items()}
    for task, expected in full.items():
        distance = ((half[task] - expected).norm() / expected.norm()).item()
        assert distance <= HALF_PRECISION, (
            f"predictions of {task} in bfloat16 are {distance:.1%} from float32, allowed {HALF_PRECISION:.0%}"
        )
    torch.stack(list(losses(half).values())).sum().backward()
    odd = [
        name for name, p in model.named_parameters() if p.grad is not None and not bool(torch.isfinite(p.grad).all())
    ]
    assert not odd, f"{odd[0]} gets a gradient that is not finite in bfloat16"


def merged(subject: Subject) -> None:
    """Where it can be merged, every task's plain backbone gives that task's features, and the method is left alone."""
    method = disturb(subject.build()).method
    images = subject.images()
    with torch.no_grad():
        features = method(images)
        try:
            plain = method.merge()
        except UsageError as reason:
            raise NotApplicable(str(reason).partition("\n")[0]) from None
        for task, backbone in plain.items():
            left = [path for path, layer in backbone.named_modules() if isinstance(layer, Keyed)]
            assert not left, (
                f"the backbone of {task} is not plain: {left[0]} is a {type(backbone.get_submodule(left[0]))}"
            )
        _require_equal_pyramids(features, {task: plain[task](images) for task in TASKS}, 1e-4, "its merged backbone")
        again = method(images)
        _require_equal_pyramids(features, {task: again.for_task(task) for task in TASKS}, 0.0, "itself after merging")


def compiles(subject: Subject) -> None:
    """``torch.compile(fullgraph=True)`` captures the model as one graph and gives the same predictions."""
    subject = subject.shallow
    model = disturb(subject.build(TASKS[:2]))
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        require_equal(model(subject.images()), compiled(subject.images()), 1e-6, "compiled")


def _require_equal_pyramids(features: Features, expected: Mapping[str, Pyramid], tolerance: float, name: str) -> None:
    for task, pyramid in expected.items():
        for level, (ours, theirs) in enumerate(zip(features.for_task(task), pyramid, strict=True)):
            gap = (ours - theirs).abs().max().item()
            allowed = tolerance * max(1.0, theirs.abs().max().item())
            assert gap <= allowed, f"task {task}, level {level}: differs from {name} by {gap:.2e}"
