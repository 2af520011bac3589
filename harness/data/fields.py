"""The fields of a record: shape, type, unit, and how each may be resized and flipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Flip = Literal[
    "none", "mirror", "mirror_negate_x", "negate_first", "reflect_pose", "reflect_points", "reflect_pixels", "swap"
]


@dataclass(frozen=True)
class Field:
    """Schema of one field.

    ``shape`` is that of one sample, with H and W for the resolution, P keypoints, F factors. ``interpolation`` says
    how it may be resized: ``area`` averages, ``nearest`` picks, ``none`` must not be resized. ``flip`` says what a
    left-right flip of the image does to it.
    """

    name: str
    shape: tuple[str | int, ...]
    dtype: str
    unit: str
    interpolation: Literal["area", "nearest", "none"] = "none"
    flip: Flip = "none"


_ALL = (
    Field("image", ("H", "W", 3), "uint8", "sRGB-like, gamma encoded", "area", "mirror"),
    Field("label", ("H", "W"), "uint8", "part id, 0 = background", "nearest", "mirror"),
    Field("coverage", ("H", "W"), "uint8", "255 x foreground share", "area", "mirror"),
    Field("depth", ("H", "W"), "float32", "z-depth in world units, 0 = none", "nearest", "mirror"),
    Field("normal", ("H", "W", 3), "float32", "unit vector, camera frame, 0 = none", "nearest", "mirror_negate_x"),
    Field("albedo", ("H", "W", 3), "uint8", "255 x linear albedo at the pixel centre, 0 = none", "nearest", "mirror"),
    Field("cam2world", (4, 4), "float32", "OpenCV axes, world units", flip="reflect_pose"),
    Field("K", (3, 3), "float32", "intrinsics normalised by width and height", flip="reflect_pixels"),
    Field("pose", (3,), "float32", "azimuth, elevation (radians), radius (world units)", flip="negate_first"),
    Field("light", (5,), "float32", "direction to the light (camera frame), ambient, diffuse", flip="negate_first"),
    Field("factors", ("F",), "float32", "see the factor schema"),
    Field("kp3d", ("P", 3), "float32", "keypoints, world units", flip="reflect_points"),
    Field("kp2d", ("P", 2), "float32", "keypoints, normalised image coordinates", flip="reflect_pixels"),
    Field("kp_vis", ("P",), "uint8", "1 = visible (depth test at 1 % of the diameter)", flip="swap"),
    Field("identity", (), "int32", "samples with the same number show the same object"),
    Field("view", (), "int32", "number of the view within its identity"),
    Field("pair_factor", (), "int32", "index of the factor in which the two samples of a pair differ"),
    Field("category", (), "int32", "class index of a published set"),
    Field("attributes", ("A",), "int8", "attributes of a published set, -1 or 1"),
)
FIELDS: dict[str, Field] = {field.name: field for field in _ALL}

# How a split keeps a field on disk: "plain" as declared; "half" depth minus radius in float16 (infinity = none, error
# below 5e-4 world units); "byte" normals times 127 in int8.
Storage = Literal["plain", "half", "byte"]


def pack(name: str, values: Array, storage: Storage, radius: Array | None = None) -> Array:
    """The stored form of ``values`` [N,...]; ``radius`` [N] is needed for half-precision depth."""
    if storage == "half":
        assert radius is not None
        return np.where(values > 0, values - radius[:, None, None], np.inf).astype(np.float16)
    if storage == "byte":
        return np.rint(values * 127).astype(np.int8)
    return np.asarray(values, FIELDS[name].dtype)


def unpack(values: Array, storage: Storage, radius: Array | None = None) -> Array:
    """The declared form of stored values; plain storage is returned as it is (memory-mapped)."""
    if storage == "half":
        assert radius is not None
        return np.where(np.isfinite(values), values.astype(np.float32) + radius[:, None, None], np.float32(0))
    if storage == "byte":
        return values.astype(np.float32) / np.float32(127)
    return values


def flipped(record: Mapping[str, Array], keypoint_mirror: Sequence[int]) -> dict[str, Array]:
    """The batched record [N,...] as a left-right flipped camera would have seen it.

    ``keypoint_mirror`` gives each keypoint's id after the flip. Factors, identity and view stay.
    """
    swap = list(keypoint_mirror)
    return {name: _flip(FIELDS[name], np.asarray(values), swap) for name, values in record.items()}


def _flip(field: Field, values: Array, swap: list[int]) -> Array:
    rule = field.flip
    if rule == "none":
        return values
    if rule == "swap":
        return values[:, swap]
    if rule in ("mirror", "mirror_negate_x"):
        values = values[:, :, ::-1]
        return values * np.array([-1, 1, 1], values.dtype) if rule == "mirror_negate_x" else values
    result = values.copy()
    if rule == "negate_first":
        result[..., 0] = -result[..., 0]
    elif rule == "reflect_pose":
        mirror = np.diag([-1, 1, 1, 1]).astype(values.dtype)
        result = mirror @ values @ mirror
    elif rule == "reflect_points":
        result[..., 0] = -result[..., 0]
        result = result[:, swap]
    elif field.name == "K":
        result[..., 0, 2] = 1 - result[..., 0, 2]
    else:
        result[..., 0] = 1 - result[..., 0]
        result = result[:, swap]
    return result
