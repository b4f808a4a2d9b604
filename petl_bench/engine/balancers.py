"""How the losses of several tasks become one training step. Reported losses are never weighted.

A balancer is handed the tasks' losses and does the backward pass. Every one starts from the published loss weights
w_t, so that ``fixed`` is what the others reduce to where tasks are alike.
"""

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from petl_bench import draws
from petl_bench.config import (
    BalancerConfig,
    DynamicWeightAverage,
    FastAdaptive,
    ProjectedGradients,
    RunConfig,
    Uncertainty,
)
from petl_bench.errors import UsageError
from petl_bench.model import MultiTaskModel

Losses = Mapping[str, Tensor]
Backward = Callable[[Tensor], None]
SMALL = 1e-8


class Balancer(nn.Module, ABC):
    """Fixed weights: the backward pass of sum over tasks of w_t L_t.

    Args:
        config: Its settings.
        model: What is trained.
        weights: The published loss weights w_t by task.
        seed: Of the run.
    """

    def __init__(self, config: BalancerConfig, model: MultiTaskModel, weights: Mapping[str, float], seed: int) -> None:
        super().__init__()
        self.config = config
        self.tasks = tuple(weights)
        self.seed = seed
        self.register_buffer("weights", torch.tensor(list(weights.values())))
        self.weights: Tensor

    def stacked(self, losses: Losses) -> Tensor:
        """Return the losses [T] in the order of the tasks."""
        return torch.stack([losses[task] for task in self.tasks])

    def total(self, losses: Losses) -> Tensor:
        """Return the scalar whose gradient is the step."""
        return (self.weights * self.stacked(losses)).sum()

    def backward(self, losses: Losses, step: int, backward: Backward) -> None:
        """Write the gradients of what is trained; ``backward`` is the run's, which knows precision and processes."""
        backward(self.total(losses))

    def after_step(self, again: Callable[[], Losses]) -> None:
        """Learn from what the step did; ``again`` gives the losses of the same batch with the new weights."""

    def learning_rate(self) -> float:
        """Return the rate of the balancer's own parameters, if it has any."""
        return 0.0


class FixedBalancer(Balancer):
    """Fixed weights."""


class UncertaintyBalancer(Balancer):
    """L = sum over tasks of exp(-s_t) L_t / 2 + s_t / 2, s_t = log sigma_t^2 trained.

    Paper: Kendall, Gal, Cipolla, 2018, https://arxiv.org/abs/1705.07115 (equation 7, in its logarithmic form).
    Differs from the paper: s_t starts where exp(-s_t) / 2 = w_t, so that the first step is that of the fixed weights.
    """

    config: Uncertainty

    def __init__(self, config: BalancerConfig, model: MultiTaskModel, weights: Mapping[str, float], seed: int) -> None:
        super().__init__(config, model, weights, seed)
        if not bool((self.weights > 0).all()):
            raise UsageError("train.balancer.name = uncertainty: every loss weight must be above 0, or s has no start.")
        self.log_variance = nn.Parameter(-(2 * self.weights).log())

    def total(self, losses: Losses) -> Tensor:
        """Return the weighted sum and its regulariser."""
        return 0.5 * ((-self.log_variance).exp() * self.stacked(losses) + self.log_variance).sum()

    def learning_rate(self) -> float:
        """Return the rate of s."""
        return self.config.learning_rate


class DynamicWeightBalancer(Balancer):
    """L = sum of lambda_t w_t L_t, lambda = T softmax(r / temperature), r_t = L_t(last period) / L_t(the one before).

    Paper: Liu, Johns, Davison, 2019, https://arxiv.org/abs/1803.10704 (section 3.2, equation 7; temperature 2).
    Differs from the paper: a period is ``period`` steps, where theirs is an epoch; lambda multiplies the published
    weights.
    """

    config: DynamicWeightAverage

    def __init__(self, config: BalancerConfig, model: MultiTaskModel, weights: Mapping[str, float], seed: int) -> None:
        super().__init__(config, model, weights, seed)
        number = len(self.tasks)
        self.register_buffer("means", torch.zeros(2, number))  # of the period before the last, and of the last
        self.register_buffer("sums", torch.zeros(number))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.means: Tensor
        self.sums: Tensor
        self.seen: Tensor

    def lambdas(self) -> Tensor:
        """Return lambda [T]; ones until two periods lie behind."""
        ratios = self.means[1] / self.means[0].clamp(min=SMALL)
        lambdas = len(self.tasks) * (ratios / self.config.temperature).softmax(0)
        return lambdas.where(self.seen >= 2 * self.config.period, 1.0)

    def backward(self, losses: Losses, step: int, backward: Backward) -> None:
        """Weigh by the periods that lie behind, then count this step into its own."""
        stacked = self.stacked(losses)
        backward((self.lambdas() * self.weights * stacked).sum())
        with torch.no_grad():
            sums, self.seen = self.sums + stacked, self.seen + 1
            ends = self.seen % self.config.period == 0
            self.means = torch.stack([self.means[1], sums / self.config.period]).where(ends, self.means)
            self.sums = sums.where(~ends, 0.0)


class ProjectedGradientsBalancer(Balancer):
    """Of what all tasks share, each task's gradient loses what points against another task's; then they are summed.

    Paper: Yu et al., 2020, https://arxiv.org/abs/2001.06782 (algorithm 1: for every task the others in random order).
    Differs from the paper: gradients are those of w_t L_t, and only of shared parameters; what belongs to one task has
    one task's gradient anyway. Where nothing is shared it is one ordinary backward pass.
    """

    config: ProjectedGradients

    def __init__(self, config: BalancerConfig, model: MultiTaskModel, weights: Mapping[str, float], seed: int) -> None:
        super().__init__(config, model, weights, seed)
        owned = model.method.owned()
        self._shared = [*owned.shared.values(), *owned.generator.values()]
        self._own = [*owned.stacked.values(), *(p for own in owned.private.values() for p in own.values())]
        self._own += [parameter for parameter in model.decoders.parameters() if parameter.requires_grad]

    def backward(self, losses: Losses, step: int, backward: Backward) -> None:
        """Take a backward pass a task, project, and write the sums."""
        if not self._shared or len(self.tasks) == 1:
            return super().backward(losses, step, backward)
        parameters = [*self._shared, *self._own]
        flat: list[Tensor] = []
        own: list[Tensor | None] = [None] * len(self._own)
        # Apart and not as parts of one stack, whose gradient would go through every task's decoder as zeros.
        weighted = [weight * losses[task] for weight, task in zip(self.weights, self.tasks, strict=True)]
        for number, loss in enumerate(weighted):
            keep = number < len(weighted) - 1
            gradients = torch.autograd.grad(loss, parameters, retain_graph=keep, allow_unused=True)
            flat.append(flattened(gradients[: len(self._shared)], self._shared))
            own = [_added(a, b) for a, b in zip(own, gradients[len(self._shared) :], strict=True)]
        total = projected(flat, draws.generator(self.seed, "pcgrad", str(step)))
        pieces = total.split([parameter.numel() for parameter in self._shared])
        for parameter, piece in zip(self._shared, pieces, strict=True):
            parameter.grad = piece.view_as(parameter).clone()
        for parameter, gradient in zip(self._own, own, strict=True):
            parameter.grad = gradient
        return None


def projected(gradients: list[Tensor], generator: torch.Generator) -> Tensor:
    """Return the sum of gradients [n] that were each projected off the others they conflict with, in random order."""
    total = torch.zeros_like(gradients[0])
    for i, gradient in enumerate(gradients):
        current = gradient.clone()
        for j in torch.randperm(len(gradients), generator=generator).tolist():
            if j != i:  # without a branch on values, for which an accelerator would have to be waited for
                share = torch.dot(current, gradients[j]) / gradients[j].square().sum().clamp(min=SMALL)
                current -= share.clamp(max=0) * gradients[j]
        total += current
    return total


def flattened(gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> Tensor:
    """Return gradients as one vector, zeros where a parameter has none."""
    pairs = zip(gradients, parameters, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])


def _added(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


class FastAdaptiveBalancer(Balancer):
    """FAMO: c sum over tasks of z_t log L_t, z = softmax(xi), c = 1 / sum of z_t / L_t; xi follows what the step did.

    Paper: Liu, Feng, Stone, Liu, 2023, https://arxiv.org/abs/2306.03792 (algorithm 1).
    Differs from the paper: L_t is w_t times the task's loss; the losses after a step are measured on the same batch, as
    in the authors' code, at the price of one more forward pass. Adam, rate 0.025, decay 0.001 as they set it.
    """

    config: FastAdaptive

    def __init__(self, config: BalancerConfig, model: MultiTaskModel, weights: Mapping[str, float], seed: int) -> None:
        super().__init__(config, model, weights, seed)
        self.register_buffer("logits", torch.zeros(len(self.tasks)))
        self.logits: Tensor
        self._optimizer: torch.optim.Adam | None = None
        self._before = torch.zeros(0)

    def total(self, losses: Losses) -> Tensor:
        """Return the normalised sum of logarithms."""
        weighted = self.weights * self.stacked(losses) + SMALL
        shares = self.logits.softmax(0)
        self._before = weighted.detach()
        scale = 1 / (shares / weighted).sum().detach()
        return scale * (shares * weighted.log()).sum()

    @torch.no_grad()
    def after_step(self, again: Callable[[], Losses]) -> None:
        """Move xi towards the tasks whose losses fell least."""
        after = self.weights * self.stacked(again()) + SMALL
        fall = self._before.log() - after.log()
        shares = self.logits.softmax(0)
        self.optimizer.zero_grad()
        self.logits.grad = shares * (fall - (shares * fall).sum())  # the softmax's Jacobian times the fall
        self.optimizer.step()

    @property
    def optimizer(self) -> torch.optim.Adam:
        """Adam over xi, made on the device where xi lies by then."""
        if self._optimizer is None:
            rate, decay = self.config.learning_rate, self.config.weight_decay
            self._optimizer = torch.optim.Adam([self.logits], lr=rate, weight_decay=decay)
        return self._optimizer

    def get_extra_state(self) -> dict[str, Any]:
        """Return the state of Adam."""
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Put the state of Adam back."""
        self.optimizer.load_state_dict(state)


BALANCERS: Mapping[str, type[Balancer]] = {
    "fixed": FixedBalancer,
    "uncertainty": UncertaintyBalancer,
    "dwa": DynamicWeightBalancer,
    "pcgrad": ProjectedGradientsBalancer,
    "famo": FastAdaptiveBalancer,
}


def make_balancer(
    config: RunConfig, model: MultiTaskModel, weights: Mapping[str, float], processes: int = 1
) -> Balancer:
    """Build the balancer of a run on the device of its model.

    Raises:
        UsageError: It cannot work with the run's precision, number of processes or parts of a batch.
    """
    settings = config.train.balancer
    if settings.name in ("pcgrad", "famo") and (processes > 1 or config.train.precision == "fp16"):
        raise UsageError(
            f"train.balancer.name = {settings.name}: it reads the tasks' gradients or losses itself, which neither "
            "several processes nor fp16 allow.\nType: --set train.balancer.name=fixed   or bf16, in one process"
        )
    if settings.name != "fixed" and config.train.accumulation > 1:
        raise UsageError(
            f"train.balancer.name = {settings.name}: it reads the losses of a whole batch, which train.accumulation = "
            f"{config.train.accumulation} cuts into parts.\nType: --set train.accumulation=1"
        )
    balancer = BALANCERS[settings.name](settings, model, weights, config.seed)
    return balancer.to(next(model.parameters()).device)
