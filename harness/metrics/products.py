"""Matrix products that dominate the set metrics.

On the CPU numpy takes them: its BLAS runs a symmetric rank-k update, half the work, for a matrix times its own
transpose, which torch does not.
"""

from __future__ import annotations

import torch
from torch import Tensor


def gram(a: Tensor, b: Tensor) -> Tensor:
    """Return a b^T for rows [n,d] and [m,d] of one dtype; pass the same tensor twice for the symmetric update."""
    if a.device.type != "cpu":
        return a @ b.T
    left = a.numpy()
    right = left if a is b else b.numpy()
    return torch.from_numpy(left @ right.T)


def scatter(rows: Tensor) -> Tensor:
    """Return A^T A for rows [n,d]."""
    if rows.device.type != "cpu":
        return rows.T @ rows
    values = rows.numpy()
    return torch.from_numpy(values.T @ values)
