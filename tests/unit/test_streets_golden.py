"""A golden set of streets: statistics that hold on every platform. A change of recipe must raise the version.

Renew the file with ``python -m tests.unit.test_streets_golden`` after raising ``harness.data.streets.VERSION``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import catalogue, streets

FILE = Path(__file__).with_name("golden_streets.json")
PLACES = (("uda", "labelled"), ("uda", "test"), ("ssl", "labelled"), ("ssl", "val"))


def statistics(setting: str, split: str) -> list[dict[str, Any]]:
    """Mean colour, pixels per class, mean depth and factors of the first four rows of a split."""
    spec = catalogue.spec("streets", tier="micro", setting=setting)
    found = []
    for row in range(4):
        record = streets.sample(spec, split, row)
        counts = np.bincount(record["label"].ravel(), minlength=256)
        found.append(
            {
                "colour": np.round(record["image"].mean((0, 1)), 3).tolist(),
                "pixels": [*counts[: len(streets.CLASSES)].tolist(), int(counts[streets.IGNORE])],
                "depth": round(float(record["depth"].mean()), 3),
                "factors": np.round(record["factors"].astype(float), 4).tolist(),
            }
        )
    return found


@pytest.mark.parametrize(("setting", "split"), PLACES)
def test_the_golden_streets_are_as_stored(setting: str, split: str) -> None:
    stored = json.loads(FILE.read_text())
    assert stored["version"] == streets.VERSION, "renew the golden file"
    for now, then in zip(statistics(setting, split), stored["rows"][f"{setting} {split}"], strict=True):
        np.testing.assert_allclose(now["colour"], then["colour"], atol=0.2)
        np.testing.assert_allclose(now["pixels"], then["pixels"], atol=5)  # 0.1 % of the picture
        np.testing.assert_allclose(now["depth"], then["depth"], rtol=2e-3)
        np.testing.assert_allclose(now["factors"], then["factors"], atol=1e-3)


if __name__ == "__main__":
    rows = {f"{setting} {split}": statistics(setting, split) for setting, split in PLACES}
    FILE.write_text(json.dumps({"version": streets.VERSION, "rows": rows}, separators=(",", ":")) + "\n")
