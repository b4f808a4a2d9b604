"""A loss or a gradient that is no number: which tasks, which step, and where in the model it began."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from petl_bench.model import MultiTaskModel


class NonFiniteError(FloatingPointError):
    """Training cannot go on; the message says where it broke."""


def is_finite(values: Mapping[str, float], *others: float) -> bool:
    """Return whether all losses, and what else is given, are numbers."""
    return all(map(math.isfinite, (*values.values(), *others)))


def describe(
    step: int, losses: Mapping[str, float], model: MultiTaskModel, forward: Callable[[], object]
) -> NonFiniteError:
    """Return the error of a step, after a look at where the numbers end.

    Args:
        step: Which one.
        losses: Unweighted, by task.
        model: As it was in the step: before its weights were moved, with the gradients if there are any.
        forward: Computes the losses of the step's batch once more.
    """
    broken = [task for task, loss in losses.items() if not math.isfinite(loss)]
    named = ", ".join(f"{task} {loss:.4g}" for task, loss in losses.items())
    what = f"The loss of {', '.join(broken)}" if broken else "A gradient"
    return NonFiniteError(f"{what} is not finite at step {step} ({named}). {_where(model, forward)}")


def _where(model: MultiTaskModel, forward: Callable[[], object]) -> str:
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            return f"The weights of `{name}` are not finite: the step before moved them so."
    found = _first_output(model, forward)
    if found:
        return f"First not finite is the output of the module `{found}`."
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            return f"Its outputs are finite; the first gradient that is not is that of `{name}`."
    return "All outputs of its modules are finite: the loss itself is not."


def _first_output(model: MultiTaskModel, forward: Callable[[], object]) -> str:
    """Return the name of the first innermost module whose output is not finite, "" if there is none."""
    found: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if found or not isinstance(output, Tensor) or not output.is_floating_point():
                return
            if not bool(torch.isfinite(output).all()):
                found.append(name)

        return hook

    hooks = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in hooks:
            handle.remove()
    return found[0] if found else ""
