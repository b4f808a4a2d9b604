"""What frozen features are worth to the headline tasks: a fixed probe, the same for every set of weights.

First what a matrix can read from single pixels of the features, in closed form, so that no training and no budget
enters: the share of the variance of each component of the normal. Then decoders, trained as in any run.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from petl_bench import plugins
from petl_bench.backbones.build import build_backbone
from petl_bench.data.base import to_batch
from petl_bench.data.scenes import cached_split
from petl_bench.data.transforms import flip
from petl_bench.engine.run import run
from petl_bench.features import Pyramid
from petl_bench.plan import plan
from petl_bench.records.store import Store

ROOMS, TEST_ROOMS, IMAGE_SIZE = 200, 200, 64
TRAIN = {"steps": 500, "batch_size": 8, "learning_rate": {"decoder": 3e-3}}
TASKS = ("semseg", "human_parts", "saliency", "normals")
RIDGE = 1e-5
"""Added to the diagonal of the features' second moments, relative to their mean."""


Trunk = Callable[[Tensor], Pyramid]
"""From images [B, 3, H, W] to feature maps."""


def probe(weights: str) -> dict[str, float]:
    """Return by name what the weights of the embedded network (``pretrained``, ``file:PATH``) are worth.

    ``normal_x``, ``normal_y`` and ``normal_z`` are shares of variance on test rooms that ridge regression from the
    features of 200 rooms, as they are and mirrored, explains; the others primary metrics of trained decoders.
    """
    backbone = build_backbone("embedded", weights=weights, image_size=IMAGE_SIZE, seed=0)
    return {**readout(backbone, ROOMS, TEST_ROOMS), **_decoders(weights)}


@torch.inference_mode()
def readout(backbone: Trunk, rooms: int, test_rooms: int) -> dict[str, float]:
    """Return R squared of each component of the normal, predicted from one pixel of all levels by one matrix."""
    moments, products = torch.zeros(()), torch.zeros(())
    for mirrored in (False, True):
        for features, normals in _pixels(backbone, "train", rooms, mirrored=mirrored):
            moments, products = moments + features.mT @ features, products + features.mT @ normals
    ridge = RIDGE * moments.diagonal().mean() * torch.eye(len(moments), dtype=moments.dtype)
    matrix = torch.linalg.solve(moments + ridge, products)
    tests = list(_pixels(backbone, "test", test_rooms, mirrored=False))
    truth = torch.cat([normals for _, normals in tests])
    wrong = torch.cat([features @ matrix - normals for features, normals in tests])
    shares = 1 - wrong.square().mean(0) / truth.var(0, correction=0)
    return {f"normal_{axis}": float(share) for axis, share in zip("xyz", shares, strict=True)}


def _pixels(backbone: Trunk, split: str, rooms: int, *, mirrored: bool) -> list[tuple[Tensor, Tensor]]:
    """Return features and a one [N, C + 1], and normals [N, 3], of the pixels of the finest level, in parts."""
    arrays = cached_split("target", split, rooms, IMAGE_SIZE)
    found: list[tuple[Tensor, Tensor]] = []
    for start in range(0, rooms, 25):
        some = slice(start, start + 25)
        batch = to_batch(arrays["image"][some], {"normals": arrays["normals"][some]})
        batch = flip(batch, torch.full((len(batch.images),), mirrored))
        pyramid = backbone(batch.images)
        size = pyramid[0].shape[-2:]
        levels = [F.interpolate(level, size, mode="bilinear", align_corners=False) for level in pyramid]
        ones = torch.ones_like(levels[0][:, :1])
        normals = F.adaptive_avg_pool2d(batch.labels["normals"].float(), (size[0], size[1]))
        flat = [x.permute(0, 2, 3, 1).flatten(0, 2).double() for x in (torch.cat([*levels, ones], 1), normals)]
        found.append((flat[0], flat[1]))
    return found


def _decoders(weights: str) -> Mapping[str, float]:
    """Return the primary metrics of decoders trained on few rooms."""
    settings: dict[str, Any] = {
        "method": {"name": "decoders"},
        "tasks": list(TASKS),
        "backbone": {"name": "embedded", "weights": weights},
        "dataset": {"name": "scenes", "train_images": ROOMS, "test_images": TEST_ROOMS},
        "train": TRAIN,
    }
    with TemporaryDirectory() as folder:
        record = run(plan(settings, plugins.vocabulary), Store(Path(folder)), force=False).record
    return {task: record.metrics[task].score for task in TASKS}
