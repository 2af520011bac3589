"""What the training loop adds to a method's own time: averages, log, gradient norms, NaN guard, signals, bookkeeping.

    python benchmarks/loop_overhead.py

A null method returns four losses at once and has an optimiser of 60 parameters with gradients; checkpoints are off,
since their cost depends on the wall clock only. Drawing a batch of 32 images of 32 pixels is timed beside it.
CPU time, medians over repetitions, one thread.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.data.batches import ResidentBatches
from harness.running.training import Trainer, schedule, train
from harness.running.trainlog import TrainLog
from harness.types import Batch, Stage

STEPS, REPETITIONS = 5000, 5


class Null:
    """A method that does nothing."""

    stages = (Stage(),)

    def __init__(self) -> None:
        self.net = nn.ParameterList([nn.Parameter(torch.randn(64, 64)) for _ in range(60)])
        for parameter in self.net:
            parameter.grad = torch.randn_like(parameter)
        self.optimiser = torch.optim.Adam(self.net.parameters())
        self.losses = {name: torch.tensor(1.0) for name in ("d_loss", "g_loss", "d_real", "d_fake")}

    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        return self.losses

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


class SameBatch:
    """A source of batches that costs nothing."""

    def next(self) -> Batch:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def microseconds(work: Callable[[], None], steps: int = STEPS) -> float:
    """Median time per step over the repetitions."""
    times = []
    for _ in range(REPETITIONS):
        started = time.process_time()
        work()
        times.append((time.process_time() - started) / steps * 1e6)
    return statistics.median(times)


def main() -> None:
    """Measure and print one line per part."""
    torch.set_num_threads(1)
    method, plan = Null(), schedule(STEPS, 1, Null.stages)
    context: Any = SimpleNamespace(device=torch.device("cpu"), generator=torch.Generator())

    def bare() -> None:
        for step in range(STEPS):
            method.train_step({}, step)

    def looped(every: int) -> None:
        with tempfile.TemporaryDirectory() as place:
            log = TrainLog(Path(place) / "train.jsonl", 1)
            train(Trainer(method, SameBatch(), context, plan), log, lambda: None, every=every, checkpoint_seconds=1e9)

    images = np.zeros((8192, 32, 32, 3), np.uint8)
    batches = ResidentBatches(images, 32, torch.Generator(), channels_last=True)

    def drawn() -> None:
        for _ in range(1000):
            batches.next()

    own = microseconds(bare)
    for every in (50, 10):
        print(f"loop, one record per {every} steps: {microseconds(lambda n=every: looped(n)) - own:6.1f} us per step")
    print(f"drawing a batch of 32 images:    {microseconds(drawn, 1000):6.1f} us per step")


if __name__ == "__main__":
    main()
