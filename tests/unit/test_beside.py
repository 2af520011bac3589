"""A method beside the one it is plugged into."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.store import StoredResult
from harness.tables import markdown
from harness.tables.beside import GAP, HEAD, NAME
from harness.tables.pictures import collect
from harness.tables.rows import gather
from harness.types import Budget
from tests.unit.stored_results import result

LEFT, RIGHT = 10, 200


def drawn(folder: Path, method: str, seed: int, grey: int, height: int = 40, **more: Any) -> StoredResult:
    """A result with a picture of its shapes in one shade of grey."""
    place = folder / f"{method}{seed}{grey}"
    place.mkdir()
    Image.fromarray(np.full((height, 60, 3), grey, np.uint8)).save(place / "shapes.png")
    base = more.pop("base", "")
    made = result(method, seed, pictures={"shapes": "shapes.png"}, folder=place, **more)
    if not base:
        return made
    return replace(made, cell=replace(made.cell, config={"base": base}, source="/a/checkout/that/is/gone"))


def pictures(results: list[StoredResult]) -> dict[str, bytes]:
    made = collect(results, gather(results))
    return {name: content for name, content in made.items() if name.startswith(NAME)}


def test_the_base_is_on_the_left_with_the_same_seed(tmp_path: Path) -> None:
    results = [
        drawn(tmp_path, "triplane", 0, 90),
        *(drawn(tmp_path, "triplane", 1, LEFT), drawn(tmp_path, "geod", 1, RIGHT, base="triplane")),
    ]
    ((name, content),) = pictures(results).items()
    assert name == f"{NAME}-geod-quick-s1-shapes"
    with Image.open(io.BytesIO(content)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape == (40 + HEAD, 2 * 60 + GAP, 3)
    assert (pixels[HEAD:, :60] == LEFT).all()
    assert (pixels[HEAD:, 60 + GAP :] == RIGHT).all()
    assert (pixels[:HEAD] < 128).any(), "names stand above"


@pytest.mark.parametrize(
    "base",
    [
        {"seed": 2},
        {"budget": Budget("claims", 48000)},
        {"overrides": {"rays": 8}},
        {"height": 48},
        {"tier": "smoke"},
    ],
)
def test_only_equal_rows_stand_beside_each_other(tmp_path: Path, base: dict[str, Any]) -> None:
    ours = drawn(tmp_path, "geod", 1, RIGHT, base="triplane")
    theirs = drawn(tmp_path, "triplane", base.pop("seed", 1), LEFT, **base)
    assert pictures([ours, theirs]) == {}


def test_a_missing_base_or_a_damaged_picture_costs_the_pair_only(tmp_path: Path) -> None:
    ours, theirs = drawn(tmp_path, "geod", 0, RIGHT, base="triplane"), drawn(tmp_path, "triplane", 0, LEFT)
    assert pictures([ours]) == {}
    (theirs.folder / "shapes.png").write_bytes(b"no picture")
    assert pictures([ours, theirs]) == {}
    assert "geod-quick-s0-shapes" in collect([ours, theirs], gather([ours, theirs]))


def test_the_page_says_which_side_is_which(tmp_path: Path) -> None:
    results = [drawn(tmp_path, "geod", 0, RIGHT, base="triplane"), drawn(tmp_path, "triplane", 0, LEFT)]
    names = [f"{name}.png" for name in collect(results, gather(results))]
    page = markdown.page(gather(results), extras=markdown.Extras(pictures=names))
    assert "The base on the left" in page
