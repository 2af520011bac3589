"""Structural similarity against scikit-image: ``python benchmarks/metrics_ssim.py`` prints a Markdown table.

One thread. CPU seconds of the process, best of several runs taken in turn, so that a busy machine hits both alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import skimage
import torch
from skimage.metrics import structural_similarity as reference

from harness.metrics.perceptual import structural_similarity

REPEATS = 5
CASES = ((256, 16), (64, 64), (32, 256))  # side, images


def peer(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """scikit-image with the arguments of the paper's definition, image by image: it takes no batches."""
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 0, "data_range": 1.0}
    return np.array([reference(a, b, **how) for a, b in zip(x, y, strict=True)])


def ours(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return structural_similarity(x, y, value_range=(0, 1), reduction="none")


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    print(f"scikit-image {skimage.__version__}, torch {torch.__version__}, one thread, CPU ms per RGB image\n")
    print("| image | dtype | scikit-image | ours | ratio | largest difference |")
    print("|---|---|---|---|---|---|")
    for side, count in CASES:
        rng = np.random.default_rng(0)
        x = rng.random((count, 3, side, side))
        y = np.clip(x + 0.1 * rng.standard_normal(x.shape), 0, 1)
        exact = peer(x, y)
        for dtype in (np.float64, np.float32):
            a, b = x.astype(dtype), y.astype(dtype)
            rounds = [(seconds(lambda: peer(a, b)), seconds(lambda: ours(a, b))) for _ in range(REPEATS)]  # noqa: B023
            theirs, mine = (1e3 * min(column) / count for column in zip(*rounds, strict=True))
            gap = np.abs(ours(a, b) - exact).max()
            print(
                f"| {side} x {side} | {np.dtype(dtype)} | {theirs:.2f} | {mine:.3f} | {theirs / mine:.1f} | {gap:.0e} |"
            )


if __name__ == "__main__":
    main()
