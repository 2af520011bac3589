"""Pictures of a cell: fixed test images, their truth, what was predicted, and what the method would teach itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.data.views import Split
from harness.types import Context, LabelsPixels
from suites.protocols.generation.pictures import tile
from suites.protocols.segmentations.inference import loaded

SHOWN = 6
IGNORED = (0, 0, 0)


def shown_rows(split: Split, ignore: int) -> NDArray[np.int64]:
    """The first ``SHOWN`` test images with the most classes; they depend on the test split alone."""
    labels = np.asarray(split.view(("label",))["label"])
    counts = np.array([len(np.unique(label[label != ignore])) for label in labels])
    return np.sort(np.argsort(-counts, kind="stable")[:SHOWN])


def shown(model: Any, split: Split, ignore: int, context: Context) -> dict[str, NDArray]:
    """What the method says of the shown images: ``shown_prediction`` uint8 [S,H,W] and, where it labels pixels itself,
    ``shown_pseudo_label`` uint8 and ``shown_confidence`` float16 [S,H,W]."""
    images = loaded(np.asarray(split.view(("image",))["image"][shown_rows(split, ignore)]), context)
    made: dict[str, NDArray] = {"shown_prediction": _bytes(model.segment(images, model.networks[0]).argmax(1))}
    if isinstance(model, LabelsPixels):
        pseudo = model.pseudo_labels(images)
        made["shown_pseudo_label"] = _bytes(pseudo.labels)
        made["shown_confidence"] = pseudo.confidence.float().cpu().numpy().astype(np.float16)
    return made


def sheet(split: Split, predictions: dict[str, NDArray], ignore: int) -> NDArray[np.uint8]:
    """Rows of pictures uint8 [R*H',S*W',3]: image, truth, prediction, pseudo-label and its confidence (white = 1)."""
    rows = shown_rows(split, ignore)
    view = split.view(("image", "label"))
    colours = palette(split)
    lines = [np.asarray(view["image"][rows]), colours[np.asarray(view["label"][rows])]]
    lines.append(colours[predictions["shown_prediction"]])
    if "shown_pseudo_label" in predictions:
        lines.append(colours[predictions["shown_pseudo_label"]])
        grey = (255 * predictions["shown_confidence"].astype(np.float32)).round().astype(np.uint8)
        lines.append(grey[..., None].repeat(3, axis=-1))
    return tile(np.stack(lines))


def palette(split: Split) -> NDArray[np.uint8]:
    """Colours uint8 [256,3] by label; what is no class is black."""
    colours = np.zeros((256, 3), np.uint8)
    colours[:] = IGNORED
    given = np.array(split.index["palette"], np.uint8)
    colours[: len(given)] = given
    return colours


def _bytes(labels: torch.Tensor) -> NDArray[np.uint8]:
    return labels.byte().cpu().numpy()
