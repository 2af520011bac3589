"""Properties of the meshes, relief, depth-head and inversion scores of protocol generation_3d."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.cameras import look_at, project
from harness.data.meshes import box, joined, unit_sphere
from harness.metrics.isosurface import Mesh
from harness.metrics.shape import box_diagonal
from harness.priors import PRIORS
from suites.protocols.generation import geometry, heads, inversion_scores, shapes
from suites.protocols.generation.inversion_scores import CAP, PICTURES, SIDES, SURFACE, score_inversion, score_surfaces
from suites.protocols.generation.meshes import LEVEL, Meshes, densities, height_fields, seen_points
from suites.protocols.generation.sheet import Sheet

FEW = settings(deadline=None, max_examples=20)
FEWER = settings(deadline=None, max_examples=4)
PRIOR = PRIORS["wide60"]
SIDE = 8
seeds = st.integers(0, 2**32 - 1)
NOTHING = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))


def solid(*half: float, centre: tuple[float, ...] = (0, 0, 0)) -> Mesh:
    made = box(centre, half)
    return Mesh(made.vertices.astype(np.float64), made.faces.astype(np.int64))


@st.composite
def soups(draw: st.DrawFn) -> Mesh:
    """Some triangles between some points, now and then none."""
    rng = np.random.default_rng(draw(seeds))
    vertices = rng.normal(size=(draw(st.integers(3, 8)), 3)).astype(np.float32).astype(np.float64)
    count = draw(st.integers(0, 6))
    return Mesh(vertices, rng.integers(0, len(vertices), (count, 3))) if count else NOTHING


@st.composite
def depth_maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Depth float32 [K,8,8] around the radius and opacity uint8, with a solid square so that something is left."""
    rng = np.random.default_rng(draw(seeds))
    size = draw(st.integers(1, 3)), SIDE, SIDE
    mask = np.where(rng.random(size) < 0.8, rng.integers(128, 256, size), rng.integers(0, 128, size)).astype(np.uint8)
    mask[:, 1:7, 1:7] = 255
    return rng.uniform(0.8, 1.2, size).astype(np.float32) * np.float32(PRIOR.radius), mask


# ------------------------------------------------------------------------------------------------------- meshes
@FEW
@given(st.lists(soups(), min_size=1, max_size=4))
def test_packed_meshes_come_back(items: list[Mesh]) -> None:
    meshes = Meshes(tuple(items))
    again = Meshes.unpacked(meshes.packed("some"), "some")
    assert len(again) == len(meshes)
    for one, other in zip(meshes, again, strict=True):
        np.testing.assert_array_equal(one.vertices, other.vertices)
        np.testing.assert_array_equal(one.faces, other.faces)


class Peaks:
    """A field whose density at a point is its code times the point's first coordinate."""

    def density(self, codes: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        return codes[:, :1] * points[..., 0]


@FEW
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=3), st.integers(2, 5))
def test_densities_are_those_of_the_grid_cut_to_half_precision(codes: list[float], side: int) -> None:
    model: Any = Peaks()
    found = densities(model, torch.tensor(codes)[:, None], side)
    assert (found.dtype, found.shape) == (np.float16, (len(codes), side, side, side))
    along = np.linspace(-1, 1, side, dtype=np.float32)
    expected = np.clip(np.float32(codes)[:, None] * along, 0, 65504).astype(np.float16)
    np.testing.assert_allclose(found[:, :, 0, 0].astype(float), expected.astype(float), rtol=2e-3, atol=1e-6)
    assert (found == found[:, :, :1, :1]).all()


@FEW
@given(seeds, st.integers(1, 3))
def test_a_surface_stands_where_the_density_passes_the_level(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    found = Meshes.of_densities(np.concatenate([rng.uniform(0, 2 * LEVEL, (count, 5, 5, 5)), np.zeros((1, 5, 5, 5))]))
    assert len(found) == count + 1
    assert [len(mesh.faces) > 0 for mesh in found] == [True] * count + [False]
    for mesh in found:
        assert (np.abs(mesh.vertices) <= 1).all()
        assert mesh.faces.size == 0 or mesh.faces.max() < len(mesh.vertices)


@FEW
@given(depth_maps())
def test_a_sheet_of_a_depth_map_is_seen_where_it_was_measured(made: tuple[np.ndarray, np.ndarray]) -> None:
    depth, mask = made
    sheets = height_fields(depth, mask, PRIOR)
    camera = look_at(torch.full((1,), PRIOR.azimuth[0]), torch.full((1,), PRIOR.elevation[0]), PRIOR)
    for sheet, z, opacity in zip(sheets, depth, mask, strict=True):
        opaque = opacity > 127
        whole = opaque[:-1, :-1] & opaque[:-1, 1:] & opaque[1:, :-1] & opaque[1:, 1:]
        assert len(sheet.faces) == 2 * whole.sum()
        assert set(np.unique(sheet.faces)) <= set(np.flatnonzero(opaque))
        _, back = project(torch.from_numpy(sheet.vertices).float()[None], camera)
        np.testing.assert_allclose(back[0].numpy(), z.reshape(-1), rtol=1e-4)


@FEWER
@given(st.tuples(*[st.floats(0.2, 0.8)] * 3), st.integers(20, 200), seeds)
def test_seen_points_lie_on_the_outside_of_what_faces_a_camera(half: tuple[float, ...], count: int, seed: int) -> None:
    shell = solid(*half)
    points, normals = seen_points(shell, PRIOR, count, seed)
    assert 0 < len(points) <= count
    np.testing.assert_allclose(np.abs(points / half).max(1), 1, atol=1e-5)
    assert ((points * normals).sum(1) > 0).all()
    front = -look_at(torch.zeros(1), torch.zeros(1), PRIOR).cam2world[0, :3, 2].numpy()
    assert (normals @ front > -0.9).all()  # no camera of the prior stands behind the object
    again, _ = seen_points(shell, PRIOR, count, seed)
    np.testing.assert_array_equal(points, again)
    inner = box((0, 0, 0), tuple(0.5 * h for h in half))
    both = joined([box((0, 0, 0), half), inner])
    nested, _ = seen_points(Mesh(both.vertices.astype(np.float64), both.faces.astype(np.int64)), PRIOR, count, seed)
    np.testing.assert_allclose(np.abs(nested / half).max(1), 1, atol=1e-5)
    assert len(seen_points(NOTHING, PRIOR, count, seed)[0]) == 0


# ------------------------------------------------------------------------------------------------------- shapes
@FEW
@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), seeds)
def test_floaters_are_the_parts_beside_the_largest(parts: list[int], seed: int) -> None:
    corners = [(1, 1, 1), (1, 1, 6), (1, 6, 1), (6, 1, 1)]
    grids = np.zeros((len(parts), 8, 8, 8), np.float16)
    for grid, count in zip(grids, parts, strict=True):
        for corner in corners[:count]:
            grid[corner] = 2 * LEVEL
    sheet, other = Sheet(), Sheet()
    shapes.score_solids(sheet, {"densities": grids})
    shapes.score_solids(other, {"densities": np.random.default_rng(seed).permutation(grids)})
    known = [count - 1 for count in parts if count]
    assert sheet.metrics["empties"] == 1 - len(known) / len(parts)
    np.testing.assert_equal(sheet.metrics["floaters"], np.mean(known) if known else np.nan)
    assert sheet.notes == ({} if known else {"floaters": shapes.EMPTY_FIELD})
    for column in shapes.MESHES:
        np.testing.assert_allclose(other.metrics[column], sheet.metrics[column])


@FEW
@given(depth_maps(), st.floats(0.25, 4))
def test_the_relief_of_the_judge_itself_is_right_at_any_scale(
    made: tuple[np.ndarray, np.ndarray], factor: float
) -> None:
    depth, mask = made
    sheet = Sheet()
    shapes.score_relief(sheet, depth * np.float32(factor), mask, torch.from_numpy(depth))
    found = sheet.metrics
    assert math.isclose(found["std_ratio"], factor, rel_tol=1e-3)
    assert math.isclose(found["relief_corr"], 1, abs_tol=1e-6)
    assert math.isclose(found["relief_ratio"], factor, rel_tol=1e-3)
    assert found["concave"] == 0
    share = mask / 255
    assert math.isclose(found["opacity_soft"], ((share > 0.1) & (share < 0.9)).mean(), abs_tol=1e-9)


@FEW
@given(depth_maps())
def test_relief_without_an_opaque_pixel_is_missing_with_a_reason(made: tuple[np.ndarray, np.ndarray]) -> None:
    depth, mask = made
    sheet = Sheet()
    shapes.score_relief(sheet, depth, np.zeros_like(mask), torch.from_numpy(depth))
    assert all(math.isnan(sheet.metrics[column]) for column in shapes.RELIEF[:-1])
    assert {sheet.notes[column] for column in shapes.RELIEF[:-1]} == {geometry.EMPTY}
    assert sheet.metrics["opacity_soft"] == 0


# -------------------------------------------------------------------------------------------------------- heads
class Exact:
    """A data set of pictures whose first channel codes the depth."""

    def __init__(self, depth: np.ndarray, mask: np.ndarray, fields: tuple[str, ...] = heads.TRUTH) -> None:
        image = np.random.default_rng(0).integers(0, 256, (*depth.shape, 3)).astype(np.uint8)
        arrays = {"image": image, "depth": np.where(mask > 127, depth, 0), "coverage": mask}
        self.only = SimpleNamespace(fields=fields, view=lambda names: {name: arrays[name] for name in names})

    def split(self, name: str) -> Any:
        return self.only


class Brightness:
    """Reads a depth from the brightness of a picture."""

    def read_depth(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(1) + 3


@FEW
@given(depth_maps())
def test_a_head_is_asked_for_the_first_pictures_of_data_that_know_their_depth(
    made: tuple[np.ndarray, np.ndarray],
) -> None:
    dataset: Any = Exact(*made)
    model, context = Brightness(), SimpleNamespace(device="cpu")
    for count in (1, len(made[0])):
        found = heads.read(model, dataset, count, context)["head_depth"]  # type: ignore[arg-type]
        pictures = dataset.only.view(("image",))["image"][:count]
        np.testing.assert_allclose(found, (pictures / 127.5 - 1).mean(-1) + 3, rtol=1e-5)
    blind: Any = Exact(*made, fields=("image",))
    assert heads.read(model, blind, 1, context) == {}  # type: ignore[arg-type]


@FEW
@given(depth_maps(), st.floats(0.25, 4), seeds)
def test_a_right_head_has_no_error_at_any_scale_and_floors_do_not_know_it(
    made: tuple[np.ndarray, np.ndarray], factor: float, seed: int
) -> None:
    dataset: Any = Exact(*made)
    mean_map = made[0].mean(0)
    right, wrong = Sheet(), Sheet()
    heads.score_head(right, {"head_depth": made[0] * np.float32(factor)}, dataset, mean_map)
    other = np.random.default_rng(seed).uniform(1, 9, made[0].shape)
    heads.score_head(wrong, {"head_depth": other}, dataset, mean_map)
    assert math.isclose(right.metrics[heads.COLUMNS[0]], 0, abs_tol=1e-4)
    assert math.isclose(right.metrics["head_corr"], 1, abs_tol=1e-4)
    assert wrong.metrics[heads.COLUMNS[0]] > right.metrics[heads.COLUMNS[0]]
    assert -1 <= wrong.metrics["head_corr"] <= 1
    for column in heads.COLUMNS[1:3]:
        assert wrong.metrics[column] == right.metrics[column] >= 0


# ---------------------------------------------------------------------------------------------------- inversion
@st.composite
def inverted(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """Arrays of ``inversion.invert`` for K objects in V views, without surfaces; own and true ones unrelated."""
    rng = np.random.default_rng(draw(seeds))
    size = draw(st.integers(1, 2)), draw(st.integers(2, 3)), SIDE, SIDE
    arrays: dict[str, np.ndarray] = {}
    for name in ("inv_views", "inv_truth"):
        arrays[name] = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    for name in ("inv_depth", "inv_truth_depth"):
        arrays[name] = rng.uniform(3, 5, size).astype(np.float32)
    for name in ("inv_mask", "inv_truth_mask"):
        arrays[name] = np.full(size, 255, np.uint8)
    return arrays


def scored(arrays: dict[str, np.ndarray]) -> Sheet:
    sheet, dataset = Sheet(), SimpleNamespace(spec=SimpleNamespace(prior=PRIOR))
    score_inversion(sheet, arrays, dataset, np.linspace(3, 5, SIDE * SIDE).reshape(SIDE, SIDE))  # type: ignore[arg-type]
    return sheet


@FEW
@given(inverted())
def test_the_truth_itself_has_no_error_and_its_pictures_no_finite_ratio(arrays: dict[str, np.ndarray]) -> None:
    exact = {name: arrays[name.replace("inv_views", "inv_truth")] for name in ("inv_views", "inv_truth")}
    for name in ("depth", "mask"):
        exact[f"inv_{name}"] = exact[f"inv_truth_{name}"] = arrays[f"inv_truth_{name}"]
    sheet = scored(exact)
    assert all(math.isnan(sheet.metrics[column]) for column in PICTURES)
    assert {sheet.notes[column] for column in PICTURES} == {inversion_scores.EXACT}
    assert all((sheet.per_sample[column] == CAP).all() for column in PICTURES)
    assert all(sheet.metrics[column] == 0 for column in SIDES)
    assert {sheet.notes[column] for column in SURFACE} == {inversion_scores.NO_MESH}


@FEW
@given(inverted(), st.sampled_from(["all", "given", "first"]))
def test_objects_that_no_code_explains_lack_a_depth_and_leave_the_rest(
    arrays: dict[str, np.ndarray], gone: str
) -> None:
    where = {"all": (slice(None),), "given": (slice(None), 0), "first": (0,)}[gone]
    arrays["inv_mask"][where] = 0
    sheet = scored(arrays)
    views = arrays["inv_mask"].shape[:2]
    empty = int((arrays["inv_mask"].reshape(*views, -1) == 0).all(-1).sum())
    assert int(np.isnan(sheet.per_sample["inv_side"]).sum()) == empty
    assert sheet.notes["inversion_depth"].startswith(f"{math.prod(views) - empty} of {math.prod(views)} views")
    assert math.isnan(sheet.metrics[SIDES[0]]) == (gone in ("all", "given") or views[0] == 1)
    assert math.isfinite(sheet.metrics[PICTURES[0]])


@FEW
@given(inverted(), st.floats(0.25, 4), seeds)
def test_scores_of_fitted_codes_do_not_depend_on_order_or_scale(
    arrays: dict[str, np.ndarray], factor: float, seed: int
) -> None:
    before = scored(arrays).metrics
    order = np.random.default_rng(seed).permutation(len(arrays["inv_views"]))
    moved = {name: array[order] for name, array in arrays.items()}
    moved["inv_depth"] = moved["inv_depth"] * np.float32(factor)
    after = scored(moved).metrics
    assert set(before) == set(after) == set(inversion_scores.COLUMNS)
    for column, value in before.items():
        np.testing.assert_allclose(after[column], value, rtol=1e-4)
    assert all(0 <= before[column] <= CAP for column in PICTURES)
    assert all(before[column] > 0 for column in SIDES)


@FEW
@given(inverted())
def test_what_a_method_cannot_have_is_missing_with_its_reason(arrays: dict[str, np.ndarray]) -> None:
    flat = {name: array for name, array in arrays.items() if "depth" not in name}
    sheet = scored(flat)
    assert {sheet.notes[column] for column in (*SIDES, *inversion_scores.FLOORS)} == {"no depth"}
    for predictions, reason in (
        ({"densities": np.zeros(1)}, inversion_scores.NO_TRUTH),
        ({}, inversion_scores.NO_FIELD),
    ):
        assert set(scored(predictions).notes.values()) == {reason}


@FEWER
@given(st.tuples(*[st.floats(0.2, 0.5)] * 3), st.floats(1.2, 1.8))
def test_a_surface_scores_best_against_itself_and_nothing_scores_worst(half: tuple[float, ...], factor: float) -> None:
    true = solid(*half)
    tables = []
    for mesh in (true, solid(*(factor * h for h in half)), NOTHING):
        sheet = Sheet()
        score_surfaces(sheet, Meshes((mesh,)), Meshes((true,)), PRIOR)
        tables.append(sheet)
    own, larger, nothing = (sheet.metrics for sheet in tables)
    assert own["inv_chamfer_l1"] < 0.02
    assert own["inv_chamfer_l1"] < larger["inv_chamfer_l1"] < nothing["inv_chamfer_l1"]
    assert own["inv_fscore"] > 0.9
    assert own["inv_fscore"] > larger["inv_fscore"] >= nothing["inv_fscore"] == 0
    assert own["inv_normal_consistency"] > 0.9 > nothing["inv_normal_consistency"]
    assert tables[2].notes["inversion"] == "1 objects, 1 without a surface"
    assert math.isclose(box_diagonal(true.vertices), 2 * math.hypot(*half), rel_tol=1e-5)


def test_a_sphere_in_a_sphere_is_only_seen_from_outside() -> None:
    outer, inner = (unit_sphere().vertices * radius for radius in (0.8, 0.4))
    faces = unit_sphere().faces.astype(np.int64)
    nested = Mesh(np.concatenate([outer, inner]).astype(np.float64), np.concatenate([faces, faces + len(outer)]))
    points, _ = seen_points(nested, PRIOR, 300, 0)
    assert (np.linalg.norm(points, axis=1) > 0.7).all()
