"""Error rates of the claims engine on simulated seeds: coverage of intervals, power, and what the rule decides.

    uv run python benchmarks/claim_rates.py

About a minute. The laws of a paired difference are normal, heavy-tailed, skewed, and of two states (a share of seeds
fails), the last seen in the results of suite 3d_aware.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import bootstrap

from harness.tables import stats
from harness.tables.claims import decide

TRIALS, SLOW_TRIALS = 2000, 400
Sample = np.ndarray
LAWS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Sample]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "Student, 3 degrees": lambda rng, shape: rng.standard_t(3, shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "two states, 0.4 fail": lambda rng, shape: (
        np.where(rng.random(shape) < 0.4, -0.6, 0.4) + 0.05 * rng.standard_normal(shape)
    ),
}


def intervals(sample: list[float]) -> dict[str, tuple[float, float]]:
    """Nominal 0.90 intervals of the mean difference."""
    low, high, _ = stats.sign_flip_interval(sample)
    return {
        "sign flip": (low, high),
        "bootstrap-t": stats.studentised_bootstrap(sample),
        "percentile": stats.bootstrap_interval(sample, level=0.9, resamples=1000),
    }


def bca(sample: list[float]) -> tuple[float, float]:
    """The bias-corrected and accelerated bootstrap interval of SciPy."""
    found = bootstrap((sample,), np.mean, confidence_level=0.9, n_resamples=999, method="BCa", rng=0)
    return found.confidence_interval


def coverage(pairs: int, law: str) -> list[str]:
    """Shares of trials whose interval holds the true mean 0."""
    trials = LAWS[law](np.random.default_rng(pairs), (SLOW_TRIALS, pairs))
    found = [{**intervals(list(row)), "BCa": bca(list(row))} for row in trials]
    return [f"{np.mean([spans[name][0] <= 0 <= spans[name][1] for spans in found]):.2f}" for name in found[0]]


def decisions(pairs: int, effect: float, smallest: float) -> str:
    """Shares of (supported, refuted) in units of the standard deviation."""
    trials = np.random.default_rng(pairs).normal(effect, 1.0, (TRIALS, pairs))
    words = [decide(list(row), smallest)[0] for row in trials]
    return f"{words.count('SUPPORTED') / TRIALS:.2f} / {words.count('REFUTED') / TRIALS:.2f}"


def main() -> None:
    """Print the three tables."""
    print("| pairs | smallest p | level | detectable, in sd | claims that Holm can pass |\n|---|---|---|---|---|")
    for pairs in (5, 6, 7, 8, 10, 15, 20):
        level = math.floor(stats.ALPHA * 2**pairs) / 2**pairs
        effect = stats.minimum_detectable_effect(pairs, 1.0)
        print(f"| {pairs} | 1/{2**pairs} | {level:.3f} | {effect:.2f} | {math.floor(stats.ALPHA * 2**pairs)} |")
    print("\n| pairs | 0 of 0.5 | 0.5 of 0.5 | 1 of 0.5 | 2 of 0.5 | 0 of 2 | 1 of 2 |\n|---|---|---|---|---|---|---|")
    cases = ((0, 0.5), (0.5, 0.5), (1, 0.5), (2, 0.5), (0, 2), (1, 2))
    for pairs in (5, 6, 8, 10):
        print(f"| {pairs} | {' | '.join(decisions(pairs, effect, smallest) for effect, smallest in cases)} |")
    print("\n| pairs | law | sign flip | bootstrap-t | percentile | BCa |\n|---|---|---|---|---|---|")
    for pairs in (5, 6, 8, 10):
        for law in LAWS:
            print(f"| {pairs} | {law} | {' | '.join(coverage(pairs, law))} |")


if __name__ == "__main__":
    main()
