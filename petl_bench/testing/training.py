"""Properties of training: what moves, what stays, what is saved."""

import torch

from petl_bench.testing.subject import TASKS, Subject, disturb, losses, require_equal, steps, trained
from petl_bench.testing.verdict import NotApplicable

GRADIENT_FLOOR = 1e-5


def frozen_bits(subject: Subject) -> None:
    """Frozen weights stay bitwise equal after two steps."""
    model = subject.build()
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    now = dict(trained(model, subject.images(), 2).named_parameters())
    moved = [name for name, before in frozen.items() if not torch.equal(before, now[name])]
    assert not moved, f"{len(moved)} frozen parameters moved, first {moved[0]}"


def gradients(subject: Subject) -> None:
    """Every trained parameter but the exempt ones gets a finite gradient within three steps, none negligible.

    Three, for two updates in series that both begin at zero: the first factor of the first one moves last of all.

    The decoder has no batch norm: one behind an affine layer absorbs any constant shift of a stage's output, so that
    even the last bias of a fine-tuned trunk would get rounding noise. That is the decoder's doing, not the method's.
    """
    model = subject.build().train()
    exempt = model.method.exempt()
    largest: dict[str, float] = {}
    for at in steps(model, subject.images(4), 3):
        for name, parameter in at.method.named_parameters():
            if not parameter.requires_grad or name in exempt:
                continue
            assert parameter.grad is not None, f"{name} gets no gradient"
            assert bool(torch.isfinite(parameter.grad).all()), f"{name} gets a gradient that is not finite"
            largest[name] = max(largest.get(name, 0.0), float(parameter.grad.square().mean().sqrt()))
    if not largest:
        return
    floor = GRADIENT_FLOOR * float(torch.tensor(list(largest.values())).median())
    faint = [name for name, rms in largest.items() if rms <= floor]
    assert not faint, f"{len(faint)} trained parameters get next to no gradient, first {faint[0]}"


def task_isolation(subject: Subject) -> None:
    """The loss of one task sends nothing into what belongs to another, unless the method says that tasks couple."""
    reached = reached_by_others(subject)
    if reached is not None and subject.build().method.couples_tasks:
        raise NotApplicable("the loss of a task reaches what belongs to others, as the method says")
    assert reached is None, reached


def reached_by_others(subject: Subject) -> str | None:
    """Return what of a task the loss of another one reaches; None if nothing."""
    model = disturb(subject.build())
    owned = model.method.owned()
    losses(model(subject.images()))[TASKS[0]].backward()
    for t, task in enumerate(TASKS[1:], start=1):
        held = {**owned.private[task], **dict(model.decoders[task].named_parameters(task))}
        reached = [name for name, p in held.items() if p.grad is not None and bool(p.grad.any())]
        reached += [name for name, p in owned.stacked.items() if p.grad is not None and bool(p.grad[t].any())]
        if reached:
            return f"the loss of {TASKS[0]} reaches {reached[0]} of {task}"
    return None


def state_round_trip(subject: Subject) -> None:
    """What was trained, saved and put into a fresh model gives the same predictions, bit for bit."""
    model = trained(disturb(subject.build(decoder="segformer")), subject.images(), 1)
    fresh = subject.build(decoder="segformer")
    fresh.load_trained_state(model.trained_state())
    require_equal(model(subject.images()), fresh(subject.images()), 0.0, "after loading")


def same_seed_same_numbers(subject: Subject) -> None:
    """Two builds from one seed train to the same numbers, bit for bit."""
    one, two = (trained(subject.build(), subject.images(), 2) for _ in range(2))
    require_equal(one(subject.images()), two(subject.images()), 0.0, "from one seed")
