"""What my-method promises, and how many parameters it trains."""

import pytest
import torch

from petl_bench.templates.my_method import MyMethod
from petl_bench.testing import Subject, check_method


@pytest.mark.parametrize("family", ["swin", "vit"])
def test_my_method_keeps_every_promise(family: str) -> None:
    """The conformance kit, on a small network of each family."""
    verdicts = check_method(MyMethod, family=family)
    assert all(verdict.passed for verdict in verdicts), "\n".join(map(str, verdicts))


@pytest.mark.parametrize("rank", [1, 4])
def test_my_method_trains_two_matrices_a_block(rank: int) -> None:
    """The equation's count, written out for the small Swin."""
    widths = [16, 16, 32, 32, 64, 64, 128, 128]
    method = Subject(MyMethod, MyMethod.Config(name="my-method", rank=rank), "swin").build().method
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    assert sum(map(torch.numel, trained)) == sum(2 * rank * width for width in widths)
