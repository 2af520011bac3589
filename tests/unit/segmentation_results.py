"""Made-up results of suite segmentation: two settings, curves of pseudo-labels, classes, pictures, a trained oracle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.store import StoredResult
from harness.types import Budget, DataSpec
from tests.unit.stored_results import result

CLAIMS = Budget("claims", 2400)
CLASSES = ("road", "building", "person")
STEPS = np.arange(1, 9) * 75.0
SCORES = {
    "uda": {
        "supervised": 0.6, "fully_supervised": 0.85, "self_training": 0.7, "st_fast": 0.71, "st_repeat": 0.715,
        "fst": 0.75,
    },
    "ssl": {"supervised": 0.55, "fully_supervised": 0.86, "mean_teacher": 0.58, "fst": 0.6, "u2pl": 0.63},
}  # fmt: skip
"""Setting -> method -> mIoU."""


def data(setting: str = "uda", labelled: int = 8) -> DataSpec:
    """Tiny streets in one setting."""
    return DataSpec(
        "streets",
        48,
        {"labelled": 32, "unlabelled": 32, "test": 16},
        options={"setting": setting, "shift": 1.0, "classes": 3, "labelled": labelled if setting == "ssl" else 32},
    )


def segmented(
    method: str,
    seed: int,
    score: float,
    *,
    spec: DataSpec | None = None,
    overrides: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    budget: Budget = CLAIMS,
) -> StoredResult:
    """One finished cell of mIoU ``score``, but for noise that all rows of a seed share; ``supervised`` methods label
    nothing themselves."""
    noise = 0.02 * float(np.random.default_rng(seed).normal()) + 0.0001 * seed * len(method)
    score += noise
    metrics = {
        "miou": score,
        "miou[network=student]": score - 0.01,
        "miou[classes=head]": score + 0.1,
        "miou[classes=tail]": score - 0.1,
        "pixel_acc": score + 0.15,
        "class_acc": score + 0.05,
        "fw_iou": score + 0.12,
        **{f"iou[class={name}]": score + 0.1 - 0.1 * place for place, name in enumerate(CLASSES)},
    }
    rise = 1 - np.exp(-3 * STEPS / STEPS[-1])
    arrays = {"probe_step": STEPS, "probe_miou": score * rise}
    if "supervised" not in method:
        accuracy = 0.6 + (score - 0.4) * rise
        arrays |= {"probe_pl_acc": accuracy, "probe_pl_coverage": 0.9 * rise, "probe_pl_ece": 0.2 - 0.1 * rise}
        metrics |= {"pl_acc": float(accuracy.mean()), "pl_coverage": 0.7, "pl_ece": 0.1}
        parts = accuracy.reshape(4, 2).mean(1)
        metrics |= {f"pl_acc[quarter={place}]": float(value) for place, value in enumerate(parts, 1)}
    if method == "u2pl":
        metrics |= {"queue_fnr": 0.02 + noise / 10, "queue_fnr[negatives=any]": 0.12 + noise / 10}
    return result(
        method,
        seed,
        metrics,
        budget=budget,
        overrides=overrides,
        data=spec or data(),
        suite="segmentation",
        protocol="segmentation",
        arrays=arrays,
        pictures={} if folder is None else {"predictions": picture(folder, method)},
        folder=Path("nowhere") if folder is None else folder,
    )


def picture(folder: Path, method: str) -> str:
    """Write a picture of six 48x96 images: a ramp, its inverse, a grey prediction and, where the method labels pixels
    itself, a lighter pseudo-label and a white confidence."""
    ramp = np.tile(np.linspace(0, 255, 6 * 96).astype(np.uint8), (48, 1))
    level = 10 * len(method)
    lines = [ramp, 255 - ramp, np.full_like(ramp, level)]
    if "supervised" not in method:
        lines += [np.full_like(ramp, level + 1), np.full_like(ramp, 255)]
    name = f"predictions_{method}.png"
    Image.fromarray(np.concatenate(lines)).save(folder / name)
    return name


def suite(seeds: int = 2, folder: Path | None = None) -> list[StoredResult]:
    """Both settings with every method, strict FST, a sweep of U2PL, a floor and an oracle."""
    made = []
    for seed in range(seeds):
        for setting, scores in SCORES.items():
            made += [segmented(name, seed, s, spec=data(setting), folder=folder) for name, s in scores.items()]
        made.append(segmented("fst", seed, 0.73, overrides={"restore": "all"}, folder=folder))
        made += [segmented("fst", seed, 0.74 + k / 100, overrides={"K": k}) for k in (0, 2, 3)]
        made.append(segmented("u2pl", seed, 0.62, spec=data("ssl"), overrides={"lambda_c": 0.0}, folder=folder))
    for name, value in {"floor:position": 0.3, "oracle:stride": 0.93}.items():
        made += [
            result(name, 0, {"miou": value}, data=data(setting), suite="segmentation", protocol="segmentation")
            for setting in SCORES
        ]
    return made
