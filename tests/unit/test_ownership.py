"""Who owns which parameter goes by name: it survives a copy, a pickle and the meta device."""

import copy
import pickle

import pytest
import torch

from petl_bench import plugins
from petl_bench.ledger import count
from petl_bench.method import Method
from petl_bench.model import MultiTaskModel
from petl_bench.testing import Subject

METHODS = ("single", "full", "lora", "vmt", "hyperformer", "bitfit")


def built(name: str) -> MultiTaskModel:
    method = plugins.load("methods", name)
    return Subject(method, method.Config(name=name), "swin").build()


def owners(method: Method) -> dict[str, object]:
    owned = method.owned()
    private = {task: sorted(own) for task, own in owned.private.items()}
    from_backbone = [name for name, _ in method.named_parameters() if method.belongs_to_backbone(name)]
    return {
        "shared": sorted(owned.shared),
        "generator": sorted(owned.generator),
        "stacked": sorted(owned.stacked),
        "private": private,
        "from_backbone": sorted(from_backbone),
    }


@pytest.mark.parametrize("name", METHODS)
def test_owners_survive_a_copy_and_a_pickle(name: str) -> None:
    model = built(name)
    expected, counts = owners(model.method), count(model)
    assert expected["from_backbone"]
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.deepcopy(copy.deepcopy(model))):
        assert owners(again.method) == expected
        assert count(again) == counts


@pytest.mark.parametrize("name", METHODS)
def test_owners_are_the_same_without_memory(name: str) -> None:
    expected = owners(built(name).method)
    with torch.device("meta"):
        assert owners(built(name).method) == expected
