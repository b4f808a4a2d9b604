"""What is timed and counted: one inference pass or one training step, which tells when each of its parts is done."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from petl_bench.config import RunConfig
from petl_bench.errors import UsageError
from petl_bench.features import Features
from petl_bench.measure.cost.border import Border
from petl_bench.measure.cost.laps import Lap
from petl_bench.measure.cost.objective import Objective, objective_of
from petl_bench.measure.count.meta import MetaModel
from petl_bench.model import MultiTaskModel

Phase = Literal["infer", "train"]
Part = Literal["encoder", "decoders", "total"]
Mode = Literal["eager", "compiled", "bf16", "cuda-graphs"]

Step = Callable[[Lap], Any]


@dataclass(frozen=True)
class Setup:
    """What is measured, for every method alike.

    Attributes:
        settings: Sections as typed: backbone, decoder, dataset and what ``--set`` gave; no method, no tasks.
        tasks: Numbers of tasks, ascending.
        phases: ``infer``, ``train``.
        parts: ``encoder``, ``decoders``, ``total``; all come from the same passes.
        mode: How passes are executed: ``eager``, ``compiled``, in ``bf16``, as ``cuda-graphs``.
        batch_size: Images of a pass.
        min_rounds: Rounds of every process.
        min_seconds: Seconds of every process, for each phase.
        threads: Of torch, or None for its default.
        device: Where passes are timed.
    """

    settings: Mapping[str, Any]
    tasks: tuple[int, ...]
    phases: tuple[Phase, ...]
    parts: tuple[Part, ...]
    mode: Mode
    batch_size: int
    min_rounds: int
    min_seconds: float
    threads: int | None
    device: str

    @property
    def decodes(self) -> bool:
        """Whether the decoders run at all."""
        return self.parts != ("encoder",)

    def follows_losses(self, config: RunConfig) -> bool:
        """Whether training steps have losses; a balancer other than fixed decides how often the encoder is passed."""
        return self.decodes or config.train.balancer.name != "fixed"


def materialise(features: Features) -> Features:
    """Return the features with every level in dense memory, per-task ones for every task: the encoder ends here."""
    shared = None if features.shared is None else tuple(map(_dense, features.shared))
    return Features(shared, {task: tuple(map(_dense, pyramid)) for task, pyramid in features.per_task.items()})


def _dense(level: Tensor) -> Tensor:
    is_dense = level.is_contiguous() or level.is_contiguous(memory_format=torch.channels_last)
    return level if is_dense else level.contiguous()


def levels(features: Features) -> list[Tensor]:
    """Return all maps of all pyramids."""
    return [level for pyramid in (features.shared or (), *features.per_task.values()) for level in pyramid]


def inference(model: MultiTaskModel, image: Tensor, mode: Mode = "eager", *, decode: bool = True) -> Step:
    """Return one forward pass in evaluation mode without gradients; ``decode`` is whether the decoders run too."""
    model = model.for_inference()
    encoder, decoders = _made(model.method, mode, image.device), _made(model.decode, mode, image.device)

    def step(lap: Lap) -> Any:
        with torch.no_grad(), _precision(mode, image.device):
            features = materialise(encoder(image))
            lap("encoder")
            if not decode:
                return features
            predictions = decoders(features, image.shape[-2:])
            lap("decoders")
            return predictions

    return step


def training(model: MultiTaskModel, image: Tensor, mode: Mode = "eager", objective: Objective | None = None) -> Step:
    """Return a run's training step without clipping and optimiser, which are every method's.

    The encoder's part is its forward pass, its share of the backward passes, and what the balancer does with its
    gradients; the decoders' part is theirs and the losses. Without an objective the step is the encoder's alone, and
    gradients of one begin at its features.
    """
    model.train()
    encoder, decoders = _made(model.method, mode, image.device), _made(model.decode, mode, image.device)
    trained = model.trained_parameters() + ([] if objective is None else list(objective.balancer.parameters()))

    def encode(lap: Lap) -> Features:
        with _precision(mode, image.device):
            features = materialise(encoder(image))
        lap("encoder")
        return features

    def follow(objective: Objective, lap: Lap) -> None:
        border = Border(lap)

        def losses() -> dict[str, Tensor]:
            features = border.around(encode(lap))
            with _precision(mode, image.device):
                predictions = decoders(features, image.shape[-2:])
            found = border.behind(objective.losses(predictions))
            lap("decoders")
            return found

        objective.balancer.backward(losses(), 1, torch.autograd.backward)
        border.close()
        objective.balancer.after_step(losses)

    def step(lap: Lap) -> None:
        if objective is None:
            ends = [level for level in levels(encode(lap)) if level.requires_grad]
            if ends:
                torch.autograd.backward(ends, list(map(torch.ones_like, ends)))
        else:
            follow(objective, lap)
        for parameter in trained:
            parameter.grad = None
        lap("encoder")

    return step


def step_of(
    setup: Setup, phase: Phase, built: MetaModel, model: MultiTaskModel, image: Tensor, mode: Mode = "eager"
) -> Step:
    """Return what is measured of a phase: of ``model``, which is ``built`` on the device of ``image``.

    Raises:
        UsageError: The mode needs another device, or the balancer cannot work in such a run.
    """
    if phase == "infer":
        return inference(model, image, mode, decode=setup.decodes)
    if not setup.follows_losses(built.config):
        return training(model, image, mode)
    return training(model, image, mode, objective_of(built.config, built.channels, model, image))


def frozen_pass(backbone: nn.Module, image: Tensor, mode: Mode = "eager") -> Step:
    """Return one pass of the plain backbone without gradients: the unit of every relative cost."""
    encoder = _made(backbone.eval(), mode, image.device)

    def step(lap: Lap) -> Features:
        with torch.no_grad(), _precision(mode, image.device):
            features = materialise(Features(shared=encoder(image)))
        lap("encoder")
        return features

    return step


def _precision(mode: Mode, device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16) if mode == "bf16" else nullcontext()


def _made(function: Callable[..., Any], mode: Mode, device: torch.device) -> Callable[..., Any]:
    """Compile what a mode compiles.

    Raises:
        UsageError: The mode needs another device.
    """
    if mode == "cuda-graphs" and device.type != "cuda":
        raise UsageError(f"--mode cuda-graphs needs a CUDA device, not {device.type}.\nType: --mode compiled")
    if mode in ("eager", "bf16"):
        return function
    torch._dynamo.config.recompile_limit = 256  # one program per number of tasks, all from the same lines of code
    return torch.compile(function, dynamic=False, backend="cudagraphs" if mode == "cuda-graphs" else "inductor")
