"""A golden set of defective images: statistics that hold on every platform. A change of recipe must raise the version.

Renew the file with ``python -m tests.unit.test_defects_golden`` after raising ``harness.data.defects.VERSION``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.data import catalogue, defects
from harness.data.defects_categories import NAMES

FILE = Path(__file__).with_name("golden_defects.json")


def statistics(category: int) -> dict[str, list]:
    """Mean colours of a training image and of one image per defect, and the areas and centres of their masks."""
    spec, count = catalogue.spec("defects", tier="smoke", resolution=64, categories=len(NAMES)), len(NAMES)
    train = defects.sample(spec, "train", category)["image"]
    records = [defects.sample(spec, "test", category + count * (4 + kind)) for kind in range(6)]
    return {
        "colour": np.round([image.mean((0, 1)) for image in (train, *(r["image"] for r in records))], 3).tolist(),
        "area": [int(record["mask"].sum()) for record in records],
        "centre": np.round([record["factors"][-2:] for record in records], 3).tolist(),
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_golden_images_are_as_stored(name: str) -> None:
    stored = json.loads(FILE.read_text())
    assert stored["version"] == defects.VERSION, "renew the golden file"
    now, then = statistics(NAMES.index(name)), stored["categories"][name]
    np.testing.assert_allclose(now["colour"], then["colour"], atol=0.2)
    np.testing.assert_allclose(now["area"], then["area"], rtol=0.02, atol=2)
    np.testing.assert_allclose(now["centre"], then["centre"], atol=0.01)


if __name__ == "__main__":
    golden = {"version": defects.VERSION, "categories": {name: statistics(k) for k, name in enumerate(NAMES)}}
    FILE.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
