"""Rows that bound the usable range: trivial predictors (floors) and real data (oracle), shaped as predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.types import ConfigError, DataSpec
from suites.protocols.generation.sampling import Arrays
from suites.protocols.generation.sizes import Sizes, neighbours, sweep, tilt

NAMES = ("floor:noise", "floor:mean_image", "oracle:held_out")


def reference(name: str, dataset: Dataset, wanted: Sizes, seed: int) -> Arrays:
    """Predictions of a reference row. Raises ConfigError for an unknown name.

    ``floor:noise``: independent Gaussian pixels with the training set's mean and deviation per channel, also at every
    pose of the sweep; real pictures with a constant depth. ``floor:mean_image``: the mean training image; real pictures
    with the mean training depth map. ``oracle:held_out``: real images that neither the test split nor the judges'
    training part holds (split ``val``, filled up from the end of ``train``); exact renders of the ``multiview`` objects
    at the commanded poses; real test pictures with their exact depth.
    """
    if name == "floor:noise":
        return _noise(dataset, wanted, seed)
    if name == "floor:mean_image":
        return _mean_image(dataset, wanted)
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
    return arrays


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
            where="oracle:held_out",
            remedy="Lower the setting n of the suite.",
        )
    arrays = {"images": np.concatenate(pieces)}
    if dataset.spec.prior is not None and dataset.spec.family == "objects":
        arrays |= _exact_views(dataset.spec, wanted) | _real_geometry(dataset, wanted)
    return arrays


def _exact_views(spec: DataSpec, wanted: Sizes) -> Arrays:
    """Exact renders of the multi-view objects at the commanded poses, lit as the training pictures are.

    Neighbouring views are lit from a fixed direction instead: a light that turns with the camera would count as an
    error of the geometry.
    """
    prior = spec.prior
    assert prior is not None
    objects = min(wanted.latents, spec.splits["multiview"] // int(spec.options["views"]))
    azimuths, elevations = sweep(prior, wanted.azimuths), tilt(prior, wanted.tilts)
    middle, level = prior.azimuth[0], prior.elevation[0]
    swept = _render(spec, objects, [(float(a), level) for a in azimuths], ("image",))
    tilted = _render(spec, max(1, objects // 2), [(middle, float(e)) for e in elevations], ("image",))
    fixed = replace(spec, options={**spec.options, "light": "world"})
    near = [(float(a), level) for a in neighbours(prior, wanted.views)]
    views = _render(fixed, objects, near, ("image", "depth", "coverage"))
    return {
        "sweep_azimuth": azimuths,
        "sweep": swept["image"],
        "tilt_elevation": elevations,
        "tilt": tilted["image"],
        "views": views["image"],
        "views_depth": views["depth"],
        "views_mask": np.where(views["depth"] > 0, views["coverage"], 0).astype(np.uint8),
    }


def _render(
    spec: DataSpec, objects: int, poses: Sequence[tuple[float, float]], fields: tuple[str, ...]
) -> dict[str, NDArray]:
    """Fields [K,P,...] of the first objects of split ``multiview`` at the given azimuths and elevations."""
    from harness.data.objects import build_solid, sample

    per_object = int(spec.options["views"])
    records = []
    for number in range(objects):
        solid = build_solid(spec, "multiview", number * per_object)
        records += [sample(spec, "multiview", number * per_object, fields, solid=solid, angles=pose) for pose in poses]
    shape = (objects, len(poses))
    return {name: np.stack([r[name] for r in records]).reshape(*shape, *records[0][name].shape) for name in fields}
