"""Training steps per CPU second with and without the harness's levers: `uv run python benchmarks/training_speed.py`.

Arms of one method take turns, one thread, process CPU time; the best round of each counts, because other processes on
the machine only ever slow a round down. The table of the README is this script's output.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402

from tests.gan_bench import build, images  # noqa: E402

Arm = tuple[str, str, dict[str, Any]]

# Full-size images throughout, so that every step costs the same.
_PIGAN = {"resolutions": [32], "stage_shares": [1.0], "stage_batches": [8], "stage_splits": [1]}
_PIGAN |= {"stage_g_lr": [5e-4], "stage_d_lr": [8e-4]}
_PUBLISHED = _PIGAN | {"reuse_fakes": False, "r1_every": 1, "r1_share": 1.0}
_EVERYWHERE = _PUBLISHED | {"bound": "none", "shared_jitter": False}

# All rays from the first step on, so that every step costs the same.
_TRIPLANE: dict[str, Any] = {"rays": [32], "ray_shares": [1.0]}
_UNSHARED = _TRIPLANE | {"reuse_fakes": False, "d_passes": 2}
_PLAIN_TRIPLANE = _UNSHARED | {"bound": "none", "shared_jitter": False, "channels_last": False}
_PLAIN_TRIPLANE |= {"r1_every": 1, "r1_share": 1.0}

ARMS: dict[str, list[Arm]] = {
    "hologan": [
        ("plain fp32", "fp32", {"fast": False}),
        ("plain, bf16 autocast", "bf16", {"fast": False}),
        ("restructured, fp32", "fp32", {"fast": True}),
        ("restructured, bf16", "bf16", {"fast": True}),
    ],
    "pigan": [
        ("plain fp32: every point, fresh fakes for D, R1 every step", "fp32", _EVERYWHERE),
        ("the same, bf16", "bf16", _EVERYWHERE),
        ("points outside the ball left out, fp32", "fp32", _PUBLISHED),
        ("and fakes shared, R1 every 8th step on half a batch, fp32", "fp32", _PIGAN),
        ("all levers, bf16", "bf16", _PIGAN),
        ("all levers, bf16, 16x16 phase", "bf16", {"stage_shares": [0.99, 0.01]}),
    ],
    "triplane": [
        ("plain fp32: every point, R1 every step on all reals", "fp32", _PLAIN_TRIPLANE),
        ("points outside the ball left out, R1 every 12th step on half a batch, channels-last", "fp32", _UNSHARED),
        ("the same, bf16", "bf16", _UNSHARED),
        ("and fakes of G's step shared", "bf16", _UNSHARED | {"reuse_fakes": True}),
        ("and fakes and reals judged in one pass", "bf16", _TRIPLANE),
        ("all levers, 16x16 rays of the first half", "bf16", {"rays": [16, 32], "ray_shares": [0.99, 0.01]}),
    ],
    "dcgan": [
        ("plain fp32", "fp32", {"fast": False}),
        ("restructured, bf16", "bf16", {"fast": True}),
    ],
}
"""Method -> (label, precision, overrides of the micro preset); the first arm is what the others are compared with."""


def seconds_per_step(arms: list[tuple[Any, int]], rounds: int, steps: int) -> list[float]:
    """Best CPU seconds per step of each (method, batch size) over ``rounds`` alternating rounds of ``steps`` steps."""
    best = [float("inf")] * len(arms)
    for round_ in range(rounds + 1):
        for index, (method, batch_size) in enumerate(arms):
            batch = {**images(batch_size), "pose": torch.zeros(batch_size, 3)}
            start = time.process_time()
            for step in range(steps):
                method.train_step(batch, round_ * steps + step)
                for average in method.averages:
                    average.update(step)
            if round_:  # the first round warms up
                best[index] = min(best[index], (time.process_time() - start) / steps)
    return best


def main() -> None:
    """Print one Markdown table per method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=list(ARMS), help=f"of {', '.join(ARMS)}")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.methods:
        methods = [build(name, "micro", overrides, precision=precision) for _, precision, overrides in ARMS[name]]
        seconds = seconds_per_step([(m, m.context.batch_size) for m in methods], options.rounds, options.steps)
        print(f"| {name} micro, batch {methods[0].context.batch_size} | ms per step | steps per CPU second | gain |")
        print("|---|---|---|---|")
        for (label, _, _), value in zip(ARMS[name], seconds, strict=True):
            print(f"| {label} | {1e3 * value:.0f} | {1 / value:.1f} | {seconds[0] / value:.1f}x |")
        print()


if __name__ == "__main__":
    main()
