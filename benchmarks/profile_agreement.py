"""The profiler's rate beside a plain timing loop: `uv run python benchmarks/profile_agreement.py [METHOD ...]`.

Both train the same method from the same step on the same batches. The plain loop knows nothing of the profiler: it
calls the trainer as a run does and reads two clocks. The two take turns, so that other work on the machine meets both
alike. Rates are medians over the rounds, as in a profile; CPU seconds stand beside wall seconds, which a shared machine
spoils.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402

from harness.metrics.memory_use import PeakMemory  # noqa: E402
from harness.metrics.stopwatch import stopwatch  # noqa: E402
from harness.metrics.throughput import measure_throughput  # noqa: E402
from harness.running.profiling.arguments import parse  # noqa: E402
from harness.running.profiling.measurement import Order, build, configured  # noqa: E402
from harness.running.profiling.phases import PhaseRecorder  # noqa: E402
from harness.running.profiling.steps import Steps, period_of  # noqa: E402
from harness.running.training import Trainer  # noqa: E402

METHODS = ("dcgan", "stylegan2", "uniad", "self_training")


def plain(trainer: Trainer, start: int, steps: int) -> tuple[float, float]:
    """Wall and CPU seconds of ``steps`` steps from ``start``."""
    trainer.step = start
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        trainer.advance()
    if trainer.context.device.type == "cuda":
        torch.cuda.synchronize(trainer.context.device)
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(method: str, tier: str, device: torch.device, rounds: int) -> str:
    """A row of the table."""
    asked = parse([f"methods=[{method}]", f"tier={tier}", f"device={device.type}"])
    subject = asked.subjects[0]
    order = Order(asked.settings, device, "fp32")
    period = period_of(subject.cell.config)
    steps = -(-16 // period) * period
    rates: dict[str, list[float]] = {"plain": [], "profiled": [], "plain cpu": [], "profiled cpu": []}
    with configured(order):
        built = build(subject.cell, subject, order)
        trainer, images = built.trainer, built.trainer.context.batch_size
        plain(trainer, built.start, 2 * steps)
        memory = PeakMemory(device)  # one for all rounds, as in a profile: making it gives memory back to the system
        for _ in range(rounds):
            wall, cpu = plain(trainer, built.start, steps)
            rates["plain"].append(images * steps / wall)
            rates["plain cpu"].append(images * steps / cpu)
            trainer.step = built.start
            with PhaseRecorder(trainer.method, stopwatch(device)) as recorder:
                called = Steps(trainer, recorder, built.start, period)
                found = measure_throughput(
                    called,
                    images_per_step=images,
                    warmup=1,
                    blocks=1,
                    calls=steps,
                    device=device,
                    memory=memory,
                    explain=False,
                )
            rates["profiled"].append(found.images_s)
            rates["profiled cpu"].append(images / found.cpu_seconds)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    shown = [method]
    for kind in ("", " cpu"):
        gap = medians[f"profiled{kind}"] / medians[f"plain{kind}"] - 1
        shown += [f"{medians[f'plain{kind}']:.1f}", f"{medians[f'profiled{kind}']:.1f}", f"{100 * gap:+.1f} %"]
    return f"| {' | '.join(shown)} |"


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=METHODS)
    parser.add_argument("--tier", default="smoke")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    print("| method | plain, images/s | profiled | gap | plain, images per CPU second | profiled | gap |")
    print("|---|---:|---:|---:|---:|---:|---:|", flush=True)
    for method in options.methods:
        print(compare(method, options.tier, torch.device(options.device), options.rounds), flush=True)


if __name__ == "__main__":
    main()
