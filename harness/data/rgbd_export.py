"""Drawn pictures with their depth as folders: ``rgb`` beside ``depth``, 16 bits, as RGBD sets are published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from harness.atomic import write_error
from harness.data.rgbd_pairs import PARTS
from harness.data.views import Dataset
from harness.types import DataError

_STATED = ("fov", "coding", "depth_unit")


def export(dataset: Dataset, root: Path) -> tuple[int, str]:
    """Write splits train, val and test below ``root``; the number of pictures and the words that read them back.

    ``<split>/rgb/NNNNNN.png`` and ``<split>/depth/NNNNNN.png`` are row NNNNNN of the split. Raises DataError for data
    without coded depth and for a folder that holds something, StoreError where the disk fails.
    """
    spec = dataset.spec
    splits = {part: dataset.split(part) for part in PARTS if part in spec.splits}
    if spec.root is not None or not all("depth_coded" in split.fields for split in splits.values()):
        raise DataError(
            "only drawn pictures with coded depth can be written as RGBD folders",
            where=spec.name,
            remedy="Give data=rooms.",
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError("is not an empty folder", where=str(root), remedy="Name a new one: nothing is overwritten.")
    for part, split in splits.items():
        view = split.view(("image", "depth_coded"))
        for row, (image, depth) in enumerate(zip(view["image"], view["depth_coded"], strict=True)):
            _save(root / part / "rgb" / f"{row:06d}.png", image)
            _save(root / part / "depth" / f"{row:06d}.png", depth)
    stated = [f"data.options.{name}={spec.options[name]}" for name in _STATED if name in spec.options]
    words = ["data=folder/rgbd", f"data.options.resolution={spec.resolution}", *stated, f"root={root}"]
    return sum(map(len, splits.values())), " ".join(words)


def _save(path: Path, values: np.ndarray) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(values)).save(path)
    except OSError as error:
        raise write_error(path, error) from error
