"""Properties of family ``defects``: streams, addresses and masks."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.data import catalogue, defects
from harness.data.defects import GROUP_IDS, Address
from harness.data.defects_faults import CHANGED, LEAST, MOST, SPECK, acceptable, defect_mask

quick = settings(deadline=None, max_examples=40)
keys = st.tuples(
    st.integers(0, 2**64 - 1),
    st.integers(0, 14),
    st.sampled_from(["train", "val", "test"]),
    st.integers(0, 2**40),
    st.integers(0, 6),
    st.sampled_from(sorted(GROUP_IDS)),
    st.integers(0, 255),
)


def drawn(key: tuple) -> np.ndarray:
    seed, category, split, index, defect, group, attempt = key
    spec = catalogue.spec("defects", seed=seed)
    return defects.stream(spec, Address(category, split, index, defect, defect), group, attempt).random(4)


@quick
@given(keys, keys)
def test_streams_are_functions_of_their_address(one: tuple, other: tuple) -> None:
    assert np.array_equal(drawn(one), drawn(one))
    assert np.array_equal(drawn(one), drawn(other)) == (one == other)


@quick
@given(keys, st.integers(0, 6), st.data())
def test_every_part_of_the_address_matters(key: tuple, part: int, data: st.DataObject) -> None:
    changed = list(key)
    changed[part] = data.draw(keys.map(lambda other: other[part]).filter(lambda value: value != key[part]))
    assert not np.array_equal(drawn(key), drawn(tuple(changed)))


@quick
@given(st.integers(1, 15), st.sampled_from(["smoke", "micro", "small"]), st.sampled_from(["train", "val", "test"]))
def test_rows_are_distinct_and_balanced(count: int, tier: str, split: str) -> None:
    spec = catalogue.spec("defects", tier=tier, categories=count)
    places = [defects.address(spec, split, row) for row in range(spec.splits[split])]
    assert len(set(places)) == len(places)
    per_category = np.bincount([place.category for place in places], minlength=count)
    assert len(set(per_category.tolist())) == 1
    for place in places[:count]:
        assert place.defect == 0
        assert place.index == 0


@quick
@given(arrays.arrays(np.float32, (16, 16), elements=st.floats(0, 0.0625, width=32)))
def test_masks_hold_the_changed_pixels_without_specks(change: np.ndarray) -> None:
    mask = defect_mask(change)
    changed = change > CHANGED
    assert mask.sum() == 0 or mask.sum() >= SPECK
    rows, columns = np.nonzero(changed & ~mask)
    for row, column in zip(rows, columns, strict=True):  # a dropped pixel belongs to a component below SPECK pixels
        around = changed[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        assert around.sum() < SPECK
    assert acceptable(mask, change) <= (LEAST <= mask.sum() <= MOST * mask.size)
