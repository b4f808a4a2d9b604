"""Small real networks to check a method on, and what is done to them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from timm.models.convnext import ConvNeXt
from timm.models.davit import DaVit
from timm.models.eva import Eva
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from petl_bench import draws
from petl_bench.backbones.base import Backbone
from petl_bench.backbones.convnext import ConvNeXtBackbone
from petl_bench.backbones.davit import DaViTBackbone
from petl_bench.backbones.eva import EvaBackbone
from petl_bench.backbones.pvtv2 import PVTv2Backbone
from petl_bench.backbones.resnet import ResNetBackbone
from petl_bench.backbones.swin import SwinBackbone
from petl_bench.backbones.swinv2 import SwinV2Backbone
from petl_bench.backbones.vit import VitBackbone
from petl_bench.config import MethodConfig
from petl_bench.decoders.linear import Linear
from petl_bench.decoders.segformer import SegFormer
from petl_bench.method import Method
from petl_bench.model import MultiTaskModel

TASKS = ("first", "second", "third")
CHANNELS = {"first": 3, "second": 1, "third": 2}
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

Depths = tuple[int, int, int, int]
DEEP: Depths = (2, 2, 2, 2)
SHALLOW: Depths = (2, 1, 1, 1)  # the least with a shifted window and with a block that is not the last of its stage


def _tiny_swin(depths: Depths) -> Backbone:
    trunk = SwinTransformer(
        img_size=IMAGE_SIZES["swin"],
        patch_size=4,
        embed_dim=16,
        depths=depths,
        num_heads=(1, 2, 2, 4),
        window_size=4,
        drop_path_rate=0.0,
    )
    return SwinBackbone(trunk, MEAN, STD)


def _tiny_swinv2(depths: Depths) -> Backbone:
    trunk = SwinTransformerV2(
        img_size=IMAGE_SIZES["swinv2"],
        patch_size=4,
        embed_dim=16,
        depths=depths,
        num_heads=(1, 2, 2, 4),
        window_size=4,
        drop_path_rate=0.0,
    )
    backbone = SwinV2Backbone(trunk, MEAN, STD)
    for site in backbone.sites("norm1", "norm2"):
        nn.init.constant_(site.module.weight, 0.5)  # which begin at zero, so that nothing in the block had a gradient
    return backbone


def _tiny_vit(depths: Depths) -> Backbone:
    trunk = VisionTransformer(img_size=IMAGE_SIZES["vit"], patch_size=8, embed_dim=32, depth=sum(depths), num_heads=2)
    return VitBackbone(trunk, MEAN, STD)


def _tiny_dinov2(depths: Depths) -> Backbone:
    """A ViT as DINOv2's with registers: patches of 14 pixels, layer scale, no position for what is no patch."""
    trunk = VisionTransformer(
        img_size=IMAGE_SIZES["dinov2"],
        patch_size=14,
        embed_dim=32,
        depth=sum(depths),
        num_heads=2,
        init_values=0.1,
        reg_tokens=4,
        no_embed_class=True,
    )
    return VitBackbone(trunk, MEAN, STD)


def _tiny_dinov3(depths: Depths) -> Backbone:
    """An Eva as DINOv3's: rotary positions, registers, layer scale, no bias of queries, keys and values."""
    trunk = Eva(
        img_size=IMAGE_SIZES["dinov3"],
        patch_size=8,
        embed_dim=32,
        depth=sum(depths),
        num_heads=2,
        qkv_bias=False,
        init_values=0.1,
        num_reg_tokens=4,
        use_abs_pos_emb=False,
        use_rot_pos_emb=True,
        rope_type="dinov3",
        rope_rotate_half=True,
    )
    return EvaBackbone(trunk, MEAN, STD)


def _tiny_pvtv2(depths: Depths) -> Backbone:
    trunk = PyramidVisionTransformerV2(
        depths=depths, embed_dims=(16, 32, 48, 64), num_heads=(1, 2, 2, 4), mlp_ratios=(2, 2, 2, 2)
    )
    return PVTv2Backbone(trunk, MEAN, STD)


def _tiny_davit(depths: Depths) -> Backbone:
    trunk = DaVit(
        depths=tuple(-(-depth // 2) for depth in depths),  # each of two blocks
        embed_dims=(16, 32, 48, 64),
        num_heads=(1, 2, 2, 4),
        window_size=4,
        drop_path_rate=0.0,
    )
    return DaViTBackbone(trunk, MEAN, STD)


def _tiny_convnext(depths: Depths) -> Backbone:
    trunk = ConvNeXt(depths=depths, dims=(16, 32, 48, 64), ls_init_value=0.1)
    return ConvNeXtBackbone(trunk, MEAN, STD)


def _tiny_resnet(depths: Depths) -> Backbone:
    block: Any = BasicBlock  # whose annotation in timm is the class's own instance
    trunk = ResNet(block, depths, channels=(16, 32, 48, 64), stem_width=16, zero_init_last=False)
    return ResNetBackbone(trunk, MEAN, STD)


IMAGE_SIZES = {
    "swin": 64,
    "vit": 32,
    "swinv2": 64,
    "dinov2": 56,
    "dinov3": 32,
    "pvtv2": 64,
    "davit": 64,
    "convnext": 64,
    "resnet": 64,
}
TINY: dict[str, Callable[[Depths], Backbone]] = {
    "swin": _tiny_swin,
    "vit": _tiny_vit,
    "swinv2": _tiny_swinv2,
    "dinov2": _tiny_dinov2,
    "dinov3": _tiny_dinov3,
    "pvtv2": _tiny_pvtv2,
    "davit": _tiny_davit,
    "convnext": _tiny_convnext,
    "resnet": _tiny_resnet,
}
"""The kit's networks: one for each family, and two for ViT, whose DINOv2 has registers and patches of 14 pixels."""


def tiny_backbone(family: str, seed: int = 0, depths: Depths = DEEP) -> Backbone:
    """Return a small random backbone of a family, for images of ``IMAGE_SIZES`` pixels.

    Args:
        family: A key of ``TINY``.
        seed: Of the random weights.
        depths: Blocks in every stage.
    """
    with draws.seeded(seed, "tiny", family):
        return TINY[family](depths)


@dataclass(frozen=True)
class Subject:
    """A configured method on a family of backbones, buildable for any tasks and seed."""

    method: type[Method]
    config: MethodConfig
    family: str
    depths: Depths = DEEP

    @property
    def shallow(self) -> "Subject":
        """The same method on the shallowest network, for what takes its time block by block."""
        return replace(self, depths=SHALLOW)

    def backbone(self) -> Backbone:
        """Return the plain backbone that ``build`` adapts."""
        return tiny_backbone(self.family, depths=self.depths)

    def missing(self) -> list[str]:
        """Return what the method needs and the network does not have."""
        return self.backbone().missing(self.method.needs_of(self.config))

    def build(self, tasks: tuple[str, ...] = TASKS, *, seed: int = 0, decoder: str = "linear") -> MultiTaskModel:
        """Build a model with small decoders in evaluation mode."""
        method = self.method(self.backbone(), tasks, self.config, seed)
        decoders = {}
        for task in tasks:
            with draws.seeded(seed, "decoder", task):
                if decoder == "linear":
                    decoders[task] = Linear(method.feature_info, CHANNELS[task], Linear.Config(name="linear"))
                else:
                    config = SegFormer.Config(name="segformer", width=16)
                    decoders[task] = SegFormer(method.feature_info, CHANNELS[task], config)
        return MultiTaskModel(method, decoders).eval()

    def images(self, number: int = 2, seed: int = 0) -> Tensor:
        """Return random images [number, 3, H, W] in 0..1."""
        size = IMAGE_SIZES[self.family]
        return torch.rand(number, 3, size, size, generator=draws.generator(seed, "images"))


def losses(predictions: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Return a squared error per task against targets that belong to the task's name."""
    return {
        task: (x - torch.randn(x.shape, generator=draws.generator(seed, "target", task))).square().mean()
        for task, x in predictions.items()
    }


def steps(model: MultiTaskModel, images: Tensor, number: int) -> Iterator[MultiTaskModel]:
    """Take some steps in the model's own mode, yielding after every backward pass and before the weights move.

    Dropout, where the mode is training, draws the same in every call.
    """
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for step in range(number):
        optimizer.zero_grad()
        with draws.seeded(step, "dropout"):
            torch.stack(list(losses(model(images), step).values())).sum().backward()
        yield model
        optimizer.step()


def trained(model: MultiTaskModel, images: Tensor, number: int) -> MultiTaskModel:
    """Take some steps in training mode and return the model in evaluation mode."""
    for _ in steps(model.train(), images, number):
        pass
    return model.eval()


def disturb(model: MultiTaskModel, seed: int = 0) -> MultiTaskModel:
    """Move every trained parameter away from its start, so that nothing is zero by initialisation."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=draws.generator(seed, "disturb", name))
                parameter.add_(0.05 * noise)
    return model


def alone_from(subject: Subject, model: MultiTaskModel, t: int) -> MultiTaskModel:
    """Return a model of task number ``t`` alone that holds that task's share of the weights of ``model``."""
    task = model.tasks[t]
    alone = subject.build((task,))
    ours, theirs = alone.method.owned(), model.method.owned()
    with torch.no_grad():
        for name, parameter in [*ours.shared.items(), *ours.generator.items()]:
            parameter.copy_({**theirs.shared, **theirs.generator}[name])
        for name, parameter in ours.stacked.items():
            parameter.copy_(theirs.stacked[name][t : t + 1])
        pairs = zip(ours.private[task].values(), theirs.private[task].values(), strict=True)
        for parameter, source in [*pairs, *_pairs(alone.decoders[task], model.decoders[task])]:
            parameter.copy_(source)
    return alone


def _pairs(one: nn.Module, two: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(one.state_dict().values(), two.state_dict().values(), strict=True)


def require_equal(one: dict[str, Tensor], two: dict[str, Tensor], tolerance: float, when: str) -> None:
    """Fail unless two sets of predictions differ by at most ``tolerance``, relative where they exceed one."""
    assert one.keys() == two.keys(), f"{when}: tasks {sorted(one)} and {sorted(two)}"
    for task, expected in one.items():
        gap = (expected - two[task]).abs().max().item()
        allowed = tolerance * max(1.0, expected.abs().max().item())
        assert gap <= allowed, f"{when}: predictions of {task} differ by {gap:.2e}, allowed {allowed:.0e}"
