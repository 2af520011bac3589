"""Properties of the data room's pure functions: streams, factors, meshes, storage, flips, batches and resizing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.cameras import look_at
from harness.data import meshes
from harness.data.backgrounds import KINDS, draw
from harness.data.batches import ResidentBatches
from harness.data.factors import FACTOR_GROUPS, Factor, choice, units, values, widened
from harness.data.fields import FIELDS, flipped, pack, unpack
from harness.data.objects import CLASSES, camera_matrix, draw_angles, grid_angles
from harness.data.randomness import CLASS_IDS, GROUP_IDS, stream
from harness.data.shading import View
from harness.data.solids import bounding_ball
from harness.data.splits import SPLIT_IDS, TIERS, sizes
from harness.data.textures import Waves, decode, encode
from harness.priors import PRIORS

addresses = st.tuples(
    st.integers(0, 2**64 - 1),
    st.sampled_from(sorted(CLASS_IDS)),
    st.sampled_from(sorted(SPLIT_IDS)),
    st.integers(0, 2**40),
    st.sampled_from(sorted(GROUP_IDS)),
)
seeds = st.integers(0, 2**32 - 1)
quick = settings(deadline=None, max_examples=40)


def at(address: tuple) -> np.ndarray:
    seed, kind, split, index, group = address
    return stream(seed, "objects", 1, kind, SPLIT_IDS[split], index, group).random(4)


@quick
@given(addresses, addresses)
def test_streams_are_functions_of_their_address(one: tuple, other: tuple) -> None:
    assert np.array_equal(at(one), at(one))
    assert np.array_equal(at(one), at(other)) == (one == other)


@quick
@given(seeds, st.sampled_from(sorted(CLASSES)))
def test_factor_values_stay_in_their_ranges(seed: int, kind: str) -> None:
    factors = CLASSES[kind].factors
    drawn = units(factors, {group: np.random.default_rng([seed, k]) for k, group in enumerate(FACTOR_GROUPS)})
    for factor in factors:
        value = values(factors, drawn)[factor.name]
        assert factor.low <= value <= factor.high
        if factor.kind == "category":
            assert value == int(value)
            assert sum(factor.weights) == pytest.approx(1)


@quick
@given(seeds)
def test_a_factor_added_to_one_group_leaves_the_others(seed: int) -> None:
    factors = CLASSES["head"].factors
    more = (*factors, Factor("new", "shape"))

    def drawn(schema: tuple[Factor, ...]) -> dict[str, float]:
        return units(schema, {group: np.random.default_rng([seed, k]) for k, group in enumerate(FACTOR_GROUPS)})

    first, second = drawn(factors), drawn(more)
    assert all(second[name] == value for name, value in first.items())


@quick
@given(st.floats(0, 1, exclude_max=True), st.floats(0.01, 0.5))
def test_widened_units_leave_the_range_by_at_most_the_margin(unit: float, margin: float) -> None:
    moved = widened(unit, margin)
    assert -margin <= moved <= 0 or 1 <= moved <= 1 + margin


@quick
@given(st.floats(0, 1, exclude_max=True), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_categories_follow_their_weights(unit: float, counts: list[int]) -> None:
    weights = tuple(c / sum(counts) for c in counts)
    value = int(choice("c", "shape", *weights).value(unit))
    assert sum(weights[:value]) <= unit + 1e-9
    assert unit <= sum(weights[: value + 1]) + 1e-9


@quick
@given(st.sampled_from(sorted(PRIORS)), seeds)
def test_camera_matrices_equal_those_of_the_camera_module(name: str, seed: int) -> None:
    prior = PRIORS[name]
    azimuth, elevation = draw_angles(prior, np.random.default_rng(seed))
    assert -np.pi <= azimuth < np.pi
    expected = look_at(torch.tensor([azimuth]), torch.tensor([elevation]), prior)
    matrix = camera_matrix(azimuth, elevation, prior.radius)
    np.testing.assert_allclose(matrix, expected.cam2world[0].numpy(), atol=2e-5)
    np.testing.assert_allclose(View(matrix, prior.fov).intrinsics, expected.intrinsics[0].numpy(), rtol=1e-6)
    np.testing.assert_allclose(matrix[:3, :3].T @ matrix[:3, :3], np.eye(3), atol=1e-12)


@quick
@given(st.sampled_from(sorted(PRIORS)), st.integers(1, 30))
def test_view_grids_hold_distinct_poses_inside_the_prior(name: str, views: int) -> None:
    prior = PRIORS[name]
    grid = np.array([grid_angles(prior, views, k) for k in range(views)])
    assert len(np.unique(grid.round(9), axis=0)) == views
    reach = 2.0 if prior.kind == "gauss" else 1.0
    assert (np.abs(grid[:, 0] - prior.azimuth[0]) <= reach * prior.azimuth[1] + 1e-9).all()


@quick
@given(seeds, st.integers(4, 200))
def test_the_bounding_ball_encloses_and_is_near_minimal(seed: int, count: int) -> None:
    points = np.random.default_rng(seed).normal(size=(count, 3)) * [1, 2, 0.5]
    mirrored = np.concatenate([points, points * [-1, 1, 1]])
    centre, radius = bounding_ball(mirrored)
    assert centre[0] == 0
    assert np.linalg.norm(mirrored - centre, axis=1).max() <= radius * (1 + 1e-12)
    diameter = np.linalg.norm(mirrored[:, None] - mirrored[None], axis=-1).max()
    assert radius >= diameter / 2 - 1e-9
    assert radius <= diameter / np.sqrt(3) * 1.12  # Jung's bound in the plane of symmetry, and the iteration's slack


def volume(mesh: meshes.Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


sizes_3d = st.tuples(*[st.floats(0.1, 2)] * 3)


@quick
@given(sizes_3d, st.floats(-3, 3), st.floats(0.2, 1.5))
def test_primitives_have_their_volume_and_outward_unit_normals(
    half: tuple[float, float, float], angle: float, taper: float
) -> None:
    turn = meshes.rotation_x(angle) @ meshes.rotation_y(2 * angle) @ meshes.rotation_z(angle / 2)
    start, end = np.array([0.3, -0.2, 0.1]), np.array([0.3, -0.2, 0.1]) + turn[:, 0] * half[0]
    cases = (
        (meshes.box([1, 2, 3], half, rotation=turn), 8 * np.prod(half), 1e-6),
        (meshes.box([1, 2, 3], half, taper=taper, rotation=turn), 4 * np.prod(half) * (1 + taper), 1e-6),
        (meshes.ellipsoid([1, 2, 3], half, rows=40, columns=60), 4 / 3 * np.pi * np.prod(half), 0.02),
        (meshes.frustum(start, end, half[1], half[2], 60), _cone(half), 0.01),
    )
    for mesh, expected, tolerance in cases:
        assert volume(mesh) == pytest.approx(expected, rel=tolerance)
        np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-9)
        a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
        flat = np.cross(b - a, c - a)
        large = np.linalg.norm(flat, axis=1) > 1e-9
        assert (np.einsum("ij,ij->i", flat, mesh.normals[mesh.faces].mean(1))[large] > 0).all()


def _cone(half: tuple[float, float, float]) -> float:
    length, low, high = half
    return np.pi * length * (low**2 + low * high + high**2) / 3


@quick
@given(sizes_3d, st.floats(2, 8))
def test_lofts_are_closed_and_face_outwards(half: tuple[float, float, float], exponent: float) -> None:
    rows = 9
    ones = np.ones(rows)
    mesh = meshes.loft(
        np.linspace(-half[2], half[2], rows), 0 * ones, half[0] * ones, half[1] * ones, exponent=exponent, columns=200
    )
    assert np.pi * 0.98 * np.prod(half) * 2 <= volume(mesh) <= 8 * np.prod(half) * 1.0001
    edges = np.sort(np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]), 1)
    inner = edges[(edges.min(1) >= 200) & (edges.max(1) < len(mesh.vertices) - 200)]  # lids are collapsed rings
    _, count = np.unique(inner, axis=0, return_counts=True)
    assert (count == 2).mean() > 0.7


pixels = arrays.arrays(np.uint8, (3, 4, 4, 3))


@quick
@given(pixels)
def test_gamma_round_trips_every_byte(image: np.ndarray) -> None:
    assert np.array_equal(encode(decode(image)), image)


@quick
@given(arrays.arrays(np.float32, (2, 3, 3), elements=st.floats(3.125, 5.25, width=32)), st.booleans())
def test_half_precision_depth_is_exact_to_half_a_thousandth(depth: np.ndarray, empty: bool) -> None:
    if empty:
        depth[0] = 0
    radius = np.array([4.18, 4.18], np.float32)
    stored = pack("depth", depth, "half", radius)
    assert stored.dtype == np.float16
    back = unpack(stored, "half", radius)
    assert np.array_equal(back == 0, depth == 0)
    np.testing.assert_allclose(back, depth, atol=5e-4)


@quick
@given(seeds)
def test_byte_normals_are_exact_to_half_a_step(seed: int) -> None:
    normal = np.random.default_rng(seed).normal(size=(2, 3, 3, 3)).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    np.testing.assert_allclose(unpack(pack("normal", normal, "byte"), "byte"), normal, atol=0.5 / 127 + 1e-6)


@quick
@given(seeds, st.sampled_from([(0, 1, 2, 3, 4), (1, 0, 2, 4, 3), (4, 3, 2, 1, 0)]))
def test_flipping_twice_restores_every_field(seed: int, mirror: tuple[int, ...]) -> None:
    generator = np.random.default_rng(seed)
    dims = {"H": 4, "W": 6, "P": 5, "F": 3, "A": 2}
    record = {
        name: generator.normal(size=(2, *(dims[s] if isinstance(s, str) else s for s in field.shape))).astype(
            np.float32
        )
        for name, field in FIELDS.items()
    }
    twice = flipped(flipped(record, mirror), mirror)
    for name, value in record.items():
        np.testing.assert_allclose(twice[name], value, atol=1e-6, err_msg=name)


@quick
@given(st.integers(1, 12), st.integers(1, 9), seeds, st.integers(0, 12))
def test_batches_use_every_image_once_per_epoch_and_resume(count: int, size: int, seed: int, skip: int) -> None:
    images = np.repeat(np.arange(count, dtype=np.uint8), 12).reshape(count, 2, 2, 3)

    def numbers(batches: ResidentBatches) -> list[int]:
        return [round(v) for v in ((batches.next()["image"][:, 0, 0, 0] + 1) * 127.5).tolist()]

    batches = ResidentBatches(images, size, torch.Generator().manual_seed(seed))
    drawn = [number for _ in range(skip) for number in numbers(batches)]
    for epoch in range(len(drawn) // count):
        assert sorted(drawn[epoch * count : (epoch + 1) * count]) == list(range(count))
    state = batches.state_dict()
    expected = [numbers(batches) for _ in range(3)]
    other = ResidentBatches(images, size, torch.Generator().manual_seed(seed + 1))
    other.load_state_dict(state)
    assert [numbers(other) for _ in range(3)] == expected


@quick
@given(seeds, st.sampled_from(KINDS), st.floats(-1, 2))
def test_backgrounds_are_colours_of_low_saturation(seed: int, kind: str, horizon: float) -> None:
    picture = draw(np.random.default_rng(seed), 16, (kind,), horizon)
    assert picture.shape == (16, 16, 3)
    assert picture.min() >= 0
    assert picture.max() <= 1
    assert ((picture.max(-1) - picture.min(-1)) <= 0.36).all()


@quick
@given(seeds)
def test_waves_on_a_grid_equal_waves_at_points(seed: int) -> None:
    waves = Waves(np.random.default_rng(seed), 0.5, 2.5)
    x, y = np.linspace(0, 1, 7, dtype=np.float32), np.linspace(0, 1, 5, dtype=np.float32)
    points = np.stack(np.broadcast_arrays(x[None], y[:, None], np.float32(0)), -1)
    np.testing.assert_allclose(waves.plane(x, y), waves(points.reshape(-1, 3)).reshape(5, 7), atol=1e-4)


@quick
@given(st.sampled_from(TIERS), st.integers(1, 40), st.integers(1, 30))
def test_split_sizes_are_whole_pairs_and_whole_identities(tier: str, factors: int, views: int) -> None:
    rows = sizes(tier, factors, views)  # type: ignore[arg-type]
    assert set(rows) == set(SPLIT_IDS)
    assert min(rows.values()) > 0
    assert rows["pairs"] % (2 * factors) == 0
    assert rows["multiview"] % views == 0
