"""Rows of family ``objects`` for the cache."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from harness.data import atlas, objects
from harness.data.fields import Array, Storage
from harness.data.sources import SHARD_ROWS, code_digest, rows_of
from harness.data.splits import stored
from harness.types import DataSpec

# Every module that can change a pixel.
_CODE = (
    "randomness", "factors", "meshes", "raycast", "textures", "solids", "backgrounds", "shading", "splits", "objects",
    "atlas", "objects_head", "objects_creature", "objects_car", "objects_chair",
)  # fmt: skip


class ObjectsSource:
    """Implements ``Source`` by rendering."""

    def __init__(self, spec: DataSpec) -> None:
        self.spec = spec
        self.kind = objects.class_of(spec)

    def rows(self, split: str) -> int:
        return rows_of(self.spec, split)

    def storage(self, split: str) -> dict[str, Storage]:
        return stored(split)

    def shard_rows(self, split: str) -> int:
        rows = SHARD_ROWS if self.spec.resolution <= 64 else SHARD_ROWS // 2
        views = int(self.spec.options["views"])
        return max(rows // views, 1) * views if split == "multiview" else rows

    def produce(self, split: str, first: int, count: int) -> dict[str, Array]:
        return objects.samples(self.spec, split, first, count, tuple(self.storage(split)))

    def extras(self, split: str, first: int, count: int) -> dict[str, Array]:
        if split != "multiview":
            return {}
        views = int(self.spec.options["views"])
        solids = [objects.build_solid(self.spec, split, row) for row in range(first, first + count, views)]
        unwrapped = [atlas.unwrap(solid) for solid in solids]
        return {
            "mesh_vertices": np.concatenate([solid.vertices for solid in solids]),
            "mesh_normals": np.concatenate([solid.normals for solid in solids]),
            "mesh_faces": np.concatenate([solid.faces.astype(np.int32) for solid in solids]),
            "mesh_parts": np.concatenate([solid.part for solid in solids]),
            "mesh_uv": np.concatenate(unwrapped),
            "mesh_textures": np.stack([atlas.bake(solid, uv) for solid, uv in zip(solids, unwrapped, strict=True)]),
            "mesh_counts": np.array([[len(solid.vertices), len(solid.faces)] for solid in solids], np.int64),
        }

    def schema(self, split: str) -> dict[str, Any]:
        return {
            "factors": [asdict(factor) for factor in self.kind.factors],
            "parts": list(self.kind.parts) + (["accessory"] if split == "ood_accessory" else []),
            "keypoints": list(self.kind.keypoints),
            "keypoint_mirror": list(self.kind.mirror),
        }

    def code(self) -> str:
        return code_digest(*_CODE)
