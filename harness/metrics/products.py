"""Linear algebra that dominates the set metrics.

On the CPU numpy and SciPy take what torch has no routine for: symmetric rank-k updates (half the work of a product) and
the congruence with a triangular factor (a quarter).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from scipy.linalg import lapack
from torch import Tensor


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Hold products and convolutions to IEEE float32: no autocast, no TF32, deterministic cuDNN algorithms."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.autocast(device.type, enabled=False),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def gram(a: Tensor, b: Tensor) -> Tensor:
    """Return a b^T for rows [n,d] and [m,d] of one dtype; pass the same tensor twice for the symmetric update."""
    if a.device.type != "cpu":
        with full_precision(a.device):
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


def product_eigenvalues(a: Tensor, b: Tensor) -> Tensor | None:
    """Return the eigenvalues of A B, ascending, for symmetric float64 [d,d]; None when A is not positive definite.

    With A = L L^T they are those of the symmetric L^T B L.
    """
    if a.device.type != "cpu":
        factor, info = torch.linalg.cholesky_ex(a)
        return None if int(info) else torch.linalg.eigvalsh(factor.T @ b @ factor)
    # a symmetric matrix in rows is the same one in columns, so the transposes spare LAPACK a copy
    lower, info = lapack.dpotrf(a.numpy().T, lower=1)
    if info:
        return None
    congruent, _ = lapack.dsygst(b.numpy().T, lower, itype=2, lower=1)
    return torch.linalg.eigvalsh(torch.from_numpy(congruent), UPLO="L")
