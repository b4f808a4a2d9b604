"""Merging: what was trained is folded into plain timm trunks that give the same pyramids, or refused."""

import pytest
import torch
from torch import nn

from petl_bench import plugins
from petl_bench.backbones.base import Backbone
from petl_bench.backbones.build import build_backbone
from petl_bench.errors import UsageError
from petl_bench.features import Features
from petl_bench.method import Counts, Method
from petl_bench.testing import TASKS, Subject, disturb, tiny_backbone

SCOPES = [{}, {"scope": "shared"}]
MERGEABLE: dict[str, list[dict[str, object]]] = {
    "decoders": [{}],
    "full": [{}],
    "single": [{}],
    "lora": [
        *SCOPES,
        {"norm": "none"},
        {"scope": "shared", "norm": "none"},
        {"weight": "dora"},
        {"targets": "all", "start": "pissa"},
        {"targets": "all", "weight": "dora", "rank_schedule": "prefix", "scope": "shared"},
    ],
    "mtl-lora": [{}],
    "bitfit": SCOPES,
    "relative-bias": SCOPES,
    "ssf": SCOPES,
}
SWIN_TINY = "swin_tiny_patch4_window7_224"


def subjects(name: str) -> list[Subject]:
    method = plugins.load("methods", name)
    return [
        subject
        for settings in MERGEABLE.get(name, [{}])
        for family in ("swin", "vit")
        if not (subject := Subject(method, method.Config(name=name, **settings), family)).missing()
    ]


def title(subject: Subject) -> str:
    changed = subject.config.model_dump(exclude_defaults=True, exclude={"name"})
    return "-".join([subject.method.name, subject.family, *map(str, changed.values())])


def distance(one: tuple[torch.Tensor, ...], two: tuple[torch.Tensor, ...]) -> float:
    return max((a - b).abs().max().item() for a, b in zip(one, two, strict=True))


def added(merged: Backbone, plain: Backbone) -> set[str]:
    """Return what a merged trunk holds and a plain one does not, which holds nothing else."""
    ours, theirs = merged.trunk.state_dict(), plain.trunk.state_dict()
    assert theirs.keys() <= ours.keys()
    assert all(ours[name].shape == tensor.shape for name, tensor in theirs.items())
    return ours.keys() - theirs.keys()


def numel(backbone: Backbone) -> int:
    return sum(parameter.numel() for parameter in backbone.parameters())


@pytest.mark.parametrize("subject", [s for name in MERGEABLE for s in subjects(name)], ids=title)
def test_merged_trunks_are_plain_and_give_the_same_pyramids(subject: Subject) -> None:
    method = disturb(subject.build()).method
    images, plain = subject.images(), tiny_backbone(subject.family)
    with torch.no_grad():
        features, merged = method(images), method.merge()
        pyramids = {task: backbone(images) for task, backbone in merged.items()}
    assert tuple(merged) == TASKS
    for task, backbone in merged.items():
        assert type(backbone) is type(plain)
        assert all(type(module).__module__.startswith(("timm.", "torch.nn.")) for module in backbone.trunk.modules())
        odd = added(backbone, plain)
        assert all(name.endswith("downsample.reduction.bias") for name in odd)
        assert len(odd) == (3 if (subject.method.name, subject.family) == ("ssf", "swin") else 0)
        assert not any(parameter.requires_grad for parameter in backbone.parameters())
        for ours, theirs in zip(pyramids[task], features.for_task(task), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    if subject.method.name != "decoders":
        assert distance(pyramids[TASKS[0]], plain(images)) > 1e-3
    per_task = getattr(subject.config, "scope", subject.method.scopes[0]) != "shared"
    assert (distance(pyramids[TASKS[0]], pyramids[TASKS[1]]) > 1e-3) == per_task


@pytest.mark.parametrize("name", sorted(set(plugins.listings("methods")) - set(MERGEABLE)))
def test_a_method_without_a_plain_form_says_so(name: str) -> None:
    for subject in subjects(name):
        method = subject.build().method
        with pytest.raises(UsageError, match=rf"method '{name}' cannot be merged into a plain backbone: \w+ at '"):
            method.merge()


class ScalesItsFeatures(Method):
    name = "scales-its-features"

    def adapt(self) -> None:
        self.gain = nn.Parameter(torch.ones(()))

    def expected_parameters(self) -> Counts:
        return Counts(shared=1)

    def forward(self, image: torch.Tensor) -> Features:
        return Features(shared=tuple(self.gain * level for level in self.backbone(image)))


def test_what_is_trained_outside_the_backbone_is_not_lost_in_silence() -> None:
    method = ScalesItsFeatures(tiny_backbone("vit"), TASKS, ScalesItsFeatures.Config(name="scales-its-features"), 0)
    with pytest.raises(UsageError, match="'gain' is trained outside the backbone"):
        method.merge()


def test_merging_leaves_the_method_as_it_was() -> None:
    for name in MERGEABLE:
        method = disturb(subjects(name)[0].build()).method
        before = {key: tensor.clone() for key, tensor in method.state_dict().items()}
        for backbone in method.merge().values():
            with torch.no_grad():
                for parameter in backbone.parameters():
                    parameter.zero_()
        after = method.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(tensor, after[key]) for key, tensor in before.items()), name


@pytest.mark.parametrize("name", MERGEABLE)
def test_parameters_left_after_merging_are_counted_on_meta(name: str) -> None:
    """Nothing is left, but for SSF: the reductions between the stages gain biases of 192, 384 and 768."""
    with torch.device("meta"):
        plain = build_backbone(SWIN_TINY, weights="random", image_size=224, seed=0)
        backbone = build_backbone(SWIN_TINY, weights="random", image_size=224, seed=0)
        method_class = plugins.load("methods", name)
        method: Method = method_class(backbone, TASKS, method_class.Config(name=name), 0)
    merged = method.merge()
    assert all(parameter.is_meta for trunk in merged.values() for parameter in trunk.parameters())
    assert [numel(trunk) - numel(plain) for trunk in merged.values()] == [1344 if name == "ssf" else 0] * len(TASKS)
