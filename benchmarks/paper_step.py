"""One training step of presets of tier paper at their full size: `uv run python benchmarks/paper_step.py`.

Segmentation at the full crop with batch 2; StyleGAN2 and DynamicD at 256 pixels with batch 1 and DepthGAN, whose
rotation needs pairs, with batch 2, in a step in which all phases run. Radiance fields with batch 1: pi-GAN at 64
pixels, VolumeGAN at 256, the tri-plane with and without GeoD at 512, the guide at full weight and novel views on.

Random weights (published ones are local files) and random pictures; what is shown is that the published sizes train on
a CPU, what they weigh and what a step takes. One process per method, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

METHODS = {
    "uda": ("supervised", "self_training", "fst"),
    "ssl": ("supervised", "cutmix_mt", "fixmatch", "fst", "u2pl"),
}
GENERATORS = {"stylegan2": (256, 1), "dynamicd": (256, 1), "depthgan": (256, 2)}
GENERATORS |= {"pigan": (64, 1), "volumegan": (256, 1), "triplane": (512, 1), "geod": (512, 1)}
"""Generators with their resolution and batch, asked for as ``generation/NAME``."""
CHANGED: dict[str, dict[str, Any]] = {
    "pigan": {"stage_batches": [1]},
    "geod": {"perceptual": "random", "geo_t0": 0.0, "geo_ramp": False, "nvs": "warp_gen_depth"},
}
"""What such a step needs: a batch of one, no published weights, tasks that start at once."""
SMALLER = {"batch_size": 2, "unlabelled_batch_size": 2, "pretrained": "none", "feature_distance": 0.0}


def generator_step(name: str) -> None:
    """Print what ``step`` prints for a step of a generator with all its phases."""
    import torch

    from harness import registry
    from harness.priors import PRIORS
    from harness.running import devices, training
    from harness.types import Budget, Cell, DataSpec

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    size, count = GENERATORS[name]
    preset = registry.find(name).preset("paper") | {"batch_size": count} | CHANGED.get(name, {})
    data = DataSpec("folder/images", size, {"train": count}, prior=PRIORS["front_uniform"])
    cell = Cell("b", "b", name, "paper", 0, Budget("b", 1000), data, config=preset, precision="bf16")
    context = devices.make_context(cell, torch.device("cpu"), "train", 1000)
    model = training.build_method(cell, registry.load(name), context)
    generator = torch.Generator().manual_seed(0)
    batch = {"image": torch.rand(count, 3, size, size, generator=generator) * 2 - 1}
    batch["depth_coded"] = torch.randint(0, 60001, (count, size, size), generator=generator)
    batch["pose"] = torch.tensor([0.0, 0.0, data.prior.radius]).expand(count, 3)
    report("generation", name, "-", f"{size}x{size}", model, batch, 16)  # what comes every 4th or 16th step is due


def step(name: str, setting: str) -> None:
    """Print parameters, CPU seconds and losses of one step with pseudo-labels, and the peak memory."""
    import torch

    from harness import registry
    from harness.running import devices, training
    from harness.types import Budget, Cell, DataSpec

    torch.set_num_threads(1)
    entry = registry.find(name)
    preset: dict[str, Any] = entry.preset("paper", setting)
    preset |= {key: value for key, value in SMALLER.items() if key in preset}
    if not entry.preset("paper", setting).get("unlabelled_batch_size", 0):
        preset["unlabelled_batch_size"] = 0
    height, width = preset["crop"] or (512, 1024)
    classes = 19 if setting == "uda" else 21
    options: dict[str, str | int | float | bool] = {"setting": setting, "classes": classes}
    data = DataSpec("streets", height, {"labelled": 4, "unlabelled": 4}, options=options)
    cell = Cell("b", "b", name, "paper", 0, Budget("b", 2000), data, config=preset, precision="bf16")
    total = 1000
    context = devices.make_context(cell, torch.device("cpu"), "train", total)
    model = training.build_method(cell, registry.load(name), context)
    generator = torch.Generator().manual_seed(0)
    rows = 2 * (1 + int(getattr(model, "future_batches", 0)))
    images = torch.rand(rows, 3, height, width, generator=generator) * 2 - 1
    labels = torch.randint(0, classes, (rows, height // 16, width // 16), generator=generator)
    labels = torch.nn.functional.interpolate(labels[:, None].float(), size=(height, width))[:, 0].long()
    batch = {"image": images[:2], "label": labels[:2], "unlabelled_image": images[:2].flip(0)}
    batch |= {"future_image": images[2:], "future_label": labels[2:], "future_unlabelled_image": images[2:]}
    report(setting, name, preset["network"], f"{height}x{width}", model, batch, int(getattr(model, "start", 0)) + 1)


def report(setting: str, name: str, network: str, size: str, model: Any, batch: dict[str, Any], at: int) -> None:
    """Take step ``at`` of ``model`` on ``batch`` and print the row of the table."""
    from harness.running import training

    started = time.process_time()
    losses = model.train_step(batch, at)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    count = training.parameter_count(model) / 1e6
    values = ", ".join(f"{key} {float(value):.3f}" for key, value in losses.items())
    fields = (setting, name, network, f"{count:.2f}", size, f"{seconds:.0f}", f"{peak:.1f}")
    print(f"| {' | '.join(fields)} | {values} |")


def main() -> None:
    """Run the chosen methods one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="setting/method, for example uda/fst or generation/stylegan2")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        setting, _, name = arguments.one.partition("/")
        if setting == "generation":
            generator_step(name)
        else:
            step(name, setting)
        return
    print("| setting | method | network | parameters (M) | crop | CPU seconds a step | peak GiB | losses |")
    print("|---|---|---|---:|---|---:|---:|---|", flush=True)
    for setting, names in {**METHODS, "generation": tuple(GENERATORS)}.items():
        for name in names:
            if not arguments.only or f"{setting}/{name}" in arguments.only:
                subprocess.run([sys.executable, __file__, "--one", f"{setting}/{name}"], check=True)


if __name__ == "__main__":
    main()
