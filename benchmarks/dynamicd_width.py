"""What a narrower discriminator costs: `uv run python benchmarks/dynamicd_width.py`.

The phases of DynamicD at constant ratios r, sliced and masked, bf16 in channels_last as in a run. All arms take turns,
one thread, process CPU time, best round of each: other processes on the machine only ever slow a round down. Batches
are those of the presets.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import Tensor  # noqa: E402

from tests.gan_bench import build, images  # noqa: E402

RATIOS = (0.25, 0.5, 0.75)
FULL = "full width"
FORMS: dict[str, dict[str, Any]] = {
    "sliced, first channels": {"select": "prefix", "impl": "slice"},
    "sliced, random consistent": {"select": "random_consistent", "impl": "slice"},
    "masked, first channels": {"select": "prefix", "impl": "mask"},
    "masked, random": {"select": "random", "impl": "mask"},
}
RESOLUTIONS = {"micro": 32, "small": 64, "paper": 256}
PHASES = ("D", "D with its fakes", "R1")


@dataclass
class Bench:
    """DynamicD at one ratio and form, with images and the best time of each phase in milliseconds."""

    method: Any
    real: Tensor
    fake: Tensor
    best: dict[str, float]

    def discriminate(self) -> None:
        """Both passes, their backward passes and the optimiser step, the fakes being given."""
        m = self.method
        m.optimiser_d.zero_grad(set_to_none=True)
        for batch, sign in ((self.fake, 1), (self.real, -1)):
            with m.context.autocast():
                logits = m._judge(batch)
            F.softplus(sign * logits.float()).mean().backward()
        m._apply(m.optimiser_d, m._d_parameters)

    def run(self, steps: int) -> None:
        """Time every phase once over ``steps`` repetitions."""
        phases: tuple[Callable[[], Any], ...] = (
            self.discriminate,
            lambda: self.method._step_d(self.real, None),
            lambda: self.method._step_r1(self.real, None),
        )
        for name, phase in zip(PHASES, phases, strict=True):
            start = time.process_time()
            for _ in range(steps):
                phase()
            taken = 1e3 * (time.process_time() - start) / steps
            self.best[name] = min(self.best.get(name, taken), taken)


def made(tier: str, ratio: float, form: dict[str, Any], precision: str) -> Bench:
    """DynamicD of a preset at a constant ratio."""
    overrides = {"scheme": "constant", "r_start": ratio, "r_end": ratio, "augmentation": "none"} | form
    size = RESOLUTIONS[tier]
    method = build("dynamicd", tier, overrides, resolution=size, precision=precision)
    count = method.context.batch_size
    return Bench(method, images(count, size)["image"], images(count, size, seed=1)["image"], {})


def main() -> None:
    """Print one Markdown table per tier."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tiers", nargs="*", default=["micro", "small"], help=f"of {', '.join(RESOLUTIONS)}")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--precision", default="bf16")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as in a run
    for tier in options.tiers:
        arms = {(FULL, 1.0): made(tier, 1.0, {}, options.precision)}  # the same computation in every form
        arms |= {(form, r): made(tier, r, keys, options.precision) for form, keys in FORMS.items() for r in RATIOS}
        for bench in arms.values():
            bench.run(1)
            bench.best.clear()
        for _ in range(options.rounds):
            for bench in arms.values():
                bench.run(options.steps)
        print(f"| {tier}, {options.precision} | r | {' | '.join(f'{name}, ms | gain' for name in PHASES)} |")
        print(f"|---|---|{'---|---|' * len(PHASES)}")
        for (form, r), bench in arms.items():
            whole = arms[FULL, 1.0].best
            cells = (f"{bench.best[name]:.1f} | {whole[name] / bench.best[name]:.2f}x" for name in PHASES)
            print(f"| {form} | {r:g} | {' | '.join(cells)} |")
        print()


if __name__ == "__main__":
    main()
