"""MTLoRA equals a literal loop over tasks: dense matrices, timm's own blocks and attention, one task after another.

The oracle knows no streams. It holds two plain timm trunks with the trained norms, tables and so on: in ``frozen`` the
matrices are W, in ``dense`` they are W + s B A, the shared LoRA multiplied out. The shared stream is ``dense``, run by
timm. In the last block of a stage task t adds its own s B_t A_t to products of W.
"""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from methods._stream import LoRALinear, StreamedLinear
from methods.mtlora import MTLoRA
from petl_bench.backbones.base import Backbone, Block
from petl_bench.backbones.vit import VitBackbone
from petl_bench.errors import UsageError
from petl_bench.testing import TASKS, Subject, disturb, losses, tiny_backbone

SCALE = 4.0
SETTINGS = [
    ("swin", {}),
    ("vit", {}),
    ("swin", {"taps": "after-merge"}),
    ("swin", {"taps": "after-merge", "reduction": "lora", "rank": 4, "task_rank": 2}),
]


def subject_of(family: str, **settings: object) -> Subject:
    return Subject(MTLoRA, MTLoRA.Config.model_validate({"name": "mtlora", **settings}), family)


class Oracle:
    """One task's features, computed by the equations.

    ``product_of`` is what the frozen matrices of fc1 and fc2 multiply: the ``shared`` stream as in the released code,
    or the task's ``own``; ``shared_update`` leaves the shared LoRA in a task's products. What is not the default is a
    control.
    """

    def __init__(self, method: MTLoRA, family: str, *, product_of: str = "shared", shared_update: bool = False) -> None:
        self.method, self.product_of = method, product_of
        self.frozen, self.dense = tiny_backbone(family), tiny_backbone(family)
        state: dict[str, Tensor] = {}
        for name, tensor in method.backbone.trunk.state_dict().items():
            if not {"shared", "per_task"} & set(name.split(".")):
                state[plain(name)] = tensor.clone()
        self.frozen.trunk.load_state_dict(state)
        for path, layer in method.backbone.trunk.named_modules():
            if isinstance(layer, LoRALinear):
                state[f"{plain(path)}.weight"] += SCALE * layer.shared.up.weight[0] @ layer.shared.down.weight[0]
        self.dense.trunk.load_state_dict(state)
        self.products = self.dense if shared_update else self.frozen

    def last_block(self, block: Block, x: Tensor, t: int) -> Tensor:
        dense: Any = self.dense.block_module(block)
        frozen: Any = self.products.block_module(block)
        held: Any = self.method.backbone.block_module(block)

        def own(layer: StreamedLinear, z: Tensor) -> Tensor:
            return SCALE * (z @ layer.per_task.down.weight[t].T) @ layer.per_task.up.weight[t].T

        valued = copy.deepcopy(dense)
        valued.attn.proj = nn.Identity()
        attend = valued._attn if self.dense.family == "swin" else valued.attn
        v = attend(dense.norm1(x))
        x_0 = x + dense.attn.proj(v)
        x_t = x + frozen.attn.proj(v) + own(held.block.attn.proj, v)
        h_0 = dense.mlp.fc1(dense.norm2(x_0))
        n = dense.norm2(x_0 if self.product_of == "shared" else x_t)
        h_t = frozen.mlp.fc1(n) + own(held.block.mlp.fc1, dense.norm2(x_t))
        g = F.gelu(h_0 if self.product_of == "shared" else h_t)
        return x_t + frozen.mlp.fc2(g) + own(held.block.mlp.fc2, F.gelu(h_t))

    @torch.no_grad()
    def __call__(self, image: Tensor, t: int) -> list[Tensor]:
        dense, levels = self.dense, []
        x = dense.stem((image - dense.mean) / dense.std)
        for block in dense.blocks:
            if block.index == 0:
                x = dense.enter_stage(x, block.stage)
            if block.is_last_in_stage:
                tokens, at = self.last_block(block, x, t), block.stage
                if self.method.config.taps == "after-merge" and at < 3:
                    at += 1
                    tokens = dense.trunk.layers[at].downsample(tokens)
                levels.append(dense.to_map(tokens, at))
            x = dense.block_module(block)(x)
        return levels


def plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in ("block", "linear"))


def gap(ours: tuple[Tensor, ...], theirs: list[Tensor]) -> float:
    return max((one - two).abs().max().item() for one, two in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("family", "settings"), SETTINGS)
def test_features_equal_the_loop_over_tasks(family: str, settings: dict[str, object]) -> None:
    subject = subject_of(family, **settings)
    method = disturb(subject.build()).method
    assert isinstance(method, MTLoRA)
    images = subject.images()
    features = method(images)
    oracle = Oracle(method, family)
    product_of_its_own = Oracle(method, family, product_of="own")
    with_the_shared_update = Oracle(method, family, shared_update=True)
    for t, task in enumerate(TASKS):
        ours = features.for_task(task)
        assert gap(ours, oracle(images, t)) < 1e-5
        assert gap(ours, oracle(images, (t + 1) % len(TASKS))) > 1e-1
        assert gap(ours, product_of_its_own(images, t)) > 1e-1
        assert gap(ours, with_the_shared_update(images, t)) > 1e-1


@pytest.mark.parametrize("family", ["swin", "vit"])
def test_the_streams_of_the_tasks_do_not_reach_the_trunk(family: str) -> None:
    subject = subject_of(family)
    method = disturb(subject.build()).method
    assert isinstance(method, MTLoRA)
    images = subject.images()
    before, walk = method(images), method.backbone.walk(images)
    with torch.no_grad():
        for parameter in method.owned().stacked.values():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    after = method.backbone.walk(images)
    assert all(torch.equal(one, two) for one, two in zip(walk.streams, after.streams, strict=True))
    dense = Oracle(method, family).dense.walk(images).streams
    # The last one is read by nothing, and lacks the update of its last layer.
    for ours, theirs in zip(after.streams[:-1], dense[:-1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert gap(before.for_task(TASKS[0]), list(method(images).for_task(TASKS[0]))) > 1e-2


@pytest.mark.parametrize("family", ["swin", "vit"])
def test_frozen_products_are_taken_once_for_any_number_of_tasks(family: str) -> None:
    def tokens(tasks: tuple[str, ...]) -> list[int]:
        subject = subject_of(family)
        method, seen = subject.build(tasks).method, []
        for module in method.modules():
            if isinstance(module, nn.Linear):
                module.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].numel()))
        method(subject.images())
        return seen

    assert len(tokens(TASKS)) >= 32
    assert tokens(TASKS) == tokens(TASKS[:1])


def test_after_merge_starts_at_the_frozen_stages_behind_patch_merging() -> None:
    subject = subject_of("swin", taps="after-merge")
    method, trunk = subject.build().method, tiny_backbone("swin")
    images = subject.images()
    streams = trunk.walk(images).streams
    merged = [trunk.enter_stage(tokens, s + 1) for s, tokens in enumerate(streams[:3])] + [streams[3]]
    assert gap(method(images).for_task(TASKS[1]), [trunk.to_map(tokens, 0) for tokens in merged]) < 1e-5
    assert [(stage.channels, stage.stride) for stage in method.feature_info] == [
        (32, 8),
        (64, 16),
        (128, 32),
        (128, 32),
    ]


@pytest.mark.parametrize("family", ["swin", "vit"])
def test_nothing_reads_the_shared_output_of_the_last_block(family: str) -> None:
    """What is exempt from the gradient check gets none, and nothing else: 5 r C of all that is counted."""
    subject = subject_of(family)
    model = disturb(subject.build()).train()
    torch.stack(list(losses(model(subject.images())).values())).sum().backward()
    trained = {name: p for name, p in model.method.named_parameters() if p.requires_grad}
    dead = {name for name, p in trained.items() if p.grad is None or not p.grad.any()}
    assert dead == model.method.exempt().keys()
    width = model.method.backbone.blocks[-1].width
    assert sum(trained[name].numel() for name in dead) == 16 * 5 * width


def test_layer_scale_and_normalised_queries_stay_in_place() -> None:
    """A ViT with both: at the start every stream is the frozen block's."""

    def backbone() -> Backbone:
        torch.manual_seed(0)
        trunk = VisionTransformer(
            img_size=32, patch_size=8, embed_dim=32, depth=8, num_heads=2, init_values=0.5, qk_norm=True
        )
        return VitBackbone(trunk, (0.5,) * 3, (0.25,) * 3).eval()

    images = subject_of("vit").images()
    method = MTLoRA(backbone(), TASKS, subject_of("vit").config, 0)
    assert gap(method(images).for_task(TASKS[2]), list(backbone()(images))) < 1e-5


@pytest.mark.parametrize("settings", [{"taps": "after-merge"}, {"reduction": "lora"}])
def test_what_needs_patch_merging_is_refused_without_it(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="needs linear layers that merge patches"):
        subject_of("vit", **settings).build()
