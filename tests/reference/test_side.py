"""What trains beside the trunk: the side network equals its equations, and no graph reaches into the trunk."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from petl_bench import plugins
from petl_bench.measure.cost.memory import saved_for_backward
from petl_bench.measure.count.meta import build_on_meta
from petl_bench.method import Method
from petl_bench.testing import TASKS, Subject, disturb, tiny_backbone

BESIDE: list[tuple[str, dict[str, Any]]] = [
    ("side", {}),
    ("vmt", {"reenter": False}),
    ("vmt", {"reenter": False, "task_path": "side", "norm": "block"}),
    ("vmt", {"reenter": False, "extract_at": "bottleneck", "position": "parallel-attn"}),
    ("vmt-lite", {"reenter": False, "sharing": "stage-tied"}),
]


def subject(name: str, family: str, **settings: object) -> Subject:
    cls = plugins.load("methods", name)
    return Subject(cls, cls.Config(name=name, **settings), family)


def literal(method: Any, image: Tensor, t: int) -> list[Tensor]:
    """Return what decoder t reads: the equations for one task on a fresh frozen trunk."""
    plain = tiny_backbone(method.backbone.family)
    act = {"gelu": F.gelu, "relu": F.relu}[method.config.activation]

    def normed(norm: Any, a: Tensor) -> Tensor:
        return F.layer_norm(a, a.shape[-1:], norm.weight[0], norm.bias[0])

    def linear(layer: Any, a: Tensor) -> Tensor:
        return a @ layer.weight[0].T + layer.bias[0]

    x, levels = plain.stem((image - plain.mean) / plain.std), list[Tensor]()
    h = torch.empty(0)
    for block in plain.blocks:
        ladder = method.ladders[block.stage]
        if block.index == 0:
            x = plain.enter_stage(x, block.stage)
            h = torch.zeros(*x.shape[:-1], ladder.up.weight.shape[-1])
        x = plain.block_module(block)(x)
        rung = ladder.rungs[block.index]
        g = 1 if block.index == 0 else 1 / (1 + torch.exp(-rung.gate))
        m = g * linear(rung.enter, normed(rung.outer_norm, x)) + (1 - g) * h
        h = h + linear(rung.second, act(linear(rung.first, normed(rung.inner_norm, m))))
        if block.is_last_in_stage:
            u, read = linear(ladder.up, h), ladder.extract
            levels.append(plain.to_map(x + u + read.alpha[t] * u + read.beta[t], block.stage))
    return levels


@pytest.mark.parametrize("family", ["swin", "vit"])
@pytest.mark.parametrize("settings", [{}, {"rho": 2, "activation": "relu"}], ids=str)
def test_features_equal_the_equations(family: str, settings: dict[str, Any]) -> None:
    case = subject("side", family, **settings)
    method, images = disturb(case.build()).method, case.images()
    with torch.no_grad():
        features = method(images)
        for t, task in enumerate(TASKS):
            ours = features.for_task(task)
            for one, two in zip(ours, literal(method, images, t), strict=True):
                torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
            other = literal(method, images, (t + 1) % len(TASKS))
            assert max((one - two).abs().max() for one, two in zip(ours, other, strict=True)) > 1e-2


def graph(outputs: list[Tensor]) -> Iterator[Any]:
    """Yield every node of the graph behind some tensors."""
    waiting, seen = [x.grad_fn for x in outputs], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            waiting += [before for before, _ in node.next_functions]


def levels_of(method: Method, images: Tensor) -> list[Tensor]:
    return [level for pyramid in method(images).per_task.values() for level in pyramid]


def gradients_inside(method: Method, images: Tensor) -> list[str]:
    """Return the modules of the plain trunk that hand on something with a gradient, while the method trains."""
    plain = {name for name, _ in tiny_backbone(method.backbone.family).trunk.named_modules()}
    seen: list[str] = []

    def note(name: str) -> Any:
        def hook(_: Any, __: Any, output: Any) -> None:
            stream = output[0] if isinstance(output, tuple) else output
            if stream.requires_grad:
                seen.append(name)

        return hook

    for name, module in method.backbone.trunk.named_modules():
        if "branch" not in name.split(".") and ".".join(p for p in name.split(".") if p != "block") in plain:
            module.register_forward_hook(note(name))
    method.train()(images)
    return seen


@pytest.mark.parametrize("family", ["swin", "vit"])
@pytest.mark.parametrize(("name", "settings"), BESIDE, ids=str)
def test_neither_a_parameter_nor_an_activation_of_the_trunk_is_in_the_graph(
    name: str, settings: dict[str, Any], family: str
) -> None:
    case = subject(name, family, **settings)
    method, images = disturb(case.build()).method.train(), case.images()
    frozen = {id(p) for p in method.parameters() if not p.requires_grad}
    leaves = [node.variable for node in graph(levels_of(method, images)) if hasattr(node, "variable")]
    assert leaves
    assert not frozen & {id(leaf) for leaf in leaves}
    if settings.get("norm") != "block":  # else the frozen norm2 stands in front of the adapters as well
        assert gradients_inside(method, images) == []


@pytest.mark.parametrize("family", ["swin", "vit"])
def test_where_u_re_enters_the_trunk_is_in_the_graph(family: str) -> None:
    """The control of the test above."""
    case = subject("vmt", family)
    assert len(gradients_inside(disturb(case.build()).method, case.images())) > 20


def saved_bytes(name: str, **settings: object) -> int:
    asked = {"backbone": {"name": "swin_tiny_patch4_window7_224"}, "dataset": {"image_size": 224}, "tasks": 4}
    method = build_on_meta({**asked, "method": {"name": name, **settings}}).model.to("meta").method.train()
    return saved_for_backward(method, lambda: method(torch.empty(1, 3, 224, 224, device="meta"))).total_bytes


@pytest.mark.parametrize(("name", "settings"), BESIDE[:2], ids=str)
def test_about_a_third_of_the_bytes_of_vmt_are_kept_for_the_backward_pass(name: str, settings: dict[str, Any]) -> None:
    """On Swin-T at 224 px with four tasks: at most 0.35 of what VMT-Adapter keeps."""
    assert saved_bytes(name, **settings) <= 0.35 * saved_bytes("vmt")
