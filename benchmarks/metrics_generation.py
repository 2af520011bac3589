"""Generation metrics against torch-fidelity and clean-fid: CPU seconds side by side in one process, one thread.

Usage: python benchmarks/metrics_generation.py [--repeats 3] [--only fid]. Prints the table of benchmarks/README.md.
Every figure is the smallest of the repeats, in CPU seconds of this process, so that a busy machine changes it little.
"""

from __future__ import annotations

import argparse
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import scipy
import torch
import torch_fidelity
from cleanfid import fid as clean_fid
from threadpoolctl import threadpool_limits
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from harness.metrics.fid import frechet_distance, frechet_distance_from_moments
from harness.metrics.kid import kernel_distance
from harness.metrics.manifold import precision_recall_density_coverage
from harness.metrics.moments import moments

DIM = 2048
Run = Callable[[], float]


@dataclass(frozen=True)
class Case:
    """One piece of work: ours, the peers' way of doing it and the gain over each that is aimed at."""

    name: str
    ours: Run
    peers: dict[str, tuple[Run, float | None]]


def features(n: int, seed: int) -> torch.Tensor:
    """Return rectified correlated rows float32 [n, DIM], of 16 factors and noise: what a pool layer gives."""
    rng, shared = np.random.default_rng(seed), np.random.default_rng(0)
    mix = shared.standard_normal((16, DIM), np.float32)
    rows = rng.standard_normal((n, 16), np.float32) * (1 + 0.1 * seed) @ mix
    rows += rng.standard_normal((n, DIM), np.float32) + 0.1 * seed
    return torch.from_numpy(np.maximum(rows, 0))


def cases() -> Iterator[Case]:
    """Yield the cases one after the other, so that only one holds its input."""
    x, y = features(5000, 1), features(5000, 2)
    wide_x, wide_y = x.double(), y.double()
    ours_x, ours_y = moments(wide_x), moments(wide_y)
    theirs = [fid_features_to_statistics(side) for side in (wide_x, wide_y)]
    parts = [part for side in theirs for part in (side["mu"], side["sigma"])]
    yield Case(
        "fid: Frechet distance from moments of n = 5000, d = 2048",
        lambda: frechet_distance_from_moments(ours_x, ours_y),
        {
            "torch-fidelity": (lambda: tf_distance(*theirs), 2.5),
            "clean-fid": (lambda: float(clean_fid.frechet_distance(*parts)), 10),
        },
    )
    yield Case(
        "moments: of one set, 5000 x 2048, float64",
        lambda: float(moments(wide_x).cov[0, 0]),
        {"NumPy covariance (torch-fidelity)": (lambda: float(fid_features_to_statistics(wide_x)["sigma"][0, 0]), None)},
    )
    few_x, few_y = wide_x[:500].clone(), wide_y[:500].clone()
    yield Case(
        "lowrank: Frechet distance from features, n = 500, d = 2048",
        lambda: frechet_distance(few_x, few_y),
        {
            "torch-fidelity": (
                lambda: tf_distance(fid_features_to_statistics(few_x), fid_features_to_statistics(few_y)),
                40,
            ),
            "clean-fid": (lambda: float(clean_fid.fid_from_feats(few_x.numpy(), few_y.numpy())), None),
        },
    )
    for name, one, two in (("float32", x, y), ("float64", wide_x, wide_y)):
        yield Case(
            f"kid: 100 subsets of 1000, n = 5000, d = 2048, {name}",
            lambda one=one, two=two: kernel_distance(one, two, generator=np.random.RandomState(0))[0],
            {"torch-fidelity": (lambda one=one, two=two: tf_kid(one, two), 4 if name == "float32" else None)},
        )
    yield Case(
        "prdc: precision, recall (ours: density, coverage too), n = m = 5000, d = 2048, k = 3",
        lambda: precision_recall_density_coverage(x, y, k=3).recall,
        {
            "torch-fidelity, full": (lambda: tf_recall(x, y, blocked=False), 1.6),
            "torch-fidelity, blocked": (lambda: tf_recall(x, y, blocked=True), None),
        },
    )


def tf_distance(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> float:
    return fid_statistics_to_metric(one, two, False)["frechet_inception_distance"]


def tf_kid(one: torch.Tensor, two: torch.Tensor) -> float:
    options = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    options |= {"kid_kernel_poly_coef0": 1, "kid_subsets": 100, "kid_subset_size": 1000, "rng_seed": 0}
    return kid_features_to_metric(one, two, verbose=False, **options)["kernel_inception_distance_mean"]


def tf_recall(one: torch.Tensor, two: torch.Tensor, *, blocked: bool) -> float:
    options = {"prc_neighborhood": 3, "prc_batch_size": 1000 if blocked else 10000, "save_cpu_ram": blocked}
    return prc_features_to_metric(one, two, verbose=False, **options)["recall"]


def cpu_seconds(run: Run) -> tuple[float, float]:
    """Return the CPU seconds of one call and its value."""
    start = time.process_time()
    value = run()
    return time.process_time() - start, value


def rows(case: Case, repeats: int) -> Iterator[str]:
    """Yield the table rows of a case; ours and the peers take turns."""
    runs = {"ours": case.ours} | {name: run for name, (run, _) in case.peers.items()}
    best = dict.fromkeys(runs, float("inf"))
    values = dict.fromkeys(runs, float("nan"))
    for turn in range(repeats):
        for name, run in runs.items():
            if turn and best[name] > 5:  # the slow peers once: their repeats differ by a few per cent
                continue
            seconds, values[name] = cpu_seconds(run)
            best[name] = min(best[name], seconds)
    for peer, (_, aim) in case.peers.items():
        gain, apart = best[peer] / best["ours"], abs(values[peer] - values["ours"]) / abs(values["ours"])
        yield (
            f"| {case.name} | {peer} | {best[peer]:.3g} | {best['ours']:.3g} | {gain:.3g} "
            f"| {f'{aim:g}' if aim else ''} | {apart:.0e} |"
        )


def main() -> None:
    """Print versions and the table."""
    parser = argparse.ArgumentParser(description="Benchmark the generation metrics against their peers.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="the first word of a case")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="The `disp` argument")
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        print(
            f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, "
            f"NumPy {np.__version__}, SciPy {scipy.__version__}, torch-fidelity {torch_fidelity.__version__}, "
            f"clean-fid {version('clean-fid')}\n"
        )
        print("| work | peer | peer, CPU s | ours, CPU s | gain | aim | values differ by |")
        print("|---|---|---|---|---|---|---|")
        for case in cases():
            if case.name.startswith(options.only):
                for row in rows(case, options.repeats):
                    print(row, flush=True)


if __name__ == "__main__":
    main()
