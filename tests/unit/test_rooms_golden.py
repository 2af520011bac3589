"""A golden set of rooms: statistics that hold on every platform. A change of recipe must raise the version.

Renew the file with ``python -m tests.unit.test_rooms_golden`` after raising ``harness.data.rooms.VERSION``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import catalogue, rooms
from harness.data.rooms_furniture import LABELS
from tests.unit.test_rooms import micro

FILE = Path(__file__).with_name("golden_rooms.json")
PLACES = ("train", "test", "multiview")


def statistics(split: str) -> list[dict[str, Any]]:
    """Mean colour, pixels per label, depth, mean code, pose and factors of the first four rows of a split."""
    spec = catalogue.spec("rooms", tier="micro")
    found = []
    for row in range(4):
        record = rooms.sample(spec, split, row)
        found.append(
            {
                "colour": np.round(record["image"].mean((0, 1)), 3).tolist(),
                "pixels": np.bincount(record["label"].ravel(), minlength=len(LABELS)).tolist(),
                "depth": round(float(record["depth"].mean()), 4),
                "code": round(float(record["depth_coded"].mean()), 1),
                "pose": np.round(record["pose"].astype(float), 5).tolist(),
                "pivot": np.round(record["pivot"].astype(float), 3).tolist(),
                "factors": np.round(record["factors"].astype(float), 4).tolist(),
            }
        )
    return found


def scale_free_error(depth: np.ndarray, guess: np.ndarray) -> float:
    """SIDE: mean over images [N,P] of the standard deviation of log depth minus log guess."""
    return float((np.log(depth) - np.log(guess)).std(-1).mean())


def difficulty() -> dict[str, float]:
    """SIDE of a constant depth and of the mean log-depth map of other rooms; the median of max / min depth."""
    depth = micro()["depth"].astype(float)
    depth = depth.reshape(len(depth), -1)
    known, judged = depth[::2], depth[1::2]
    return {
        "side_constant": round(scale_free_error(judged, np.ones_like(judged)), 4),
        "side_mean_map": round(scale_free_error(judged, np.exp(np.log(known).mean(0))), 4),
        "ratio": round(float(np.median(depth.max(1) / depth.min(1))), 3),
    }


@pytest.mark.parametrize("split", PLACES)
def test_the_golden_rooms_are_as_stored(split: str) -> None:
    stored = json.loads(FILE.read_text())
    assert stored["version"] == rooms.VERSION, "renew the golden file"
    for now, then in zip(statistics(split), stored["rows"][split], strict=True):
        np.testing.assert_allclose(now["colour"], then["colour"], atol=0.2)
        np.testing.assert_allclose(now["pixels"], then["pixels"], atol=3)  # 0.3 % of the picture
        np.testing.assert_allclose(now["depth"], then["depth"], rtol=2e-3)
        np.testing.assert_allclose(now["code"], then["code"], rtol=3e-3)
        for name in ("pose", "factors"):
            np.testing.assert_allclose(now[name], then[name], atol=1e-3)
        np.testing.assert_allclose(now["pivot"], then["pivot"], atol=0.02)


def test_depth_is_as_hard_to_guess_as_stored() -> None:
    """An indoor depth that ignores the picture looks good already: any claim about depth must beat the mean map."""
    now, then = difficulty(), json.loads(FILE.read_text())["difficulty"]
    for name, value in then.items():
        assert now[name] == pytest.approx(value, rel=5e-3)
    assert 0.22 < then["side_constant"] < 0.29
    assert 0.13 < then["side_mean_map"] < 0.18


if __name__ == "__main__":
    rows = {split: statistics(split) for split in PLACES}
    golden = {"version": rooms.VERSION, "difficulty": difficulty(), "rows": rows}
    FILE.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
