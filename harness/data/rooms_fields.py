"""The fields that only rooms have: depth as the networks read it, and the pivot of the warp."""

from __future__ import annotations

from harness.data.fields import FIELDS, Field

FIELDS["depth_coded"] = Field(
    "depth_coded", ("H", "W"), "uint16", "30000 (d + 1) with d in [-1, 1], see the option coding", "nearest", "mirror"
)
FIELDS["pivot"] = Field(
    "pivot", (2,), "float32", "mid-range x and z of the visible points, camera frame, metres", flip="negate_first"
)
