"""What virtual steps and the contrast cost: `uv run python benchmarks/segmentation_step.py`.

Training steps of the micro presets on images of `streets`, in the last quarter of a training. All arms take turns, one
thread, process CPU time; a ratio is the median over the rounds of what the arms took in the same round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from harness import registry  # noqa: E402
from harness.data import catalogue, streets  # noqa: E402
from harness.running import devices, training  # noqa: E402
from harness.types import Budget, Cell  # noqa: E402

STEPS = 600
ROWS = 8
"""Images per stream; batches go round them."""


@dataclass(frozen=True)
class Arm:
    """A method to be timed; ``expected`` is how many steps of ``base`` one of its steps may cost."""

    label: str
    method: str
    setting: str
    keys: Mapping[str, Any]
    base: int
    expected: float


ARMS = [
    Arm("self_training", "self_training", "uda", {}, 0, 1),
    *(Arm(f"FST-D, K = {k}", "fst", "uda", {"K": k}, 0, k + 1) for k in (1, 2, 3)),
    Arm("FST-D, K = 1, restore all", "fst", "uda", {"K": 1, "restore": "all"}, 0, 2),
    Arm(
        "FST-D, K = 1, restore all, labelled gradient reused",
        "fst",
        "uda",
        {"K": 1, "restore": "all", "reuse_labelled_grad": True},
        0,
        2,
    ),
    *(Arm(f"FST-W, N = {n}", "fst", "uda", {"variant": "wide", "N": n}, 0, n + 1) for n in (1, 2, 3)),
    Arm("U2PL without its contrast", "u2pl", "ssl", {"lambda_c": 0.0}, 9, 1),
    Arm("U2PL", "u2pl", "ssl", {}, 9, 4 / 3),
]


class Bench:
    """A method of an arm, in the last quarter of its training, with batches at hand."""

    def __init__(self, arm: Arm, precision: str) -> None:
        entry = registry.find(arm.method)
        preset = entry.preset("micro", arm.setting) | dict(arm.keys)
        spec = catalogue.spec("streets", tier="micro", setting=arm.setting)
        budget = Budget("benchmark", STEPS * preset["batch_size"])
        cell = Cell("", "", arm.method, "micro", 0, budget, spec, config=preset, precision=precision)
        context = devices.make_context(cell, torch.device("cpu"), "train", STEPS)
        self.method = training.build_method(cell, registry.load(arm.method), context)
        self.precision = context.precision
        self.step = 3 * STEPS // 4
        self.sizes = {"": preset["batch_size"], "unlabelled_": preset["unlabelled_batch_size"]}
        self.samples = {
            prefix: {
                name: torch.from_numpy(values)
                for name, values in streets.samples(spec, split, 0, ROWS, ("image", "label")).items()
            }
            for prefix, split in (("", "labelled"), ("unlabelled_", "unlabelled"))
        }
        training.prepare(self.method, {name: values.numpy() for name, values in self.samples[""].items()})

    def batch(self) -> dict[str, Tensor]:
        """The next batch, with the future ones that the method asks for."""
        ahead = int(getattr(self.method, "future_batches", 0))
        made: dict[str, Tensor] = {}
        for prefix, size in self.sizes.items():
            for when, times in (("", 1), ("future_", ahead)):
                if times:
                    rows = (torch.arange(times * size) + self.step) % ROWS
                    images = self.samples[prefix]["image"][rows].permute(0, 3, 1, 2)
                    made[f"{when}{prefix}image"] = images.float().div(127.5).sub(1)
                    if not prefix:
                        made[f"{when}label"] = self.samples[prefix]["label"][rows].long()
        return made

    def seconds(self, steps: int) -> float:
        """CPU seconds per step of the next few; batches are made before the clock starts."""
        batches = []
        for _ in range(steps):
            batches.append(self.batch())
            self.step += 1
        start = time.process_time()
        for number, batch in enumerate(batches):
            self.method.train_step(batch, min(self.step - steps + number, STEPS - 1))
        return (time.process_time() - start) / steps


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=10, help="steps before the first round")
    parser.add_argument("--precision", default="auto")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as in a run
    benches = [Bench(arm, options.precision) for arm in ARMS]
    for bench in benches:
        bench.seconds(options.warmup)
    rounds = [[bench.seconds(options.steps) for bench in benches] for _ in range(options.rounds)]
    print(f"| step, {benches[0].precision} | CPU ms | steps of the base | expected | off by |")
    print("|---|---|---|---|---|")
    for index, arm in enumerate(ARMS):
        ratio = statistics.median(taken[index] / taken[arm.base] for taken in rounds)
        cost = 1e3 * statistics.median(taken[index] for taken in rounds)
        off = f"{100 * (ratio / arm.expected - 1):+.1f} %"
        print(f"| {arm.label} | {cost:.1f} | {ratio:.2f} | {arm.expected:.2f} | {off} |")
    share = statistics.median(1 - taken[-2] / taken[-1] for taken in rounds)
    print(f"\nThe contrast is {100 * share:.1f} % of U2PL's step.")


if __name__ == "__main__":
    main()
