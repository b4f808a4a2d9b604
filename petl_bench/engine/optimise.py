"""The optimiser that every method gets: Adam, warm-up and decay of the rates, gradients clipped per owner."""

import math

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import LambdaLR

from petl_bench.config import TrainConfig
from petl_bench.model import MultiTaskModel

POLY_POWER = 0.9


def optimiser(model: MultiTaskModel, config: TrainConfig) -> Adam:
    """Group what is trained by learning rate (backbone, method, decoder) and weight decay (none on vectors)."""
    method, exempt = model.method, model.method.without_decay()
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            kind = "backbone" if method.belongs_to_backbone(name) else "method"
            groups.setdefault((kind, name not in exempt), []).append(parameter)
    for parameter in model.decoders.parameters():
        groups.setdefault(("decoder", parameter.dim() > 1), []).append(parameter)
    kind_of_optimiser = {"adamw": AdamW, "adam": Adam}[config.optimizer]
    return kind_of_optimiser(
        [
            {
                "params": parameters,
                "lr": getattr(config.learning_rate, kind),
                "weight_decay": config.weight_decay if decays else 0.0,
            }
            for (kind, decays), parameters in groups.items()
        ],
        fused=True,
    )


def schedule(optimizer: Adam, config: TrainConfig, *, done: int = 0) -> LambdaLR:
    """Raise the rates linearly for ``warmup_fraction`` of the steps, then lower them to zero as ``schedule`` says.

    ``done`` steps of a resumed training lie behind.
    """
    warmup = round(config.warmup_fraction * config.steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if config.schedule == "poly":
            return (1 - (step - warmup) / max(1, config.steps - warmup)) ** POLY_POWER
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, config.steps - warmup)))

    return LambdaLR(optimizer, lambda step: factor(step + done))


class ClipPerOwner:
    """Clip the shared parameters together, and what belongs to one task (its decoder included) alone.

    Only so is a run of T tasks the same as T runs for what the tasks do not share.
    """

    def __init__(self, model: MultiTaskModel, max_norm: float) -> None:
        owned = model.method.owned()
        self.max_norm = max_norm
        self.shared = [*owned.shared.values(), *owned.generator.values()]
        self.stacked = list(owned.stacked.values())
        self.private = [
            [*owned.private.get(task, {}).values(), *model.decoders[task].parameters()] for task in model.tasks
        ]

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """Scale the gradients in place, unless one is no number; return the sum of the owners' norms as they were."""
        shared = [_norm(self.shared)] if self.shared else []
        stacked = [parameter.grad for parameter in self.stacked if parameter.grad is not None]
        squares = [gradient.flatten(1).square().sum(1) for gradient in stacked]
        per_task = torch.stack(squares).sum(0) if squares else torch.zeros(len(self.private))
        norms = [(square + _norm(own).square()).sqrt() for square, own in zip(per_task, self.private, strict=True)]
        total = torch.stack([*shared, *norms]).sum()
        if not bool(torch.isfinite(total)):
            return total
        for norm in shared:
            nn.utils.clip_grads_with_norm_(self.shared, self.max_norm, norm)
        for own, norm in zip(self.private, norms, strict=True):
            nn.utils.clip_grads_with_norm_(own, self.max_norm, norm)
        factors = (self.max_norm / (torch.stack(norms) + 1e-6)).clamp(max=1.0)
        for gradient in stacked:
            gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))
        return total


def _norm(parameters: list[nn.Parameter]) -> Tensor:
    return nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
