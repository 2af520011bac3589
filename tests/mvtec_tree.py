"""A small tree in the layout of MVTec-AD with its quirks: a grey category, one of bitmaps, masks of 0 and 255."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 24
ENDINGS = {"grid": "png", "nut": "bmp"}  # grid is grey, nut is in colour
DEFECTS = {"grid": ("broken", "bent"), "nut": ("scratch",)}
TRAIN, GOOD, DEFECTIVE = 3, 2, 2


def picture(category: str, seed: int, side: int = SIDE) -> np.ndarray:
    """Noise: uint8 [H,W] for the grey category, [H,W,3] for the other."""
    shape = (side, side) if category == "grid" else (side, side, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def put(path: Path, image: np.ndarray) -> Path:
    """Write an image, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def build(root: Path) -> Path:
    """Two categories; each defective image has a block of 4x6 anomalous pixels, at another place in each."""
    seed = 0
    for category, ending in ENDINGS.items():
        folder = root / category
        for part, count in (("train", TRAIN), ("test", GOOD)):
            for k in range(count):
                put(folder / part / "good" / f"{k:03d}.{ending}", picture(category, seed := seed + 1))
        for defect in DEFECTS[category]:
            for k in range(DEFECTIVE):
                put(folder / "test" / defect / f"{k:03d}.{ending}", picture(category, seed := seed + 1))
                mask = np.zeros((SIDE, SIDE), np.uint8)
                mask[4 + k : 8 + k, 10:16] = 255
                put(folder / "ground_truth" / defect / f"{k:03d}_mask.png", mask)
        (folder / "license.txt").write_text("as stated by the owner")
    return root
