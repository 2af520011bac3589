"""Properties of family ``rooms``: random streams, depth codes, cameras about a pivot, and painted geometry."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.data import catalogue, rooms
from harness.data.rooms import GROUP_IDS, SPLIT_IDS, Address
from harness.data.rooms_materials import Painter
from harness.data.rooms_pieces import KINDS, Frame, Material, Pieces
from harness.data.rooms_render import camera_at

quick = settings(deadline=None, max_examples=40)
keys = st.tuples(
    st.integers(0, 2**64 - 1),
    st.integers(0, 255),
    st.sampled_from(sorted(SPLIT_IDS)),
    st.integers(0, 2**40),
    st.sampled_from(sorted(GROUP_IDS)),
)
SPEC = catalogue.spec("rooms", tier="smoke")
UNIT = float(SPEC.options["depth_unit"])


def drawn(key: tuple) -> np.ndarray:
    *place, group = key
    return rooms.stream(Address(*place), group).random(4)


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


depths = arrays.arrays(np.float32, (3, 4), elements=st.floats(0.125, 8, width=32))


@quick
@given(depths)
def test_codes_grow_with_depth_and_mean_metres(depth: np.ndarray) -> None:
    code = rooms.coded(depth, SPEC).astype(np.int64)
    order = np.argsort(depth.ravel())
    assert (np.diff(code.ravel()[order]) >= 0).all()
    inside = (depth > 0.13 * UNIT) & (depth < 1.13 * UNIT)
    metres = (code / rooms.CODES + 0.13) * UNIT
    assert (np.abs(metres - depth)[inside] <= 0.5 * UNIT / rooms.CODES + 1e-9).all()
    assert np.isin(code[~inside], (0, rooms.CODES)).all()


@quick
@given(depths, st.floats(0.25, 4))
def test_the_published_code_has_no_scale(depth: np.ndarray, scale: float) -> None:
    spec = catalogue.spec("rooms", tier="smoke", coding="per_image")
    one, other = (rooms.coded(values, spec).astype(int) for values in (depth, depth * np.float32(scale)))
    assert one.max() == rooms.CODES
    assert np.abs(one - other).max() <= 1


@quick
@given(
    st.floats(-3.1, 3.1), st.floats(-1.4, 1.4), st.floats(0.5, 9), arrays.arrays(float, 3, elements=st.floats(-5, 5))
)
def test_cameras_are_rotations_that_see_the_pivot_in_the_middle(
    yaw: float, elevation: float, radius: float, pivot: np.ndarray
) -> None:
    matrix = camera_at(pivot, yaw, elevation, radius)
    rotation = matrix[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) > 0
    np.testing.assert_allclose(rotation.T @ (pivot - matrix[:3, 3]), [0, 0, radius], atol=1e-9)
    assert rotation[1, 1] < 0  # the image's down is the world's down


@quick
@given(
    st.floats(-3, 3), st.floats(-3, 3), st.floats(-4, 4), st.floats(0.1, 2), st.floats(0.1, 2),
    st.sampled_from(["box", "soft", "ball", "post", "shade", "pot"]),
)  # fmt: skip
def test_placed_templates_keep_unit_outward_normals(
    x: float, z: float, turn: float, radius: float, height: float, shape: str
) -> None:
    pieces = Pieces()
    material, size = Material("plain", (1, 1, 1), (0, 0, 0)), [radius, height, radius]
    pieces.add(shape, 1, material, Frame(x, z, turn), [0.3, 0.5, -0.2], size)  # type: ignore[arg-type]
    geometry = pieces.geometry()
    np.testing.assert_allclose(np.linalg.norm(geometry.normals, axis=1), 1, atol=1e-5)
    middle = (geometry.vertices.max(0) + geometry.vertices.min(0)) / 2
    outward = ((geometry.vertices - middle) * geometry.normals).sum(1)
    assert (outward > -1e-4).all()
    corners = geometry.vertices[geometry.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((across * geometry.normals[geometry.faces].mean(1)).sum(1) > -1e-6).all()  # faces wind outwards


@quick
@given(st.sampled_from(KINDS), st.booleans(), st.floats(0.5, 3), st.floats(0, 50), st.integers(0, 2**32))
def test_paint_lies_between_its_two_colours(
    kind: str, across: bool, frequency: float, offset: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    first, second = generator.random(3), generator.random(3)
    pieces = Pieces()
    material = Material(kind, first, second, frequency, across, offset)  # type: ignore[arg-type]
    pieces.add("box", 1, material, Frame(0, 0), [0, 0, 0], [1, 1, 1])
    points, normal = (
        generator.uniform(-5, 5, (50, 3)).astype(np.float32),
        np.eye(3, dtype=np.float32)[[0, 1, 2, 1, 0] * 10],
    )
    albedo = Painter(pieces, np.random.default_rng(1))(np.zeros(50, np.intp), points, normal)
    low, high = np.minimum(first, second) - 1e-5, np.maximum(first, second) + 1e-5
    assert ((albedo >= low) & (albedo <= high)).all()
