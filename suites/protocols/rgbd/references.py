"""Rows that bound the usable range: trivial predictors (floors) and real data (oracle), shaped as predictions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.types import ConfigError
from suites.protocols.generation.sizes import Sizes
from suites.protocols.rgbd.coding import FIELD, NEAREST, Coding
from suites.protocols.rgbd.drawing import Arrays

PLACE = "generation_rgbd"


def reference(name: str, dataset: Dataset, wanted: Sizes, seed: int) -> Arrays:
    """Predictions of a reference row, shaped as those of ``drawing.draw``. Raises ConfigError for an unknown name.

    ``oracle:held_out``: pictures that neither the test split nor the judges' training part holds (split ``val``, filled
    up from the end of ``train``) with their exact depth, and the exact views of split ``multiview``, so that its
    rotation errors are those of the renderer. ``floor:flat_depth``: the same pictures with the mean depth at every
    pixel. ``floor:shuffled``: every picture with the depth of the next one, every view of another room.
    ``floor:mean_image``: mean image and mean depth map. ``floor:noise``: independent Gaussian pixels with the training
    set's mean and deviation, in image and depth.
    """
    makers: dict[str, Callable[[], Arrays]] = {
        "floor:noise": lambda: _noise(dataset, wanted, seed),
        "floor:mean_image": lambda: _mean_image(dataset, wanted),
        "floor:flat_depth": lambda: _flat(_held_out(dataset, wanted)),
        "floor:shuffled": lambda: _shuffled(_held_out(dataset, wanted)),
        "oracle:held_out": lambda: _held_out(dataset, wanted),
    }
    if name not in makers:
        raise ConfigError(f"unknown reference {name!r}", nearest=tuple(makers), where=PLACE)
    return makers[name]()


def _held_out(dataset: Dataset, wanted: Sizes) -> Arrays:
    images, codes = [], []
    missing = wanted.n
    for name, from_end in (("val", False), ("train", True)):
        if missing and dataset.spec.splits.get(name):
            rows = slice(-missing, None) if from_end else slice(0, missing)
            view = dataset.split(name).view(("image", FIELD))
            images.append(np.array(view["image"][rows]))
            codes.append(np.array(view[FIELD][rows]))
            missing -= len(images[-1])
    if missing:
        raise ConfigError(
            f"val and train together lack {missing} of {wanted.n} held-out images",
            where="oracle:held_out",
            remedy="Lower the setting n of the suite.",
        )
    coding = Coding.of(dataset.spec)
    arrays = {"images": np.concatenate(images), "depth": coding.rendered(np.concatenate(codes))}
    if not dataset.spec.splits.get("multiview"):
        return arrays
    count = int(dataset.spec.options["views"])
    rooms = min(wanted.latents, dataset.spec.splits["multiview"] // count)
    view = dataset.split("multiview").view(("image", FIELD, "pose"))

    def grid(field: NDArray) -> NDArray:
        return np.array(field[: rooms * count]).reshape(rooms, count, *field.shape[1:])

    return arrays | {
        "views": grid(view["image"]),
        "views_depth": grid(coding.rendered(np.asarray(view[FIELD][: rooms * count]))),
        "views_yaw": grid(view["pose"])[0, :, 0].astype(np.float32),
    }


def _flat(arrays: Arrays) -> Arrays:
    middle = np.float32(arrays["depth"].mean(dtype=np.float64))
    flat: Arrays = {name: np.full_like(arrays[name], middle) for name in ("depth", "views_depth") if name in arrays}
    return arrays | flat


def _shuffled(arrays: Arrays) -> Arrays:
    mixed: Arrays = {"depth": np.roll(arrays["depth"], -1, 0)}
    for name in ("views", "views_depth"):
        if name in arrays:
            mixed[name] = np.stack([np.roll(view, -k, 0) for k, view in enumerate(np.moveaxis(arrays[name], 1, 0))], 1)
    return arrays | mixed


def _mean_image(dataset: Dataset, wanted: Sizes) -> Arrays:
    view = dataset.split("train").view(("image", FIELD))
    image = np.rint(view["image"].mean(0, np.float64)).astype(np.uint8)
    depth = Coding.of(dataset.spec).rendered(view[FIELD].mean(0, np.float64))
    return _repeated(_held_out(dataset, wanted), lambda shape: np.broadcast_to(image, shape), lambda shape: depth)


def _noise(dataset: Dataset, wanted: Sizes, seed: int) -> Arrays:
    view, coding = dataset.split("train").view(("image", FIELD)), Coding.of(dataset.spec)
    mean, deviation = view["image"].mean((0, 1, 2), np.float64), view["image"].std((0, 1, 2), np.float64)
    middle, spread = view[FIELD].mean(dtype=np.float64), view[FIELD].std(dtype=np.float64)
    generator = np.random.default_rng(seed)

    def pixels(shape: tuple[int, ...]) -> NDArray:
        return np.clip(np.rint(generator.normal(mean, deviation, shape)), 0, 255).astype(np.uint8)

    def depths(shape: tuple[int, ...]) -> NDArray:
        return np.maximum(coding.rendered(generator.normal(middle, spread, shape)), NEAREST * coding.unit)

    return _repeated(_held_out(dataset, wanted), pixels, depths)


def _repeated(
    arrays: Arrays, pixels: Callable[[tuple[int, ...]], NDArray], depths: Callable[[tuple[int, ...]], NDArray]
) -> Arrays:
    """The same arrays with other images and depths; depths are broadcast to the shape they replace."""
    filled = dict(arrays)
    for name in ("images", "views"):
        if name in arrays:
            filled[name] = np.array(pixels(arrays[name].shape))
    for name in ("depth", "views_depth"):
        if name in arrays:
            filled[name] = np.broadcast_to(depths(arrays[name].shape), arrays[name].shape).astype(np.float32)
    return filled
