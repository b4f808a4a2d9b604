"""DiTASK equals a literal loop over tasks: matrices put together by numpy, flows integrated in steps, timm's blocks.

The oracle knows no streams. It holds a plain timm trunk with the trained norms, tables and so on, whose matrices are
W'(theta). In the last block of a stage a copy of the block takes the matrices of task t behind its attention.
"""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from methods.ditask import DiTASK, WarpedLinear
from petl_bench.errors import UsageError
from petl_bench.testing import TASKS, Subject, disturb, losses, tiny_backbone

Array = np.ndarray[Any, Any]


def subject_of(family: str, **settings: object) -> Subject:
    return Subject(DiTASK, DiTASK.Config.model_validate({"name": "ditask", **settings}), family)


def field(theta: Array, x: Array) -> Array:
    """The sum of theta_k b_k(x): b_k is x up to node k and falls to zero at the next, over its affine coefficients."""
    cells, total = len(theta) + 1, np.zeros_like(x)
    for k, coordinate in enumerate(theta, 1):
        node, following = k / cells, (k + 1) / cells
        rising = np.where(x <= node, x, 0)
        falling = np.where((x > node) & (x < following), k * (following - x), 0)
        total += coordinate * (rising + falling) / np.sqrt(k * 1**2 + k**2 + (k * following) ** 2)
    return total


def moved(theta: Array, x: Array, steps: int = 200) -> Array:
    """Follow the field for unit time by Runge and Kutta's fourth-order rule."""
    nodes = np.linspace(0, 1, len(theta) + 2)
    speeds = field(theta, nodes)
    for _ in range(steps):
        one = np.interp(x, nodes, speeds)
        two = np.interp(x + one / (2 * steps), nodes, speeds)
        three = np.interp(x + two / (2 * steps), nodes, speeds)
        four = np.interp(x + three / steps, nodes, speeds)
        x = x + (one + 2 * two + 2 * three + four) / (6 * steps)
    return x


def warped_matrix(weight: Array, theta: Array, parts: int) -> Tensor:
    stacked = []
    for part in np.split(weight, parts):
        left, sigma, right = np.linalg.svd(part, full_matrices=False)
        index = np.linspace(0, 1, len(sigma))
        stacked.append(left @ np.diag(np.interp(moved(theta, index), index, sigma)) @ right)
    return torch.tensor(np.concatenate(stacked), dtype=torch.float32)


class Oracle:
    def __init__(self, method: DiTASK, family: str) -> None:
        self.method, self.trunk = method, tiny_backbone(family)
        self.layers = {plain(p): m for p, m in method.backbone.trunk.named_modules() if isinstance(m, WarpedLinear)}
        state = {
            plain(name): x.clone() for name, x in method.backbone.trunk.state_dict().items() if ".theta" not in name
        }
        for path in self.layers:
            state[f"{path}.weight"] = self.matrix(path, None)
        self.trunk.trunk.load_state_dict(state)

    def matrix(self, path: str, t: int | None) -> Tensor:
        layer = self.layers[path]
        theta = layer.shared.theta[0] if t is None else layer.per_task.theta[t]  # pyright: ignore[reportOptionalMemberAccess]
        weight = layer.linear.weight.detach().double().numpy()
        return warped_matrix(weight, theta.detach().double().numpy(), 3 if path.endswith("qkv") else 1)

    @torch.no_grad()
    def __call__(self, image: Tensor, t: int) -> list[Tensor]:
        trunk, levels = self.trunk, list[Tensor]()
        x = trunk.stem((image - trunk.mean) / trunk.std)
        for block in trunk.blocks:
            if block.index == 0:
                x = trunk.enter_stage(x, block.stage)
            if block.is_last_in_stage:
                own: Any = copy.deepcopy(trunk.block_module(block))
                for kind in ("attn.proj", "mlp.fc1", "mlp.fc2"):
                    own.get_submodule(kind).weight = nn.Parameter(self.matrix(f"{block.path}.{kind}", t))
                tokens, at = own(x), block.stage
                if self.method.config.taps == "after-merge" and at < 3:
                    at += 1
                    tokens = trunk.enter_stage(tokens, at)
                levels.append(trunk.to_map(tokens, at))
            x = trunk.block_module(block)(x)
        return levels


def plain(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in ("block", "linear"))


def gap(ours: tuple[Tensor, ...], theirs: list[Tensor]) -> float:
    return max((one - two).abs().max().item() for one, two in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    ("family", "settings"),
    [("swin", {}), ("vit", {"identity_start": True}), ("swin", {"taps": "after-merge"})],
    ids=str,
)
def test_features_equal_the_loop_over_tasks(family: str, settings: dict[str, object]) -> None:
    subject = subject_of(family, cells=16, **settings)
    method = disturb(subject.build()).method
    assert isinstance(method, DiTASK)
    with torch.no_grad():  # strong flows, so that one task's features are far from another's
        for name, parameter in method.named_parameters():
            if name.endswith("theta"):
                parameter.mul_(30)
    images = subject.images()
    features, oracle = method(images), Oracle(method, family)
    for t, task in enumerate(TASKS):
        assert gap(features.for_task(task), oracle(images, t)) < 2e-4
        assert gap(features.for_task(task), oracle(images, (t + 1) % len(TASKS))) > 1e-2


@pytest.mark.parametrize("images", [1, 40])
def test_both_forms_of_the_product_are_the_same_map(images: int) -> None:
    """For few tokens the factors are applied, for many the matrix is made; both are W' x + b."""
    method = disturb(subject_of("swin").build()).method
    layer = method.backbone.trunk.layers[1].blocks[0].attn.qkv
    x = torch.randn(images, 8, layer.linear.in_features, generator=torch.Generator().manual_seed(0))
    sigma = layer.shared(layer.spectra)[0]
    weight = torch.cat([u @ s.diag() @ v for u, s, v in zip(layer.left, sigma, layer.right, strict=True)])
    torch.testing.assert_close(layer(x), x @ weight.T + layer.linear.bias, rtol=1e-5, atol=1e-5)


def test_as_released_the_start_is_not_the_pre_trained_function_and_as_a_field_it_is() -> None:
    plain_pyramid = list(tiny_backbone("swin")(subject_of("swin").images()))

    def start(**settings: object) -> float:
        subject = subject_of("swin", **settings)
        return gap(subject.build().method(subject.images()).for_task(TASKS[0]), plain_pyramid)

    assert start() > 1e-3
    assert start(identity_start=True) < 1e-5


def test_singular_vectors_are_computed_once_and_never_in_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subject_of("swin")
    model = subject.build()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("decomposed in a pass")

    monkeypatch.setattr(torch.linalg, "svd", refuse)
    torch.stack(list(losses(model.train()(subject.images())).values())).sum().backward()


@pytest.mark.parametrize("family", ["swin", "vit"])
def test_nothing_reads_the_shared_stream_of_the_last_block(family: str) -> None:
    """What is exempt from the gradient check gets none, and nothing else."""
    subject = subject_of(family)
    model = disturb(subject.build()).train()
    torch.stack(list(losses(model(subject.images())).values())).sum().backward()
    trained = {name: p for name, p in model.method.named_parameters() if p.requires_grad}
    dead = {name for name, p in trained.items() if p.grad is None or not p.grad.any()}
    assert dead == model.method.exempt().keys()
    assert sum(trained[name].numel() for name in dead) == 3 * 63


def test_what_reads_behind_patch_merging_is_refused_without_it() -> None:
    with pytest.raises(UsageError, match="needs linear layers that merge patches"):
        subject_of("vit", taps="after-merge").build()
