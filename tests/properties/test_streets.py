"""Properties of family ``streets``: streams, addresses, and options that change nothing but what they name."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import catalogue, streets
from harness.data.streets import GROUP_IDS, LIST_IDS, Address
from harness.data.streets_domain import photograph

quick = settings(deadline=None, max_examples=40)
keys = st.tuples(
    st.integers(0, 2**64 - 1),
    st.integers(0, 255),
    st.sampled_from(sorted(LIST_IDS)),
    st.integers(0, 2**40),
    st.sampled_from(sorted(GROUP_IDS)),
)


def drawn(key: tuple) -> np.ndarray:
    *place, group = key
    return streets.stream(Address(*place), group).random(4)


@quick
@given(keys, keys)
def test_streams_are_functions_of_their_address(one: tuple, other: tuple) -> None:
    assert np.array_equal(drawn(one), drawn(one))
    assert np.array_equal(drawn(one), drawn(other)) == (one == other)


@quick
@given(keys, st.integers(0, 4), st.data())
def test_every_part_of_the_address_matters(key: tuple, part: int, data: st.DataObject) -> None:
    changed = list(key)
    changed[part] = data.draw(keys.map(lambda other: other[part]).filter(lambda value: value != key[part]))
    assert not np.array_equal(drawn(key), drawn(tuple(changed)))


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 15))
def test_budgets_of_labels_are_prefixes_of_one_list(labelled: int) -> None:
    def rows(count: int, *names: str) -> list[Address]:
        spec = catalogue.spec("streets", tier="smoke", setting="ssl", labelled=count)
        return [streets.address(spec, name, row) for name in names for row in range(spec.splits[name])]

    assert rows(labelled, "labelled", "unlabelled") == rows(8, "labelled", "unlabelled")
    assert rows(labelled, "labelled") == rows(15, "labelled")[:labelled]
    assert len(set(rows(labelled, "labelled", "unlabelled", "val", "test"))) == 16 + 8 + 8


@quick
@given(st.floats(0, 1), st.integers(0, 2**32))
def test_fog_hides_what_is_far_and_noise_has_no_sign(shift: float, seed: int) -> None:
    """A constant colour at growing depth moves towards one grey; the shift 0 leaves the colour as it is."""
    colour = np.full((48, 96, 3), 0.25, np.float32)
    depth = np.repeat(np.linspace(2, 60, 96, dtype=np.float32)[None], 48, 0)
    image = photograph(colour, depth, 48, shift, np.random.default_rng(seed)).astype(float).mean(0)
    near, far = image[:32].mean(), image[64:].mean()
    if shift == 0:
        assert np.ptp(image) == 0
        assert abs(image[0, 0] / 255 - 0.25 ** (1 / 1.3)) < 0.003
    else:
        assert far > near - 1
        again = photograph(colour, depth, 48, shift, np.random.default_rng(seed)).astype(float).mean(0)
        assert np.array_equal(image, again)
