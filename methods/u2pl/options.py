"""U2PL's own preset keys; those of network, augmentation and self-training belong to methods/blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from methods.blocks.entropy_partition import Criterion

FIXED: Mapping[str, Any] = {
    "quality": "none",
    "tau": 0.0,
    "ignored_rows": [0, 0],
    "mix_scope": "image",
    "teacher": "ema",
    "teacher_speed": 1,
    "repeats": 1,
    "joint_forward": True,
    "feature_distance": 0.0,
    "feature_distance_classes": [],
}
"""Keys of self-training that U2PL has no choice of: it trusts pixels by its own rule, after mixing."""


@dataclass(frozen=True)
class Options:
    """Preset keys of the partition; README.md explains each."""

    partition: Criterion
    unreliable_ce: Literal["dropped", "soft"]
