"""LoRA equals peft and loralib on the same weights.

peft adapts the fused qkv with one pair (A, B). The equal model: rank 8 with alpha doubled, A = [A_q; A_v], B block-
diagonal with zero rows for the keys. loralib's MergedLinear has separate pairs for query and value.
"""

import loralib
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from methods.lora import LoRA, LoRAQueryValue
from petl_bench.testing import TASKS, Subject, disturb, tiny_backbone

RANK = 4


def shared_lora(family: str) -> LoRA:
    method = LoRA(tiny_backbone(family), TASKS, LoRA.Config(name="lora", scope="shared", norm="none"), 0)
    with torch.no_grad():
        for layer in method.modules():
            if isinstance(layer, LoRAQueryValue):
                layer.up.normal_(generator=torch.Generator().manual_seed(1))
    return method


@pytest.mark.parametrize("family", ["swin", "vit"])
def test_features_equal_pefts(family: str) -> None:
    method = shared_lora(family)
    peer_backbone = tiny_backbone(family)
    config = LoraConfig(r=2 * RANK, lora_alpha=2 * RANK, target_modules=["qkv"])
    peer = get_peft_model(peer_backbone, config)  # pyright: ignore[reportArgumentType]
    layers = [layer for layer in method.modules() if isinstance(layer, LoRAQueryValue)]
    wrapped = [module for module in peer.modules() if hasattr(module, "lora_A")]
    assert len(layers) == len(wrapped) == 8
    with torch.no_grad():
        for ours, theirs in zip(layers, wrapped, strict=True):
            width = ours.down.shape[-1]
            theirs.lora_A["default"].weight.copy_(ours.down[0].flatten(0, 1))
            up = theirs.lora_B["default"].weight.zero_()
            up[:width, :RANK] = ours.up[0, 0]
            up[2 * width :, RANK:] = ours.up[0, 1]
    images = Subject(LoRA, method.config, family).images()
    shared = method(images).shared
    assert shared is not None
    for ours, theirs, plain in zip(shared, peer(images), tiny_backbone(family)(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
        assert (ours - plain).abs().max() > 1e-2


def test_layer_equals_loralibs_merged_linear() -> None:
    width = 16
    qkv = nn.Linear(width, 3 * width)
    ours = LoRAQueryValue(qkv, RANK, None)
    theirs = loralib.MergedLinear(
        width, 3 * width, r=RANK, lora_alpha=RANK, enable_lora=[True, False, True], merge_weights=False
    )
    with torch.no_grad():
        ours.down.normal_()
        ours.up.normal_()
        theirs.weight.copy_(qkv.weight)
        theirs.bias.copy_(qkv.bias)
        theirs.lora_A.copy_(ours.down[0].flatten(0, 1))
        theirs.lora_B.copy_(ours.up[0].flatten(0, 1))
    x = torch.randn(2, 5, width)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


def test_every_task_has_its_own_update() -> None:
    subject = Subject(LoRA, LoRA.Config(name="lora"), "swin")
    features = disturb(subject.build()).method(subject.images())
    first, second = features.for_task(TASKS[0])[-1], features.for_task(TASKS[1])[-1]
    assert (first - second).abs().max() > 1e-3
