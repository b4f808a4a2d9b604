"""The properties that every method has, one function each; it returns, or fails with what was seen."""

from collections.abc import Callable

import torch
from torch import Tensor

from petl_bench.backbones.base import Backbone
from petl_bench.features import Features
from petl_bench.measure.parameters import count
from petl_bench.testing.subject import TASKS, Subject, alone_from, disturb, losses, steps, tiny_backbone

GRADIENT_FLOOR = 1e-5


def frozen_bits(subject: Subject) -> None:
    """Frozen weights stay bitwise equal after two steps."""
    model = subject.build()
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    for _ in steps(model, subject.images(), 2):
        pass
    now = dict(model.named_parameters())
    moved = [name for name, before in frozen.items() if not torch.equal(before, now[name])]
    assert not moved, f"{len(moved)} frozen parameters moved, first {moved[0]}"


def identity_at_start(subject: Subject) -> None:
    """The features equal the plain backbone's before training, where the method claims it."""
    if not subject.method.identity_at_start:
        return
    plain = tiny_backbone(subject.family)(subject.images())
    features: Features = subject.build().method(subject.images())
    for task in TASKS:
        for level, (ours, theirs) in enumerate(zip(features.for_task(task), plain, strict=True)):
            gap = (ours - theirs).abs().max().item()
            assert gap <= 1e-5, f"task {task}, level {level}: differs from the plain backbone by {gap:.2e}"


def gradients(subject: Subject) -> None:
    """Every trained parameter gets a finite gradient within two steps, none negligible but the exempt ones.

    The decoder has no batch norm: one behind an affine layer absorbs any constant shift of a stage's output, so that
    even the last bias of a fine-tuned trunk would get rounding noise. That is the decoder's doing, not the method's.
    """
    model = subject.build()
    largest: dict[str, float] = {}
    for at in steps(model, subject.images(4), 2):
        for name, parameter in at.method.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, f"{name} gets no gradient"
                assert bool(torch.isfinite(parameter.grad).all()), f"{name} gets a gradient that is not finite"
                largest[name] = max(largest.get(name, 0.0), float(parameter.grad.square().mean().sqrt()))
    if not largest:
        return
    floor = GRADIENT_FLOOR * float(torch.tensor(list(largest.values())).median())
    exempt = subject.method.gradient_exempt
    faint = [n for n, rms in largest.items() if rms <= floor and not any(part in exempt for part in n.split("."))]
    assert not faint, f"{len(faint)} trained parameters get next to no gradient, first {faint[0]}"


def task_isolation(subject: Subject) -> None:
    """The loss of one task sends nothing into what belongs to another."""
    model = disturb(subject.build())
    owned = model.method.owned()
    losses(model(subject.images()))[TASKS[0]].backward()
    for t, task in enumerate(TASKS[1:], start=1):
        held = {**owned.private[task], **dict(model.decoders[task].named_parameters(task))}
        reached = [name for name, p in held.items() if p.grad is not None and bool(p.grad.any())]
        reached += [name for name, p in owned.stacked.items() if p.grad is not None and bool(p.grad[t].any())]
        assert not reached, f"the loss of {TASKS[0]} reaches {reached[0]} of {task}"


def count_is_closed_form(subject: Subject) -> None:
    """The modules hold as many trained parameters as the closed form says, for one task and for three."""
    for tasks in (TASKS[:1], TASKS):
        model = subject.build(tasks)
        expected, seen = model.method.expected_parameters(), count(model)
        held, said = (
            {owner: getattr(ledger, owner) for owner in ("shared", "per_task", "generator")}
            for ledger in (seen, expected)
        )
        assert held == said, f"T = {len(tasks)}: the modules hold {held}, the closed form says {said}"


def state_round_trip(subject: Subject) -> None:
    """What was trained, saved and put into a fresh model gives the same predictions, bit for bit."""
    model = disturb(subject.build(decoder="segformer"))
    for _ in steps(model, subject.images(), 1):
        pass
    fresh = subject.build(decoder="segformer")
    fresh.load_trained_state(model.trained_state())
    _require_equal(model(subject.images()), fresh(subject.images()), 0.0, "after loading")


def same_seed_same_numbers(subject: Subject) -> None:
    """Two builds from one seed train to the same numbers, bit for bit; another seed starts elsewhere."""
    one, two = subject.build(), subject.build()
    for model in (one, two):
        for _ in steps(model, subject.images(), 2):
            pass
    _require_equal(one(subject.images()), two(subject.images()), 0.0, "from one seed")


def task_order(subject: Subject) -> None:
    """Reversing the tasks changes no prediction, at the start and after two steps."""
    one, two = subject.build(TASKS), subject.build(TASKS[::-1])
    _require_equal(one(subject.images()), two(subject.images()), 1e-6, "at the start")
    for model in (one, two):
        for _ in steps(model, subject.images(), 2):
            pass
    _require_equal(one(subject.images()), two(subject.images()), 1e-4, "after two steps")


def number_of_tasks(subject: Subject) -> None:
    """A task among three predicts what it predicts alone with the same weights: forking equals a loop over tasks."""
    model = disturb(subject.build())
    predictions = model(subject.images())
    for t, task in enumerate(TASKS):
        alone = alone_from(subject, model, t)
        _require_equal({task: predictions[task]}, alone(subject.images()), 2e-5, f"{task} alone")


def interleaved(subject: Subject) -> None:
    """Two models that run in turn do not mix, forward and backward."""
    one, two = disturb(subject.build(), 1), disturb(subject.build(), 2)
    images = subject.images()
    before = {task: x.detach().clone() for task, x in one(images).items()}
    mine = one(images)
    other = two(subject.images(3, 1))
    torch.stack(list(losses(other).values())).sum().backward()
    torch.stack(list(losses(mine).values())).sum().backward()
    _require_equal(before, one(images), 0.0, "after another model ran")


def compiles(subject: Subject) -> None:
    """``torch.compile(fullgraph=True)`` captures the model as one graph and gives the same predictions."""
    model = disturb(subject.build())
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        _require_equal(model(subject.images()), compiled(subject.images()), 1e-6, "compiled")


def execution_as_declared(subject: Subject) -> None:
    """The frozen blocks see the batch as often as the declared execution says."""
    model = subject.build()
    declared = model.method.execution
    assert declared in subject.method.executions, f"{declared} is not among the declared {subject.method.executions}"
    seen: list[int] = []
    last = model.method.backbone.blocks[-1].path
    hooks = [
        module.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
        for replica in model.method.modules()
        if isinstance(replica, Backbone)
        for module in [replica.trunk.get_submodule(last)]
    ]
    model(subject.images(2))
    for hook in hooks:
        hook.remove()
    passes = sum(seen) // 2
    expected = len(TASKS) if declared in ("forked", "replicated") else 1
    assert passes == expected, f"{declared}: the last block saw the batch {passes} times for {len(TASKS)} tasks"


CHECKS: dict[str, Callable[[Subject], None]] = {
    check.__name__: check
    for check in (
        frozen_bits,
        identity_at_start,
        gradients,
        task_isolation,
        count_is_closed_form,
        state_round_trip,
        same_seed_same_numbers,
        task_order,
        number_of_tasks,
        interleaved,
        compiles,
        execution_as_declared,
    )
}


def _require_equal(one: dict[str, Tensor], two: dict[str, Tensor], tolerance: float, when: str) -> None:
    assert one.keys() == two.keys(), f"{when}: tasks {sorted(one)} and {sorted(two)}"
    for task, expected in one.items():
        gap = (expected - two[task]).abs().max().item()
        assert gap <= tolerance, f"{when}: predictions of {task} differ by {gap:.2e}, allowed {tolerance:.0e}"
