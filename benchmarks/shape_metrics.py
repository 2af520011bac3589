"""Shape metrics against SciPy and Open3D: ``python benchmarks/shape_metrics.py`` prints a Markdown table.

One thread. CPU seconds of the process, best of several runs taken in turn, so that a busy machine hits all alike.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before Open3D reads it

import time
from collections.abc import Callable

import numpy as np
import scipy
import torch
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from harness.metrics.mesh_distances import _open3d
from harness.metrics.shape import chamfer_distance
from harness.metrics.shapesets import pairwise_shape_distance

CASES = ((2_000, 60), (10_000, 20), (100_000, 4))  # points a side, rounds
SHAPES, POINTS = 12, 2_048  # of the matrix of shape distances
Work = Callable[[], float]


def points(n: int, seed: int) -> np.ndarray:
    """Points [n,3] on a bumpy sphere."""
    rng = np.random.default_rng(seed)
    unit = rng.standard_normal((n, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return unit * (1 + 0.1 * np.sin(5 * unit[:, :1] + seed))


def seconds(work: Work) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compared(name: str, works: dict[str, Work], rounds: int) -> None:
    """Print a row for every peer of ``ours``: the median over rounds of its time in ours, so that load cancels."""
    taken = {who: [] for who in works}
    order = list(works)
    for _ in range(rounds):
        for who in order:
            taken[who].append(seconds(works[who]))
        order.append(order.pop(0))  # so that nobody always finds the caches as one peer leaves them
    exact = works["ours"]()
    for who in works:
        if who != "ours":
            gain = np.median(np.divide(taken[who], taken["ours"]))
            best, mine = 1e3 * min(taken[who]), 1e3 * min(taken["ours"])
            gap = abs(works[who]() - exact) / exact
            print(f"| {name} | {who} | {best:.3g} | {mine:.3g} | {gain:.2f} | {gap:.0e} |")


def chamfer_rows(n: int, rounds: int) -> None:
    o3d = _open3d()
    a, b = points(n, 1), points(n, 2)

    def legacy() -> float:
        x, y = (o3d.geometry.PointCloud(o3d.utility.Vector3dVector(side)) for side in (a, b))
        return float(sum(np.mean(p.compute_point_cloud_distance(q)) for p, q in ((x, y), (y, x))))

    def tensors() -> float:
        x, y = (o3d.t.geometry.PointCloud(o3d.core.Tensor(side.astype(np.float32))) for side in (a, b))
        wanted = (o3d.t.geometry.Metric.ChamferDistance,)
        return float(x.compute_metrics(y, wanted, o3d.t.geometry.MetricParameters()).numpy()[0])

    works = {
        "ours": lambda: chamfer_distance(a, b, squared=False, average="sum"),
        "SciPy": lambda: float(cKDTree(b).query(a)[0].mean() + cKDTree(a).query(b)[0].mean()),
        "Open3D": legacy,
        "Open3D, float32 tensors": tensors,
    }
    compared(f"Chamfer, {n:,} points a side", works, rounds)


def matrix_rows() -> None:
    x, y = (np.stack([points(POINTS, k) for k in range(start, start + SHAPES)]) for start in (0, SHAPES))

    def dense() -> float:
        total = 0.0
        for a in x:
            for b in y:
                d = cdist(a, b, "sqeuclidean")
                total += float(d.min(0).mean() + d.min(1).mean())
        return total

    works = {
        "ours": lambda: float(pairwise_shape_distance(x, y, kind="chamfer").sum()),
        "SciPy, distance matrices": dense,
    }
    compared(f"{SHAPES} x {SHAPES} shapes of {POINTS:,} points", works, 2)


def main() -> None:
    torch.set_num_threads(1)
    print(f"SciPy {scipy.__version__}, Open3D {_open3d().__version__}, NumPy {np.__version__}, one thread\n")
    print("| work | peer | peer, CPU ms | ours, CPU ms | gain | values differ by |")
    print("|---|---|---|---|---|---|")
    for n, rounds in CASES:
        chamfer_rows(n, rounds)
    matrix_rows()


if __name__ == "__main__":
    main()
