"""A family of data that costs nothing: counts and noise keyed by the row. Run as a program, it builds itself."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import cache
from harness.data.fields import Storage
from harness.types import DataError, DataSpec

ROWS, SHARD = 50, 4
SPEC = DataSpec("counting/plain", 4, {"train": ROWS, "test": 6})


class CountingSource:
    """Implements ``Source``; ``pause`` seconds per shard leave time for interruptions."""

    pause = 0.0

    def rows(self, split: str) -> int:
        if split not in SPEC.splits:
            raise DataError(f"no split '{split}'", where=SPEC.name)
        return SPEC.splits[split]

    def storage(self, split: str) -> dict[str, Storage]:
        return {"image": "plain", "depth": "half", "normal": "byte", "pose": "plain", "identity": "plain"}

    def shard_rows(self, split: str) -> int:
        return SHARD

    def produce(self, split: str, first: int, count: int) -> dict[str, np.ndarray]:
        time.sleep(self.pause)
        rows = [np.random.Generator(np.random.Philox(key=row)) for row in range(first, first + count)]
        return {
            "image": np.stack([g.integers(0, 256, (4, 4, 3), np.uint8) for g in rows]),
            "depth": np.stack([g.uniform(3, 5, (4, 4)).astype(np.float32) * (g.random((4, 4)) < 0.5) for g in rows]),
            "normal": np.stack([np.full((4, 4, 3), 1 / np.sqrt(3), np.float32) for _ in rows]),
            "pose": np.stack([np.array([0, 0, 4.18], np.float32) for _ in rows]),
            "identity": np.arange(first, first + count, dtype=np.int32),
        }

    def extras(self, split: str, first: int, count: int) -> dict[str, np.ndarray]:
        return {}

    def schema(self, split: str) -> dict[str, Any]:
        return {"factors": [], "parts": [], "keypoints": [], "keypoint_mirror": []}

    def code(self) -> str:
        return "0" * 64


def install(pause: float = 0.0) -> None:
    """Make the cache use this source in the present process."""
    source = CountingSource()
    source.pause = pause
    cache.open_source = lambda spec: source  # type: ignore[assignment, return-value]


if __name__ == "__main__":
    install(float(sys.argv[2]))
    print("ready", flush=True)
    print(cache.build(SPEC, Path(sys.argv[1]), ["train"]).split("train").digest)
