"""Greedy k-centre coresets: a subset whose farthest point left out is near (PatchCore, section 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

CANDIDATES = 2048
PICKS = 256
"""Picks between two updates of all distances."""
ROWS = 8192
"""Points whose distances are updated at once."""


def random_projection(points: Tensor, dimensions: int, generator: Generator) -> Tensor:
    """Points [T,C] by a Gaussian matrix to [T,dimensions]: distances are kept in expectation (Johnson-Lindenstrauss).

    As they are where ``dimensions`` is 0 or not below C. ``generator`` lives on the CPU.
    """
    if not 0 < dimensions < points.shape[1]:
        return points
    matrix = torch.randn(points.shape[1], dimensions, generator=generator) / math.sqrt(dimensions)
    return points @ matrix.to(points.device)


def greedy_coreset(points: Tensor, count: int, start: int) -> Tensor:
    """Indices int64 [count] of points [T,d] in the order of the greedy choice, ``start`` first.

    Each further pick is the point farthest from all picks so far (algorithm 1 of the paper), up to rounding of
    distances. The choice is exact although distances to most points are brought up to date only now and then:
    distances only fall, so while the farthest of the ``CANDIDATES`` is beyond the bound that held for all others at
    the last update, no other point can be farther.
    """
    points = points - points.mean(0)  # shorter vectors lose fewer digits below
    squares = points.square().sum(1)
    picked = torch.tensor([start], device=points.device)
    nearest = torch.full((len(points),), torch.inf, dtype=points.dtype, device=points.device)
    parts = [picked]
    _update(nearest, points, squares, picked)
    left = count - 1
    while left > 0:
        top = nearest.topk(min(CANDIDATES + 1, len(points)))
        # With every point a candidate there is nobody else; -2 is below all distances, also of picks.
        others = top.values[-1] if len(points) > CANDIDATES else nearest.new_tensor(-2.0)
        members = top.indices[:CANDIDATES]
        order, reached = _among(points[members], squares[members], top.values[:CANDIDATES], min(PICKS, left))
        valid = max(1, int((reached >= others).sum()))
        picked = members[order[:valid]]
        _update(nearest, points, squares, picked)
        parts.append(picked)
        left -= valid
    return torch.cat(parts)


def _among(points: Tensor, squares: Tensor, nearest: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The first ``steps`` greedy picks among candidates [M,d], and the squared distance each was picked at."""
    pairwise = torch.addmm(squares[:, None] + squares, points, points.T, alpha=-2.0).clamp_min_(0.0)
    pairwise.fill_diagonal_(-1.0)  # below every distance: nothing is picked twice, even among equal points
    nearest = nearest.clone()
    order = torch.empty(steps, dtype=torch.int64, device=points.device)
    reached = torch.empty(steps, dtype=points.dtype, device=points.device)
    for step in range(steps):
        far = nearest.argmax()
        order[step], reached[step] = far, nearest[far]
        torch.minimum(nearest, pairwise[far], out=nearest)
    return order, reached


def _update(nearest: Tensor, points: Tensor, squares: Tensor, picked: Tensor) -> None:
    """Lower the squared distances [T] to the nearest pick in place; picks get -1."""
    centres = points[picked].T.contiguous()
    for first in range(0, len(points), ROWS):
        block = slice(first, first + ROWS)
        reduced = torch.addmm(squares[picked], points[block], centres, alpha=-2.0).amin(1)
        torch.minimum(nearest[block], (reduced + squares[block]).clamp_min_(0.0), out=nearest[block])
    nearest[picked] = -1.0
