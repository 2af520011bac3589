"""Exact renders and exact meshes of the objects of split ``multiview``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.metrics.isosurface import Mesh
from harness.types import DataSpec
from suites.protocols.generation.meshes import Meshes
from suites.protocols.generation.sampling import TURNED, Arrays
from suites.protocols.generation.sizes import Sizes, inverted, neighbours, sweep, tilt

SPLIT = "multiview"
GEOMETRY = ("image", "depth", "coverage")


def objects_of(spec: DataSpec) -> int:
    """How many objects with exact renders there are; 0 for data that are not rendered here."""
    if spec.family != "objects" or spec.prior is None:
        return 0
    return spec.splits.get(SPLIT, 0) // int(spec.options["views"])


def exact_views(spec: DataSpec, wanted: Sizes) -> Arrays:
    """Exact renders of the multi-view objects at the commanded poses, lit as the training pictures are.

    Neighbouring views are lit from a fixed direction instead: a light that turns with the camera would count as an
    error of the geometry.
    """
    prior = spec.prior
    assert prior is not None
    objects = min(wanted.latents, objects_of(spec))
    azimuths, elevations = sweep(prior, wanted.azimuths), tilt(prior, wanted.tilts)
    middle, level = prior.azimuth[0], prior.elevation[0]
    swept = _render(spec, objects, [(float(a), level) for a in azimuths], GEOMETRY)
    tilted = _render(spec, max(1, objects // 2), [(middle, float(e)) for e in elevations], ("image",))
    near = [(float(a), level) for a in neighbours(prior, wanted.views)]
    views = _render(_fixed_light(spec), objects, near, GEOMETRY)
    return {
        "sweep_azimuth": azimuths,
        "sweep": swept["image"],
        "sweep_depth": swept["depth"][:TURNED],
        "sweep_mask": _opacity(swept)[:TURNED],
        "tilt_elevation": elevations,
        "tilt": tilted["image"],
        "views": views["image"],
        "views_depth": views["depth"],
        "views_mask": _opacity(views),
    }


def exact_targets(spec: DataSpec, wanted: Sizes) -> Arrays:
    """What inversion is given and judged by: ``inv_truth`` uint8 [K,V,H,W,3], ``inv_truth_depth``, ``inv_truth_mask``
    of the first objects of split ``multiview`` at ``sizes.inverted`` azimuths, view 0 being the given one.

    The light stands still, as for the neighbouring views: at the centre of the prior it falls as in training. Empty for
    data without exact renders.
    """
    count = min(wanted.inversions, objects_of(spec))
    if not count:
        return {}
    assert spec.prior is not None
    poses = [(float(a), spec.prior.elevation[0]) for a in inverted(spec.prior)]
    made = _render(_fixed_light(spec), count, poses, GEOMETRY)
    return {"inv_truth": made["image"], "inv_truth_depth": made["depth"], "inv_truth_mask": _opacity(made)}


def exact_meshes(dataset: Dataset, count: int) -> Meshes:
    """Meshes of the first ``count`` objects of split ``multiview``, in world coordinates."""
    from harness.data.objects import build_solid

    per_object = int(dataset.spec.options["views"])
    solids = [build_solid(dataset.spec, SPLIT, number * per_object) for number in range(count)]
    return Meshes(tuple(Mesh(solid.vertices.astype(np.float64), solid.faces.astype(np.int64)) for solid in solids))


def _fixed_light(spec: DataSpec) -> DataSpec:
    return replace(spec, options={**spec.options, "light": "world"})


def _opacity(made: Arrays) -> NDArray[np.uint8]:
    return np.where(made["depth"] > 0, made["coverage"], 0).astype(np.uint8)


def _render(spec: DataSpec, objects: int, poses: Sequence[tuple[float, float]], fields: tuple[str, ...]) -> Arrays:
    """Fields [K,P,...] of the first objects at the given azimuths and elevations."""
    from harness.data.objects import build_solid, sample

    per_object = int(spec.options["views"])
    records = []
    for number in range(objects):
        solid = build_solid(spec, SPLIT, number * per_object)
        records += [sample(spec, SPLIT, number * per_object, fields, solid=solid, angles=pose) for pose in poses]
    shape = (objects, len(poses))
    return {name: np.stack([r[name] for r in records]).reshape(*shape, *records[0][name].shape) for name in fields}
