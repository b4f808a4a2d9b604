"""Small real networks to check a method on, and what is done to them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from petl_bench import draws
from petl_bench.backbones.base import Backbone
from petl_bench.backbones.swin import SwinBackbone
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


def _tiny_vit(depths: Depths) -> Backbone:
    trunk = VisionTransformer(img_size=IMAGE_SIZES["vit"], patch_size=8, embed_dim=32, depth=sum(depths), num_heads=2)
    return VitBackbone(trunk, MEAN, STD)


IMAGE_SIZES = {"swin": 64, "vit": 32}
TINY: dict[str, Callable[[Depths], Backbone]] = {"swin": _tiny_swin, "vit": _tiny_vit}


def tiny_backbone(family: str, seed: int = 0, depths: Depths = DEEP) -> Backbone:
    """Return a small random backbone of a family: a Swin for images of 64 pixels or a ViT for 32.

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
