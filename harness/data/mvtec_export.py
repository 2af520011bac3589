"""A data set with masks as folders of PNG files in MVTec-AD's layout, clean twins beside them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from harness.atomic import write_error
from harness.data.mvtec import GOOD
from harness.data.views import Dataset
from harness.types import DataError


def export(dataset: Dataset, root: Path) -> int:
    """Write splits train and test below ``root`` and return the number of images.

    ``<category>/train/good``, ``test/good`` and ``test/<defect>`` hold ``NNN.png``, ``ground_truth/<defect>`` the masks
    ``NNN_mask.png`` (0 and 255) and ``clean/<defect>`` the twins ``NNN.png``, where the data have them. Numbers follow
    the order of the split. Raises DataError for data without masks and for a folder that holds something, StoreError
    where the disk fails.
    """
    test = dataset.split("test") if "test" in dataset.spec.splits else None
    if test is None or not {"image", "category", "mask", "defect"} <= set(test.fields):
        raise DataError(
            "only data with masks can be written in MVTec-AD's layout",
            where=dataset.spec.name,
            remedy="Give suite=anomaly, or data=defects.",
        )
    train = dataset.split("train")
    trained, tested = ({split.index["categories"][k] for k in set(split.array("category"))} for split in (train, test))
    if tested - trained:
        raise DataError(
            f"category {min(tested - trained)} has no training images, which the layout needs",
            where=dataset.spec.name,
            remedy="Anomalies that are whole images of another class (task=semantic, cifar10) do not fit into it.",
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError("is not an empty folder", where=str(root), remedy="Name a new one: nothing is overwritten.")
    view = train.view(("image", "category"))
    numbers: Counter[Path] = Counter()
    for image, category in zip(view["image"], view["category"], strict=True):
        folder = root / train.index["categories"][category] / "train" / GOOD
        _save(folder / f"{_next(numbers, folder)}.png", image)
    view = test.view([name for name in ("image", "category", "mask", "defect", "twin") if name in test.fields])
    for row, image in enumerate(view["image"]):
        place, defect = root / test.index["categories"][view["category"][row]], int(view["defect"][row])
        folder = place / "test" / test.index["defects"][defect]
        name = _next(numbers, folder)
        _save(folder / f"{name}.png", image)
        if defect:
            mask = np.asarray(view["mask"][row] > 0, np.uint8) * 255
            _save(place / "ground_truth" / folder.name / f"{name}_mask.png", mask)
            if "twin" in view:
                _save(place / "clean" / folder.name / f"{name}.png", view["twin"][row])
    return len(train) + len(test)


def _next(numbers: Counter[Path], folder: Path) -> str:
    numbers[folder] += 1
    return f"{numbers[folder] - 1:03d}"


def _save(path: Path, values: np.ndarray) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
    except OSError as error:
        raise write_error(path, error) from error
