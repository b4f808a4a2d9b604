"""Methods with hyper-networks equal a literal loop over tasks and blocks, with weights generated one by one."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods._hyper import Decomposed, HyperAdapter, Scaled, TaskEmbedding
from methods._layers import Bottleneck
from methods.hyperformer import Hyperformer
from methods.polyhistor import Polyhistor
from methods.polyhistor_lite import PolyhistorLite
from petl_bench.errors import UsageError
from petl_bench.method import Method
from petl_bench.testing import TASKS, Subject, disturb, tiny_backbone

FAMILIES = pytest.mark.parametrize("family", ["swin", "vit"])
METHODS = pytest.mark.parametrize("method", [Hyperformer, Polyhistor, PolyhistorLite])
TOLERANCE = {"rtol": 0, "atol": 1e-5}
KINDS = {"both": ["attn.proj", "mlp"], "mlp": ["mlp"], "attention": ["attn.proj"]}


def disturbed(method: type[Method], family: str, **settings: object) -> tuple[Method, Tensor]:
    subject = Subject(method, method.Config(name=method.name, **settings), family)
    return disturb(subject.build()).method, subject.images()


def branches(method: Method, kinds: list[str]) -> list[tuple[str, int, int, Any]]:
    """Return (path in the trunk, width, number of the block, the adapter) of every adapter."""
    return [
        (site.path, site.width, site.block, site.module[1].branch)
        for site in method.backbone.sites(*kinds)
        if isinstance(site.module, nn.Sequential)
    ]


def require_equal_to_loop(
    method: Method, images: Tensor, family: str, adapters: list[tuple[str, Callable[[Tensor, int], Tensor]]]
) -> None:
    """Compare with one plain backbone per task, whose modules at these paths return h + adapter(h, task)."""
    features = method(images)
    plain = tiny_backbone(family)(images)
    for t, task in enumerate(TASKS):
        backbone = tiny_backbone(family)
        for path, adapter in adapters:
            backbone.trunk.get_submodule(path).register_forward_hook(
                lambda _module, _inputs, h, adapter=adapter, t=t: h + adapter(h, t)
            )
        for ours, theirs, untouched in zip(features.for_task(task), backbone(images), plain, strict=True):
            torch.testing.assert_close(ours, theirs, **TOLERANCE)
            assert (ours - untouched).abs().max() > 1e-2


@FAMILIES
@pytest.mark.parametrize(
    "settings",
    [{}, {"place": "mlp", "networks": "per-block", "rho": 4}, {"place": "attention", "activation": "relu"}],
    ids=["default", "mlp-per-block", "attention-relu"],
)
def test_hyperformer_equals_a_loop_over_tasks_and_blocks(family: str, settings: dict[str, Any]) -> None:
    method, images = disturbed(Hyperformer, family, **settings)
    act = F.relu if settings.get("activation") == "relu" else F.gelu

    def adapter_of(branch: HyperAdapter, width: int, block: int) -> Callable[[Tensor, int], Tensor]:
        z, joint, net = branch.tasks.weight, branch.joint, branch.networks
        inner = max(1, width // settings.get("rho", 32))

        def adapter(h: Tensor, t: int) -> Tensor:
            hidden = torch.relu(joint.hidden.weight @ torch.cat([z[t], joint.blocks[block]]) + joint.hidden.bias)
            v = joint.projected.weight @ hidden + joint.projected.bias
            v = (v - v.mean()) / (v.var(unbiased=False) + 1e-6).sqrt() * joint.norm.weight + joint.norm.bias

            def generated(layer: Any, *shape: int) -> Tensor:
                return (layer.weight @ v + layer.bias).reshape(shape)

            down, b_down = generated(net.down, inner, width), generated(net.down_bias, inner)
            up, b_up = generated(net.up, width, inner), generated(net.up_bias, width)
            u = F.linear(act(F.linear(h, down, b_down)), up, b_up)
            return F.layer_norm(u, (width,), generated(net.scale, width), generated(net.shift, width), 1e-5)

        return adapter

    found = branches(method, KINDS[settings.get("place", "both")])
    assert len(found) == 8 * len(KINDS[settings.get("place", "both")])
    adapters = [(path, adapter_of(branch, width, block)) for path, width, block, branch in found]
    require_equal_to_loop(method, images, family, adapters)


def generated_weight(network: Decomposed | Scaled, v: Tensor, rank: int) -> Tensor:
    """Return W = P(v) Q(v), every entry of a scaling kernel times the whole template."""
    template = network.template if isinstance(network, Scaled) else network
    p, q = (torch.stack([row @ v for row in factor.weight]) for factor in (template.left, template.right))
    product = p.reshape(-1, rank) @ q.reshape(rank, -1)
    if not isinstance(network, Scaled):
        return product
    return torch.cat([torch.cat([entry * product for entry in row], 1) for row in network.kernel])


@FAMILIES
@pytest.mark.parametrize("method_class", [Polyhistor, PolyhistorLite])
@pytest.mark.parametrize("settings", [{}, {"rank": 3, "rho": 2, "activation": "relu"}], ids=["default", "other"])
def test_polyhistor_equals_a_loop_over_tasks_and_blocks(
    family: str, method_class: type[Method], settings: dict[str, Any]
) -> None:
    method, images = disturbed(method_class, family, **settings)
    act = F.relu if settings.get("activation") == "relu" else F.gelu
    rank = method.config.rank
    smallest = min(method.widths)

    def adapter_of(branch: Bottleneck, width: int) -> Callable[[Tensor, int], Tensor]:
        down, up, norm = branch.down, branch.up, branch.norm
        inner = width // settings.get("rho", 4)

        def adapter(h: Tensor, t: int) -> Tensor:
            v = down.embedding.weight[t]
            w_down, w_up = generated_weight(down.network, v, rank), generated_weight(up.network, v, rank)
            assert (w_down.shape, w_up.shape) == ((inner, width), (width, inner))
            normed = F.layer_norm(h, (width,), norm.weight[t], norm.bias[t], 1e-5)
            return F.linear(act(F.linear(normed, w_down, down.bias)), w_up, up.bias)

        return adapter

    found = branches(method, ["mlp"])
    assert len(found) == 8
    if method_class is PolyhistorLite:
        kernels = [branch.down.network.kernel.shape for _, _, _, branch in found]
        assert kernels == [(width // smallest, width // smallest) for _, width, _, _ in found]
    require_equal_to_loop(
        method, images, family, [(path, adapter_of(branch, width)) for path, width, _, branch in found]
    )


def test_a_scaling_kernel_times_a_template_is_the_kronecker_product_of_each_task() -> None:
    scaled = Scaled(Decomposed(5, 3, 4, 2), 2)
    with torch.no_grad():
        for number, parameter in enumerate(scaled.parameters()):
            parameter.normal_(generator=torch.Generator().manual_seed(number))
    v = torch.randn(3, 5, generator=torch.Generator().manual_seed(9))
    templates = scaled.template(v)
    for t in range(3):
        torch.testing.assert_close(scaled(v)[t], torch.kron(scaled.kernel, templates[t]), **TOLERANCE)
    assert (scaled(v)[0] - scaled(v)[1]).abs().max() > 1e-2


@METHODS
@FAMILIES
def test_every_adapter_reads_one_task_embedding_also_in_a_copy(method: type[Method], family: str) -> None:
    original, images = disturbed(method, family)
    replica = copy.deepcopy(original)
    for model in (original, replica):
        embeddings = [module for module in model.modules() if isinstance(module, TaskEmbedding)]
        assert len(embeddings) == 1
        assert sum(name.endswith("embedding.weight") or "tasks.weight" in name for name in model.owned().stacked) == 1
    before = original(images).for_task(TASKS[1])
    with torch.no_grad():
        for parameter in replica.parameters():
            parameter.add_(0.1 * parameter.requires_grad)
    assert all(torch.equal(one, two) for one, two in zip(before, original(images).for_task(TASKS[1]), strict=True))
    assert not torch.equal(before[-1], replica(images).for_task(TASKS[1])[-1])


@METHODS
def test_what_is_generated_cannot_be_merged(method: type[Method]) -> None:
    with pytest.raises(UsageError, match="has no plain form"):
        disturbed(method, "swin")[0].merge()


def test_blocks_of_one_width_share_hyper_networks_and_blocks_of_two_do_not() -> None:
    found = branches(disturbed(Hyperformer, "swin")[0], ["mlp"])
    first = found[0][3].networks
    assert [branch.networks is first for _, _, _, branch in found] == [width == found[0][1] for _, width, _, _ in found]
    separate = branches(disturbed(Hyperformer, "swin", networks="per-block")[0], ["mlp"])
    assert len({id(branch.networks) for _, _, _, branch in separate}) == len(separate)
