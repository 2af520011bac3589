"""Images per CPU second of StyleGAN2's whole training step in four forms: `uv run python benchmarks/stylegan2_step.py`.

The networks of the micro preset at 32x32, equal widths and batch: phases of G and D, and R1 every 16th step. The forms
take turns, one thread, process CPU time; a gain is the median over the rounds of what two forms took in the same round.
``--profile`` prints where the last form spends its time instead.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402

from tests.gan_bench import build, images  # noqa: E402

_PUBLIC = {"modulation": "grouped", "channels_last": False}
FORMS: list[tuple[str, str, dict[str, Any]]] = [
    ("grouped weights, fp32 (the usual public form)", "fp32", _PUBLIC),
    ("scaled activations, fp32", "fp32", {"channels_last": False}),
    ("the same, channels-last", "fp32", {}),
    ("the same, bf16 autocast", "bf16", {}),
]
"""Label, precision, overrides of the micro preset; the first form is what the others are compared with."""
INTERVAL = 16
"""Steps of a round: R1 runs in exactly one of them."""


def seconds_per_step(method: Any, start: int, steps: int) -> float:
    """CPU seconds of one step, averaged over ``steps`` from step ``start`` on."""
    batch = images(method.options.batch_size)
    began = time.process_time()
    for step in range(start, start + steps):
        method.train_step(batch, step)
        for average in method.averages:
            average.update(step)
    return (time.process_time() - began) / steps


def profile(method: Any) -> None:
    """Print the operators of one round of ``method``, the most expensive first."""
    seconds_per_step(method, 0, 2)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as record:
        seconds_per_step(method, 0, INTERVAL)
    print(record.key_averages().table(sort_by="self_cpu_time_total", row_limit=40, max_name_column_width=50))


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    size = {"batch_size": options.batch}
    methods = [build("stylegan2", "micro", size | keys, precision=precision) for _, precision, keys in FORMS]
    if options.profile:
        profile(methods[-1])
        return
    rounds: list[list[float]] = []
    for index in range(options.rounds + 1):
        taken = [seconds_per_step(method, index * INTERVAL, INTERVAL) for method in methods]
        if index:  # the first round warms up
            rounds.append(taken)
    print(f"| StyleGAN2 micro, batch {options.batch} | CPU ms per step | images per CPU second | gain |")
    print("|---|---:|---:|---:|")
    for place, (label, _, _) in enumerate(FORMS):
        seconds = statistics.median(taken[place] for taken in rounds)
        gain = statistics.median(taken[0] / taken[place] for taken in rounds)
        print(f"| {label} | {1e3 * seconds:.0f} | {options.batch / seconds:.0f} | {gain:.2f}x |")


if __name__ == "__main__":
    main()
