"""Divisions of training images and 16-bit labels, whatever their sizes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.label_files import read_red16
from harness.data.label_pairs import Pair, divide, shuffled
from tests.cityscapes_tree import put_red16


def pairs(count: int) -> list[Pair]:
    return [Pair(f"{k:04d}", Path(f"{k}.png"), Path(f"{k}_ids.png"), "voc") for k in range(count)]


@settings(deadline=None, max_examples=50)
@given(st.integers(3, 300), st.integers(0, 5), st.data())
def test_a_division_uses_every_image_once_and_nests(count: int, seed: int, data: st.DataObject) -> None:
    order = shuffled(pairs(count), seed)
    held = data.draw(st.integers(1, count - 2))
    few = data.draw(st.integers(1, count - held - 1))
    many = data.draw(st.integers(few, count - held - 1))
    small, large = (divide(order, Path(), {"labelled": n, "list": "", "val": held}).splits for n in (few, many))
    for splits, labelled in ((small, few), (large, many)):
        assert {name: len(rows) for name, rows in splits.items()} == {
            "labelled": labelled,
            "unlabelled": count - labelled - held,
            "val": held,
        }
        assert sorted(pair.name for rows in splits.values() for pair in rows) == [p.name for p in pairs(count)]
    assert large["labelled"][:few] == small["labelled"]
    assert large["val"] == small["val"]
    assert set(large["unlabelled"]) <= set(small["unlabelled"])


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.lists(st.integers(0, 4), min_size=1, max_size=5),
    st.integers(0, 2**32 - 1),
)
def test_sixteen_bits_survive_every_row_filter(high: int, wide: int, filters: list[int], seed: int) -> None:
    red = np.random.default_rng(seed).integers(0, 65536, (high, wide)).astype(np.uint16)
    with TemporaryDirectory() as folder:
        assert np.array_equal(read_red16(put_red16(Path(folder) / "a.png", red, tuple(filters))), red)
