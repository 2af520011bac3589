"""Made-up results of an anomaly suite: curves that rise, fall or stay, per seed, with parts and two settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.store import StoredResult
from harness.types import Budget, DataSpec
from tests.unit.stored_results import result

DATA = DataSpec("defects/mixed", 64, {"train": 900, "test": 336}, options={"categories": 3})
CLAIMS = Budget("claims", 40_000)
STEPS = np.arange(1, 9) * 625.0
CATEGORIES, DEFECTS, SIZES = ("gear", "stripes", "weave"), ("colour", "hole", "scratch"), ("small", "medium", "large")
SHAPES = {"recon_mlp": (0.86, 0.03), "recon_cnn": (0.92, 0.0), "recon_transformer": (0.83, 0.05), "uniad": (0.9, 0.0)}
"""Method -> highest pixel AUROC, and its fall by the end."""


def curves(method: str, seed: int, shift: float = 0.0) -> dict[str, np.ndarray]:
    """``probe_*`` arrays of one cell; ``shift`` moves its peak."""
    noise = np.random.default_rng([seed, int(abs(shift) * 1000)]).normal(0, 0.004, (5, len(STEPS)))
    top, fall = SHAPES.get(method, (0.88, 0.0))
    top += shift
    along = STEPS / STEPS[-1]
    rise = 1 - np.exp(-4 * along)
    pixel = 0.6 + (top - 0.6) * rise - fall * np.clip(along - 0.4, 0, None) / 0.6 + noise[0]
    copies = fall > 0
    found = {
        "step": STEPS,
        "pixel_auroc": pixel,
        "image_auroc": pixel - 0.03 + noise[1],
        "loss": 0.5 * np.exp(-2.5 * along) + (0.05 if copies else 0.2) + 0.01 * noise[2],
        "error_defect": 0.6 - (0.5 if copies else 0.05) * along + noise[3],
        "error_good": 0.3 - 0.2 * along + noise[4],
        "shortcut_ratio": (0.9 - 0.7 * along) if copies else 0.9 + 0.4 * along,
    }
    return {f"probe_{name}": values for name, values in found.items()}


def anomaly(
    method: str, seed: int, overrides: Mapping[str, Any] | None = None, shift: float = 0.0, folder: Path | None = None
) -> StoredResult:
    """One finished cell, its overlays written to ``folder``; methods that are not in ``SHAPES`` keep no curves."""
    probes = curves(method, seed, shift)
    image, pixel = (float(probes[f"probe_{name}"][-1]) for name in ("image_auroc", "pixel_auroc"))
    metrics = {
        "image_auroc": image,
        "image_ap": image + 0.01,
        "image_f1_max": image - 0.02,
        "pooled_image_auroc": image - 0.05,
        "pixel_auroc": pixel,
        "pixel_ap": pixel - 0.4,
        "pixel_f1_max": pixel - 0.35,
        "aupro[limit=0.3]": pixel - 0.1,
        "aupro[limit=0.05]": pixel - 0.3,
        "pooled_pixel_auroc": pixel - 0.02,
        "mean7": (image + pixel) / 2,
        "shortcut_ratio": float(probes["probe_shortcut_ratio"][-1]),
        "error_defect": float(probes["probe_error_defect"][-1]),
        "error_good": float(probes["probe_error_good"][-1]),
        "error_ratio": float(probes["probe_error_defect"][-1] / probes["probe_error_good"][-1]),
        "image_auroc_peak": float(probes["probe_image_auroc"].max()),
        "image_auroc_fall": float(np.ptp(probes["probe_image_auroc"][-2:])),
        "loss_final": float(probes["probe_loss"][-1]),
    }
    for number, name in enumerate(CATEGORIES):
        metrics |= {f"image_auroc[category={name}]": image - 0.05 * number, f"pixel_auroc[category={name}]": pixel}
    for number, name in enumerate(DEFECTS):
        metrics |= {f"aupro[limit=0.3|defect={name}]": pixel - 0.1 * number}
    for number, name in enumerate(SIZES):
        metrics |= {f"pixel_auroc[size={name}]": pixel - 0.1 + 0.05 * number}
    return result(
        method,
        seed,
        metrics,
        budget=CLAIMS,
        overrides=overrides,
        data=DATA,
        suite="anomaly",
        protocol="anomaly",
        arrays=probes if method in SHAPES else None,
        pictures={} if folder is None else {"overlays": overlays(folder, 40 * len(method) % 256)},
        folder=Path("nowhere") if folder is None else folder,
    )


def overlays(folder: Path, level: int) -> str:
    """Write a picture of three lines of 64 pixels: a ramp, its inverse, and one of grey ``level``."""
    ramp = np.tile(np.linspace(0, 255, 192).astype(np.uint8), (64, 1))
    picture = np.concatenate([ramp, 255 - ramp, np.full_like(ramp, level)])
    name = f"overlays{level}.png"
    Image.fromarray(picture).save(folder / name)
    return name


def suite(seeds: int = 3, folder: Path | None = None) -> list[StoredResult]:
    """Every method in both settings, a grid of variants, a floor and an oracle."""
    made = []
    for seed in range(seeds):
        for number, method in enumerate((*SHAPES, "patchcore")):
            made.append(anomaly(method, seed, folder=folder))
            made.append(anomaly(method, seed, {"mode": "separate"}, 0.011 * number, folder=folder))
        grid: list[dict[str, Any]] = [{"jitter": jitter, "mask": mask} for jitter in (0, 5) for mask in ("none", "all")]
        variants = [*grid, {"decoder": "first_layer"}, {"decoder": "none"}]
        made += [anomaly("uniad", seed, changes, -0.02 * number) for number, changes in enumerate(variants)]
    kinds = {"floor:image_statistics": 0.55, "oracle:clean_twin": 0.999}
    for name, value in kinds.items():
        scores = {"image_auroc": value, "pixel_auroc": value, "image_auroc[category=gear]": value}
        made.append(result(name, 0, scores, budget=CLAIMS, data=DATA, suite="anomaly", protocol="anomaly"))
    return made
