"""Continuous piecewise-affine velocity fields on [0, 1], and the diffeomorphisms that they flow into.

Source: Freifeld, Hauberg, Batmanghelich, Fisher, 2017, Transformations based on continuous piecewise-affine velocity
fields, https://doi.org/10.1109/TPAMI.2016.2646685. In one dimension the flow has a closed form, written here.

[0, 1] is divided into N equal cells. A field v is affine in every cell, continuous, and zero at 0 and 1, so that it has
N - 1 free values. Its basis, that of the null space in row-echelon form: field k rises as x up to node k and falls to
zero within the next cell, divided by the length of its 2N affine coefficients. phi(x) is where a point that starts at x
is after unit time, dx/dt = v(x). Where v keeps its sign a point crosses a cell from speed v_0 to v_1 within
    w log(v_1 / v_0) / (v_1 - v_0),   and inside a cell of slope a it moves by   v_0 (e^(a t) - 1) / a   within t,
so that the times at which it would pass the nodes add up, and say in which cell it ends.
"""

import torch
from torch import Tensor

NEVER = 2.0  # a time beyond the unit time that a point moves
STANDSTILL = 1e-9
SMALL = 1e-5  # below it the third term of a series is less than the rounding of float64


def velocities(theta: Tensor) -> Tensor:
    """Return v at the N + 1 nodes [..., N + 1], float64, from its coordinates [..., N - 1]."""
    cells = theta.shape[-1] + 1
    k = torch.arange(1, cells, dtype=torch.float64, device=theta.device)
    coefficients = theta.double() / (k + k**2 + (k * (k + 1) / cells) ** 2).sqrt()
    rising = coefficients.sum(-1, keepdim=True) - coefficients.cumsum(-1) + coefficients  # of the fields k, k + 1, ...
    ends = torch.zeros_like(rising[..., :1])
    return torch.cat([ends, k / cells * rising, ends], -1)


def flow(x: Tensor, nodes: Tensor) -> Tensor:
    """Return phi(x) [..., n] of points x [n] in 0..1 for fields given at their nodes [..., N + 1], all float64."""
    rightward = _rightward(x, nodes)
    leftward = 1 - _rightward(1 - x, -nodes.flip(-1))
    return torch.where(_at(x, nodes) >= 0, rightward, leftward)


def warp(sequence: Tensor, theta: Tensor) -> Tensor:
    """Return sequences [p, n] read at phi(i / (n - 1)) by linear interpolation: [rows, p, n], for theta [rows, d]."""
    last = sequence.shape[-1] - 1
    grid = torch.arange(last + 1, dtype=torch.float64, device=sequence.device) / last
    place = flow(grid, velocities(theta)) * last
    left = place.detach().floor().long().clamp(0, last - 1)
    right_share = (place - left).to(sequence.dtype).unsqueeze(1)  # [rows, 1, n]
    left = left.unsqueeze(1).expand(-1, len(sequence), -1)
    rows = sequence.expand(len(theta), -1, -1)
    here, there = rows.gather(-1, left), rows.gather(-1, left + 1)
    return here + right_share * (there - here)


def _cell(x: Tensor, cells: int) -> Tensor:
    return (x * cells).long().clamp(0, cells - 1)


def _at(x: Tensor, nodes: Tensor) -> Tensor:
    """Return v(x), [..., n]."""
    cells = nodes.shape[-1] - 1
    cell = _cell(x, cells)
    left, right = nodes[..., cell], nodes[..., cell + 1]
    return left + (right - left) * (x * cells - cell)


def _rightward(x: Tensor, nodes: Tensor) -> Tensor:
    """Return phi(x) where v(x) >= 0, and something finite elsewhere."""
    cells = nodes.shape[-1] - 1
    cell, speed = _cell(x, cells), _at(x, nodes)
    slopes = (nodes[..., 1:] - nodes[..., :-1]) * cells
    crossing = _time(1 / cells, nodes[..., :-1], nodes[..., 1:])
    passing = torch.cat([torch.zeros_like(crossing[..., :1]), crossing.cumsum(-1)], -1)  # of the nodes, from node 0 on
    leaving = _time((cell + 1) / cells - x, speed, nodes[..., cell + 1])
    deadline = passing[..., cell + 1] + 1 - leaving
    ends_in = (torch.searchsorted(passing.detach(), deadline.detach(), right=True) - 1).clamp(0, cells - 1)
    leaves = leaving.detach() < 1
    ends_in = torch.where(leaves, ends_in, cell)
    remaining = torch.where(leaves, deadline - passing.gather(-1, ends_in), 1.0)
    start = torch.where(leaves, ends_in.to(x.dtype) / cells, x)
    speed = torch.where(leaves, nodes.gather(-1, ends_in), speed)
    return start + speed * remaining * _expm1_over(slopes.gather(-1, ends_in) * remaining)


def _time(distance: Tensor | float, before: Tensor, behind: Tensor) -> Tensor:
    """Return the time over a distance at a speed that changes with it evenly; NEVER where a point does not arrive."""
    moves = (before > STANDSTILL) & (behind > STANDSTILL)
    # A speed of 1 stands in where the other branch is taken, whose gradient would be zero times infinity.
    before, behind = torch.where(moves, before, 1.0), torch.where(moves, behind, 1.0)
    time = distance / before * _log1p_over((behind - before) / before)
    return torch.where(moves, time.clamp(max=NEVER), NEVER)


def _expm1_over(z: Tensor) -> Tensor:
    small = z.abs() < SMALL
    divisor = torch.where(small, 1.0, z)
    return torch.where(small, 1 + z / 2 + z**2 / 6, torch.expm1(divisor) / divisor)


def _log1p_over(z: Tensor) -> Tensor:
    small = z.abs() < SMALL
    divisor = torch.where(small, 1.0, z)
    return torch.where(small, 1 - z / 2 + z**2 / 3, torch.log1p(divisor) / divisor)
