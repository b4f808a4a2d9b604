"""The flow of a piecewise-affine velocity field against its differential equation, and as a diffeomorphism."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import null_space, subspace_angles
from torch import Tensor

from methods._cpab import flow, velocities, warp

GRID = torch.linspace(0, 1, 97, dtype=torch.float64)


def drawn(cells: int, size: float, seed: int, rows: int = 1) -> Tensor:
    return size * torch.randn(rows, cells - 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


CASES = pytest.mark.parametrize(("cells", "size"), [(2, 1.0), (4, 0.5), (4, 5.0), (64, 0.1), (64, 1.0), (64, 8.0)])
SEEDS = pytest.mark.parametrize("seed", range(4))


@CASES
@SEEDS
def test_the_flow_solves_its_differential_equation(cells: int, size: float, seed: int) -> None:
    theta = drawn(cells, size, seed)
    nodes = velocities(theta)
    at = np.linspace(0, 1, cells + 1)
    solved = solve_ivp(
        lambda _, x: np.interp(x, at, nodes[0].numpy()), (0, 1), GRID.numpy(), rtol=1e-9, atol=1e-11, max_step=0.02
    )
    np.testing.assert_allclose(flow(GRID, nodes)[0].numpy(), solved.y[:, -1], rtol=0, atol=2e-6)


@CASES
@SEEDS
def test_the_boundary_is_kept_the_order_is_kept_and_negated_parameters_are_the_inverse(
    cells: int, size: float, seed: int
) -> None:
    theta = drawn(cells, size, seed)
    there = flow(GRID, velocities(theta))[0]
    assert (there[0], there[-1]) == (0, 1)
    assert (there.diff() >= 0).all()
    assert size > 1 or (there.diff() > 0).all()
    assert (there - GRID).abs().max() > 1e-4
    back = flow(there, velocities(-theta))[0]
    # Strong fields crowd points closer than float64 can tell apart, and nothing brings those back.
    torch.testing.assert_close(back, GRID, rtol=0, atol=1e-6 if size <= 1 else 2e-2)


@CASES
@SEEDS
def test_half_the_field_twice_is_the_field_once(cells: int, size: float, seed: int) -> None:
    theta = drawn(cells, size, seed)
    halfway = flow(GRID, velocities(theta / 2))[0]
    torch.testing.assert_close(
        flow(halfway, velocities(theta / 2))[0], flow(GRID, velocities(theta))[0], rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("cells", [2, 4, 64])
def test_the_basis_spans_the_continuous_fields_that_vanish_at_the_boundary(cells: int) -> None:
    """Null space of the constraints on [slope, intercept] of every cell; each field has length one in them."""
    rows = []
    for node in range(1, cells):
        row = np.zeros(2 * cells)
        row[2 * node - 2 : 2 * node + 2] = [node / cells, 1, -node / cells, -1]
        rows.append(row)
    ends = np.zeros((2, 2 * cells))
    ends[0, 1] = ends[1, -2] = ends[1, -1] = 1
    space = null_space(np.array([*rows, *ends]))
    nodes = velocities(torch.eye(cells - 1, dtype=torch.float64)).numpy()
    slope = np.diff(nodes) * cells
    intercept = nodes[:, :-1] - slope * np.arange(cells) / cells
    coefficients = np.stack([slope, intercept], -1).reshape(cells - 1, -1)
    np.testing.assert_allclose(np.linalg.norm(coefficients, axis=1), 1, atol=1e-12)
    assert subspace_angles(coefficients.T, space).max() < 1e-6


@pytest.mark.parametrize("size", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("cells", [4, 16])
def test_gradients_are_those_of_finite_differences(cells: int, size: float) -> None:
    """At a start of zero too, where every branch meets every other one."""
    theta = drawn(cells, size, 1, rows=2).requires_grad_()
    inner = torch.linspace(0.013, 0.987, 11, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda at: flow(inner, velocities(at)), theta, eps=1e-7, atol=1e-5)
    flow(GRID, velocities(theta)).sum().backward()
    assert theta.grad is not None
    assert torch.isfinite(theta.grad).all()


def test_a_sequence_is_read_where_its_indices_flow_to() -> None:
    theta = drawn(8, 0.7, 3, rows=3)
    sequence = torch.stack([torch.linspace(4, 1, 20, dtype=torch.float64) ** 2, torch.arange(20.0).double()])
    warped = warp(sequence, theta)
    places = flow(torch.linspace(0, 1, 20, dtype=torch.float64), velocities(theta)).numpy() * 19
    for row, place in enumerate(places):
        for part in range(2):
            expected = np.interp(place, np.arange(20), sequence[part].numpy())
            np.testing.assert_allclose(warped[row, part].numpy(), expected, atol=1e-9)
    assert (warped.diff(dim=-1)[:, 0] <= 0).all()
    torch.testing.assert_close(warp(sequence, torch.zeros(1, 7))[0], sequence, rtol=0, atol=1e-12)
