"""Rows that bound the usable range: trivial predictors (floors) and real data (oracle), shaped as predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.types import ConfigError
from suites.protocols.generation import flat_card
from suites.protocols.generation.exact import exact_meshes, exact_targets, exact_views
from suites.protocols.generation.meshes import height_fields
from suites.protocols.generation.sampling import Arrays
from suites.protocols.generation.sizes import Sizes, sweep

NAMES = ("floor:noise", "floor:mean_image", "floor:flat_card", "oracle:held_out")


def reference(name: str, dataset: Dataset, wanted: Sizes, seed: int) -> Arrays:
    """Predictions of a reference row. Raises ConfigError for an unknown name.

    ``floor:noise``: independent Gaussian pixels with the training set's mean and deviation per channel, also at every
    pose of the sweep; real pictures with a constant depth. ``floor:mean_image``: the mean training image; real pictures
    with the mean training depth map, which also stands for every inverted object. ``floor:flat_card``: held-out images
    on cards that turn, see ``flat_card``: all that a reprojection can want, and no shape. ``oracle:held_out``: real
    images that neither the test split nor the judges' training part holds (split ``val``, filled up from the end of
    ``train``); exact renders of the ``multiview`` objects at the commanded poses, and their meshes; real test pictures
    with their exact depth.
    """
    if name == "floor:noise":
        return _noise(dataset, wanted, seed)
    if name == "floor:mean_image":
        return _mean_image(dataset, wanted)
    if name == "floor:flat_card":
        return _flat_card(dataset, wanted)
    if name == "oracle:held_out":
        return _held_out(dataset, wanted)
    raise ConfigError(f"unknown reference {name!r}", nearest=NAMES, where="generation_3d")


def _noise(dataset: Dataset, wanted: Sizes, seed: int) -> Arrays:
    images = dataset.split("train").view(("image",))["image"]
    mean, deviation = images.mean((0, 1, 2), np.float64), images.std((0, 1, 2), np.float64)
    generator = np.random.default_rng(seed)

    def noise(*shape: int) -> NDArray:
        pixels = generator.normal(mean, deviation, (*shape, *images.shape[1:]))
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)

    arrays = {"images": noise(wanted.n)}
    if dataset.spec.prior is not None:
        arrays["sweep_azimuth"] = sweep(dataset.spec.prior, wanted.azimuths)
        arrays["sweep"] = noise(wanted.latents, wanted.azimuths)
        arrays |= _with_depth(dataset, wanted, constant=dataset.spec.prior.radius)
    return arrays


def _mean_image(dataset: Dataset, wanted: Sizes) -> Arrays:
    images = dataset.split("train").view(("image",))["image"]
    mean = np.rint(images.mean(0, np.float64)).astype(np.uint8)
    arrays = {"images": np.broadcast_to(mean, (wanted.n, *mean.shape)).copy()}
    if dataset.spec.prior is not None:
        azimuths = sweep(dataset.spec.prior, wanted.azimuths)
        still = np.broadcast_to(mean, (wanted.latents, len(azimuths), *mean.shape)).copy()
        arrays |= {"sweep_azimuth": azimuths, "sweep": still, **_with_depth(dataset, wanted)}
        arrays |= _mean_inversion(dataset, wanted, mean)
    return arrays


def _mean_inversion(dataset: Dataset, wanted: Sizes, mean: NDArray[np.uint8]) -> Arrays:
    """The mean image and the mean depth map for every view of every inverted object, as far as there are any."""
    truth, prior = exact_targets(dataset.spec, wanted), dataset.spec.prior
    if not truth:
        return {}
    assert prior is not None
    depth = np.broadcast_to(mean_depth_map(dataset, "val"), truth["inv_truth_depth"].shape).astype(np.float32)
    found: Arrays = {"inv_views": np.broadcast_to(mean, truth["inv_truth"].shape).copy()}
    found |= {"inv_depth": depth, "inv_mask": np.full(depth.shape, 255, np.uint8)}
    return {**truth, **found, **height_fields(depth[:, 0], truth["inv_truth_mask"][:, 0], prior).packed("inv_mesh")}


def _flat_card(dataset: Dataset, wanted: Sizes) -> Arrays:
    arrays: Arrays = {"images": _held_out_images(dataset, wanted, "floor:flat_card")}
    if dataset.spec.prior is None or "pose" not in dataset.split("test").fields:
        return arrays
    arrays |= flat_card.at_poses(dataset, wanted)
    real = _real_geometry(dataset, wanted)
    if real:
        arrays |= {**real, "depth": flat_card.own_depth(dataset, len(real["depth"]))}
    truth = exact_targets(dataset.spec, wanted)
    return arrays | flat_card.inversion(truth, dataset.spec.prior) if truth else arrays


def mean_depth_map(dataset: Dataset, split: str) -> NDArray[np.float32]:
    """Mean depth per pixel [H,W] over the pictures whose object covers it; the overall mean where none does."""
    depth = dataset.split(split).view(("depth",))["depth"]
    covered = depth > 0
    total, count = depth.sum(0, np.float64), covered.sum(0)
    overall = total.sum() / max(int(count.sum()), 1)
    return np.where(count > 0, total / np.maximum(count, 1), overall).astype(np.float32)


def _with_depth(dataset: Dataset, wanted: Sizes, constant: float | None = None) -> Arrays:
    """Real test pictures with a constant depth or the mean depth map of ``val``, inside the true masks."""
    arrays = _real_geometry(dataset, wanted)
    if not arrays:
        return arrays
    fill = np.float32(constant) if constant is not None else mean_depth_map(dataset, "val")
    return {**arrays, "depth": np.broadcast_to(fill, arrays["depth"].shape).astype(np.float32)}


def _real_geometry(dataset: Dataset, wanted: Sizes) -> Arrays:
    split = dataset.split("test")
    if not {"depth", "coverage"} <= set(split.fields):
        return {}
    view = split.view(("image", "depth", "coverage"))
    rows = slice(0, wanted.geometry)
    depth = np.array(view["depth"][rows], np.float32)
    mask = np.where(depth > 0, view["coverage"][rows], 0).astype(np.uint8)
    return {"geometry_images": np.array(view["image"][rows]), "depth": depth, "mask": mask}


def _held_out(dataset: Dataset, wanted: Sizes) -> Arrays:
    spec = dataset.spec
    arrays = {"images": _held_out_images(dataset, wanted, "oracle:held_out")}
    if spec.prior is None or spec.family != "objects":
        return arrays
    arrays |= exact_views(spec, wanted) | _real_geometry(dataset, wanted)
    truth = exact_targets(spec, wanted)
    if truth:
        found = {name.replace("truth_", ""): array for name, array in truth.items() if name != "inv_truth"}
        meshes = exact_meshes(dataset, len(truth["inv_truth"])).packed("inv_mesh")
        arrays |= {**truth, **found, "inv_views": truth["inv_truth"], **meshes}
    return arrays


def _held_out_images(dataset: Dataset, wanted: Sizes, row: str) -> NDArray[np.uint8]:
    """Images of split ``val``, filled up from the end of ``train``."""
    pieces: list[NDArray] = []
    missing = wanted.n
    for name, from_end in (("val", False), ("train", True)):
        if missing and dataset.spec.splits.get(name):
            images = dataset.split(name).view(("image",))["image"]
            pieces.append(np.array(images[-missing:] if from_end else images[:missing]))
            missing -= len(pieces[-1])
    if missing:
        raise ConfigError(
            f"val and train together lack {missing} of {wanted.n} held-out images",
            where=row,
            remedy="Lower the setting n of the suite.",
        )
    return np.concatenate(pieces)
