"""Pre-train the embedded backbone on the source domain of ``scenes``.

The student imitates the feature pyramid of an EfficientNet-Lite0 trained on ImageNet, which sees the same picture at
twice the size (so that its strides 4/8/16/32 meet the student's 2/4/8/16), and predicts exact labels of the recipe's
tasks. The teacher looks once at every picture as it is; the student sees it with jittered colours, and parts of it
hidden. No label of semseg, human_parts, saliency or normals is read. Seeded, checkpointed, resumable: a resumed
training is the same one.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from petl_bench import draws, plugins
from petl_bench.backbones.embedded import MEAN, STD, WEIGHTS, embedded_trunk
from petl_bench.backbones.swin import SwinBackbone
from petl_bench.config import TrainConfig, digest
from petl_bench.data.scenes import CONTENT_HASH, cached_split
from petl_bench.decoders.segformer import SegFormer
from petl_bench.engine.checkpoint import RefusedError, read_checkpoint, write_checkpoint
from petl_bench.engine.keep import silent
from petl_bench.engine.optimise import schedule
from petl_bench.errors import UsageError
from petl_bench.files import appearing, cache_folder
from petl_bench.pretrain.lessons import Lesson, lessons
from petl_bench.pretrain.recipe import Recipe
from petl_bench.pretrain.teacher import teach, teacher_file

IMAGE_SIZE = 64
LOG_EVERY = 25
DECODER_WIDTH = 96
VERSION = 1
"""Raised when the same recipe trains other weights."""


@dataclass(frozen=True)
class Pretrained:
    """Where the weights and the log of a training lie."""

    weights: Path
    log: Path
    seconds: float


class Student(nn.Module):
    """The embedded backbone with what only pre-training needs: a map to the teacher's channels, one decoder for all."""

    def __init__(self, teacher_channels: Sequence[int], labels: Iterable[str]) -> None:
        super().__init__()
        self.backbone = SwinBackbone(embedded_trunk(IMAGE_SIZE), MEAN, STD)
        self.backbone.requires_grad_(True)
        stages = self.backbone.stages
        self.imitate = nn.ModuleList(
            nn.Conv2d(stage.channels, channels, 1) for stage, channels in zip(stages, teacher_channels, strict=True)
        )
        channels = plugins.load("datasets", "scenes").tasks
        self.specs = {task: plugins.load("tasks", task)(channels[task]) for task in labels}
        total = sum(spec.channels for spec in self.specs.values())
        self.predict = SegFormer(stages, max(total, 1), SegFormer.Config(name="segformer", width=DECODER_WIDTH))

    def forward(self, images: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the imitated features and the predictions at half the size of the images [B, 3, H, W]."""
        pyramid = self.backbone(images)
        features = [imitate(level) for imitate, level in zip(self.imitate, pyramid, strict=True)]
        if not self.specs:
            return features, {}
        maps = self.predict(pyramid).split([spec.channels for spec in self.specs.values()], dim=1)
        return features, dict(zip(self.specs, maps, strict=True))


def pretrain(
    recipe: Recipe,
    *,
    resume: bool,
    taught: Callable[[int], None],
    tell: Callable[[int, float, float], None],
    say: Callable[[str], None] = silent,
    weights: Path = WEIGHTS,
) -> Pretrained:
    """Train the embedded backbone and write its weights (float16), by default into the package.

    Args:
        recipe: What to train, and how long.
        resume: Go on from the last checkpoint of the same recipe on the same pictures, if there is one.
        taught: Called with the number of images that the teacher has seen since the last call.
        tell: Called after every step with the step, the loss and images a second.
        say: Told in words why a checkpoint is not used.
        weights: The file that is written.

    Raises:
        UsageError: The teacher's package is not installed, or the weights cannot be written.
    """
    teacher_file()
    identity = digest([recipe.model_dump(mode="json"), CONTENT_HASH])
    folder = cache_folder() / "pretrain" / identity[:16]
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, log = folder / "checkpoint.safetensors", folder / "log.jsonl"
    arrays = cached_split("source", "train", recipe.images, IMAGE_SIZE, labels=recipe.labels)
    features = teach(arrays["image"], folder.parent / "teacher" / CONTENT_HASH / str(recipe.images), taught)
    with draws.seeded(recipe.seed, "pretrain"):
        student = Student([level.shape[1] for level in features], recipe.labels)
    optimizer = torch.optim.AdamW(_groups(student, recipe.weight_decay), lr=recipe.learning_rate)
    first, before = 0, 0.0
    if resume and checkpoint.exists():
        first, before = _restore(checkpoint, identity, student, optimizer, say)
    if not first:
        checkpoint.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
    budget = TrainConfig(steps=recipe.steps, batch_size=recipe.batch_size, warmup_fraction=0.05)
    rates = schedule(optimizer, budget, done=first)
    student.train()
    start = time.perf_counter()
    for step, lesson in enumerate(lessons(arrays, features, recipe, first), start=first + 1):
        losses = _losses(student, lesson)
        loss = losses["imitate"] + sum(weight * losses[task] for task, weight in recipe.labels.items())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), recipe.clip_norm)
        optimizer.step()
        rates.step()
        seconds = before + time.perf_counter() - start
        if step % LOG_EVERY == 0:
            values = {name: round(float(value.detach()), 5) for name, value in losses.items()}
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "seconds": round(seconds, 1), **values}) + "\n")
        if step % recipe.checkpoint_every == 0 or step == recipe.steps:
            state = {"student": student.state_dict(), "optimizer": optimizer.state_dict()["state"], "seconds": seconds}
            write_checkpoint(checkpoint, state, fingerprint=identity, engine_version=VERSION, step=step)
        tell(step, float(loss.detach()), (step - first) * recipe.batch_size / (time.perf_counter() - start))
    write_weights(student.backbone.trunk, weights)
    return Pretrained(weights, log, before + time.perf_counter() - start)


def write_weights(trunk: nn.Module, path: Path) -> None:
    """Write a trunk's parameters as float16 safetensors, atomically.

    Raises:
        UsageError: The folder cannot be written.
    """
    half = {name: parameter.detach().half().contiguous() for name, parameter in trunk.state_dict().items()}
    try:
        with appearing(path) as scratch:
            save_file(half, scratch, metadata={"format": "pt"})
    except OSError as error:
        raise UsageError(f"The weights cannot be written to {str(path)!r}: {error}.") from None


def _losses(student: Student, lesson: Lesson) -> dict[str, Tensor]:
    with torch.autocast("cpu", torch.bfloat16):  # 1.8 times as fast where the processor knows the type
        features, predictions = student(lesson.images)
    levels = [F.smooth_l1_loss(own.float(), seen) for own, seen in zip(features, lesson.features, strict=True)]
    size = lesson.images.shape[-2:]
    labelled = {
        task: student.specs[task].loss(_enlarged(predictions[task].float(), size), lesson.labels[task])
        for task in student.specs
    }
    return {"imitate": torch.stack(levels).mean(), **labelled}


def _enlarged(maps: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def _groups(student: nn.Module, decay: float) -> list[dict[str, object]]:
    matrices = [p for n, p in student.named_parameters() if p.dim() > 1 and "relative_position" not in n]
    held = {id(parameter) for parameter in matrices}
    vectors = [parameter for parameter in student.parameters() if id(parameter) not in held]
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


def _restore(
    path: Path, identity: str, student: nn.Module, optimizer: torch.optim.Optimizer, say: Callable[[str], None]
) -> tuple[int, float]:
    """Go on from a checkpoint, if it is whole and of this training; return its step and seconds, or zeros."""
    try:
        header, state = read_checkpoint(path, fingerprint=identity, engine_version=VERSION)
    except RefusedError as error:
        say(f"the checkpoint {str(path)!r} is not used: {error}. The training begins at step 0")
        return 0, 0.0
    student.load_state_dict(state["student"])
    optimizer.load_state_dict({"state": state["optimizer"], "param_groups": optimizer.state_dict()["param_groups"]})
    return header.step, state["seconds"]
