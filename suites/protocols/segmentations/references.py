"""Rows that bound the usable range: no picture seen, and the truth at the resolution of a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.metrics.segmentation import ConfusionMatrix
from harness.types import ConfigError

STRIDE = 2


def reference(name: str, dataset: Dataset, classes: int, ignore: int) -> NDArray[np.int64]:
    """Confusion matrices int64 [N,C,C] of a reference row on the test split.

    ``floor:majority`` says the most frequent class of the labelled split everywhere, ``floor:position`` the most
    frequent one of each pixel's place; ``oracle:stride`` is the truth at every second pixel, enlarged again.
    """
    truth = np.asarray(dataset.split("test").view(("label",))["label"])
    if name == "oracle:stride":
        rows, columns = (
            np.minimum(np.arange(size) // STRIDE * STRIDE + STRIDE // 2, size - 1) for size in truth.shape[1:]
        )
        said = truth[:, rows[:, None], columns]
        said = np.where(said == ignore, 0, said)  # a network always says something
    elif name in ("floor:majority", "floor:position"):
        counts = _counts(np.asarray(dataset.split("labelled").view(("label",))["label"]), classes)
        best = counts.argmax(0) if name == "floor:position" else np.full(truth.shape[1:], counts.sum((1, 2)).argmax())
        said = np.broadcast_to(best, truth.shape)
    else:
        known = ("floor:majority", "floor:position", "oracle:stride")
        raise ConfigError(f"unknown reference {name!r}", where="segmentation", nearest=known)
    counted = ConfusionMatrix(classes, ignore_index=ignore, per_image=True)
    counted.update(np.ascontiguousarray(said, np.uint8), truth)
    matrices = counted.per_sample()
    assert matrices is not None
    return matrices


def _counts(labels: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """How often each class stands at each place: [C,H,W]."""
    return np.stack([(labels == number).sum(0) for number in range(classes)])
