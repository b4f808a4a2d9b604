"""The embedded backbone: a small Swin, pre-trained on the source domain of ``scenes`` and shipped with the package.

Image size 64, patch 2, window 4, widths 32/64/128/256, depths 1-2-6-2: strides 2/4/8/16.
See ``weights/README.md``, its model card.
"""

from pathlib import Path

from timm.models.swin_transformer import SwinTransformer

from petl_bench.config import ImageSize

WEIGHTS = Path(__file__).parent / "weights" / "embedded.safetensors"
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)


def embedded_trunk(image_size: ImageSize) -> SwinTransformer:
    """Build the network with random weights for images of ``image_size`` pixels."""
    return SwinTransformer(
        img_size=image_size,  # pyright: ignore[reportArgumentType]  # a pair as well
        patch_size=2,
        window_size=4,
        embed_dim=32,
        depths=(1, 2, 6, 2),
        num_heads=(1, 2, 4, 8),
        drop_path_rate=0.0,
        num_classes=0,
    )
