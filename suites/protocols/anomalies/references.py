"""Rows that bound the usable range: no knowledge, statistics of pixels, and the defect's clean twin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.types import ConfigError, Unsupported
from suites.protocols.anomalies.detection import truth_of

LEAST_DEVIATION = 1.0
"""Grey levels: a pixel that never varies in training must not make every deviation infinite."""


def reference(name: str, dataset: Dataset, seed: int) -> dict[str, NDArray[np.float32]]:
    """``scores`` [N] and ``maps`` [N,H,W] of a reference row.

    ``floor:random`` draws both; ``floor:pixel_gaussian`` is the distance of each pixel to the training mean of its
    place in standard deviations, all categories together, its mean the image score; ``oracle:clean_twin`` is the
    difference to the picture without the defect, its maximum the image score. Raises Unsupported where the data have no
    twins, or none of a whole anomalous image.
    """
    if name == "floor:random":
        return _random(dataset, seed)
    if name == "floor:pixel_gaussian":
        return _pixel_gaussian(dataset)
    if name == "oracle:clean_twin":
        return _clean_twin(dataset)
    raise ConfigError(f"unknown reference {name!r}", where="anomaly", nearest=("floor:random", "oracle:clean_twin"))


def _random(dataset: Dataset, seed: int) -> dict[str, NDArray[np.float32]]:
    images = dataset.split("test").view(("image",))["image"]
    generator = np.random.default_rng(seed)
    maps = generator.random(images.shape[:3], np.float32)
    return {"scores": generator.random(len(images), np.float32), "maps": maps}


def _pixel_gaussian(dataset: Dataset) -> dict[str, NDArray[np.float32]]:
    train = np.asarray(dataset.split("train").view(("image",))["image"])
    mean = train.mean(0, dtype=np.float64)
    deviation = np.maximum(train.std(0, dtype=np.float64), LEAST_DEVIATION)
    test = np.asarray(dataset.split("test").view(("image",))["image"], np.float64)
    maps = np.sqrt((((test - mean) / deviation) ** 2).mean(-1)).astype(np.float32)
    return {"scores": maps.mean((1, 2)), "maps": maps}


def _clean_twin(dataset: Dataset) -> dict[str, NDArray[np.float32]]:
    split = dataset.split("test")
    if "twin" not in split.fields or truth_of(split).whole:
        raise Unsupported("these data have no clean twins", where="oracle:clean_twin")
    view = split.view(("image", "twin"))
    image, twin = np.asarray(view["image"], np.float32), np.asarray(view["twin"], np.float32)
    maps = np.abs(image - twin).mean(-1)
    return {"scores": maps.max((1, 2)), "maps": maps}
