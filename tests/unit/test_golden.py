"""A golden set of 16 objects: statistics that hold on every platform. A change of recipe must raise the data version.

Renew the file with ``python -m tests.unit.test_golden`` after raising ``harness.data.catalogue.VERSION``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.data import catalogue, objects

FILE = Path(__file__).with_name("golden_objects.json")


def statistics(name: str) -> dict[str, list]:
    """Mean colour, pixels per part and mean depth of four objects of a class at 64 px."""
    spec = catalogue.spec(f"objects/{name}", resolution=64)
    record = objects.samples(spec, "train", 0, 4, ("image", "label", "depth"))
    parts = len(objects.CLASSES[name].parts)
    seen = record["depth"] > 0
    return {
        "colour": record["image"].mean((1, 2)).round(3).tolist(),
        "pixels": [np.bincount(label.ravel(), minlength=parts).tolist() for label in record["label"]],
        "depth": [round(float(d[s].mean()), 5) for d, s in zip(record["depth"], seen, strict=True)],
    }


@pytest.mark.parametrize("name", sorted(objects.CLASSES))
def test_the_golden_objects_are_as_stored(name: str) -> None:
    stored = json.loads(FILE.read_text())
    assert stored["version"] == catalogue.VERSION, "renew the golden file"
    now, then = statistics(name), stored["classes"][name]
    np.testing.assert_allclose(now["colour"], then["colour"], atol=0.5)
    np.testing.assert_allclose(now["depth"], then["depth"], rtol=1e-3)
    moved = np.abs(np.array(now["pixels"]) - np.array(then["pixels"])).sum(1) / 2
    assert (moved <= 0.002 * 64 * 64).all()


if __name__ == "__main__":
    golden = {"version": catalogue.VERSION, "classes": {name: statistics(name) for name in sorted(objects.CLASSES)}}
    FILE.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
