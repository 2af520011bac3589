"""Nearest neighbours by blocks of matrix products."""

from __future__ import annotations

import torch
from torch import Tensor

ROWS = 1024
"""Queries compared at once: the block of distances stays in a CPU's cache."""


def nearest(queries: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Euclidean distances [Q] of queries [Q,C] to their nearest rows of memory [M,C], and the rows' indices [Q].

    The search expands the square; the distance itself is computed from the difference, so that it is exactly 0 for a
    query that is a row and does not depend on the other queries.
    """
    squares = memory.square().sum(1)
    transposed = memory.T.contiguous()
    found = [torch.addmm(squares, part, transposed, alpha=-2.0).argmin(1) for part in queries.split(ROWS)]
    indices = torch.cat(found)
    return torch.linalg.vector_norm(queries - memory[indices], dim=1), indices
