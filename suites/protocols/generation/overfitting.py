"""What the discriminator learnt by heart, and whether the generator repeats its training images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.metrics.card import column_name
from harness.metrics.features import FeatureSpace
from harness.metrics.overfitting import NN_RATIO, discriminator_gap, memorisation_ratio, nearest
from harness.types import Context, Discriminates
from suites.protocols.generation.sheet import Sheet, channels_first

JUDGED = 256
"""Images of each kind that a discriminator is asked about."""
PROBED = 64
"""The same at the points of a curve."""
GAP = ("d_gap", "d_train", "d_val", "d_fake")
NO_DISCRIMINATOR = "no discriminator to ask"
SHOWN_FAKES = 8


def logits(
    model: Discriminates, dataset: Dataset, fakes: torch.Tensor, context: Context, count: int = JUDGED
) -> dict[str, NDArray[np.float32]]:
    """``logits_train``, ``logits_val``, ``logits_fake`` float32: what the discriminator says of images it was trained
    on, of split ``val`` (``test`` where there is none), and of generated ones [N,C,H,W] in [-1,1]; at most ``count`` of
    each."""
    held_out = "val" if dataset.spec.splits.get("val") else "test"
    known = dataset.split("train").view(("image",))["image"][: model.train_images or None][:count]
    kinds = {"train": _unit(known), "val": _unit(dataset.split(held_out).view(("image",))["image"][:count])}
    kinds["fake"] = fakes[:count].float()
    said = {f"logits_{name}": model.discriminate(images.to(context.device)) for name, images in kinds.items()}
    return {name: values.float().cpu().numpy() for name, values in said.items()}


def measure(model: Any, dataset: Dataset, context: Context) -> dict[str, float]:
    """The gap and mean logits now, on few images; fakes are those of the moving average, always the same latents."""
    generator = torch.Generator(device=context.device).manual_seed(PROBED)
    fakes = model.sample(model.latents(PROBED, generator), None).rgb
    said = logits(model, dataset, fakes, context, PROBED)
    means = {f"d_{name.removeprefix('logits_')}": float(values.mean()) for name, values in said.items()}
    return {"d_gap": discriminator_gap(said["logits_train"], said["logits_val"], said["logits_fake"]), **means}


def score_gap(sheet: Sheet, predictions: Mapping[str, NDArray]) -> None:
    """Enter the gap of the discriminator between training and held-out images, and its mean logits."""
    if "logits_train" not in predictions:
        sheet.lack(GAP, NO_DISCRIMINATOR)
        return
    said = [predictions[f"logits_{name}"] for name in ("train", "val", "fake")]
    sheet.put("d_gap", discriminator_gap(*said), "training images and fakes look alike to it")
    sheet.per_sample |= {name: curve for name, curve in predictions.items() if name.startswith("probe_")}
    for column, values in zip(GAP[1:], said, strict=True):
        sheet.put(column, float(np.mean(values, dtype=np.float64)))


def score_memory(
    sheet: Sheet, fakes: NDArray, dataset: Dataset, space: FeatureSpace, train_images: int
) -> NDArray[np.uint8]:
    """Enter how much nearer generated images are to training images than to as many images of split ``test``.

    Returns the first generated images above their nearest training images, uint8 [2,K,H,W,3].
    """
    train, others = (dataset.split(name).view(("image",))["image"] for name in ("train", "test"))
    count = min(train_images or len(train), len(train), len(others))
    rows, known, unknown = (space(channels_first(images)) for images in (fakes, train[:count], others[:count]))
    sheet.put(
        column_name(NN_RATIO, space.name, {"n": count}),
        memorisation_ratio(rows, known, unknown),
        "generated images equal held-out ones",
    )
    closest = nearest(rows[:SHOWN_FAKES], known)[1].numpy()
    return np.stack([fakes[: len(closest)], np.asarray(train[:count])[closest]])


def _unit(images: NDArray) -> torch.Tensor:
    return channels_first(np.asarray(images)).float() / 127.5 - 1
