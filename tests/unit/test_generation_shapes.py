"""Meshes, inversion, depth heads and the flat card of protocol generation_3d, on shapes known in closed form."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.cameras import look_at
from harness.data.meshes import unit_sphere
from harness.metrics.isosurface import Mesh
from harness.types import RadianceField, ReadsDepth, Scores
from suites.protocols import generation_3d
from suites.protocols.generation import flat_card, inversion, inversion_scores, references, shape_pictures
from suites.protocols.generation.meshes import Meshes, densities, height_fields, seen_points
from suites.protocols.generation.sampling import bytes_of, geometry_of
from suites.protocols.generation.shading import BACKDROP, depth_colours, mesh_picture, normal_colours
from suites.protocols.generation.shapes import score_solids
from suites.protocols.generation.sheet import Sheet
from suites.protocols.generation.sizes import inverted, sizes
from tests.unit.ball_field import Ball
from tests.unit.disc_data import SIDE, SPEC, DiscDataset
from tests.unit.test_generation_protocol import Reader, Sphere, cell, context, scored

SETTINGS = {
    "n": 40,
    "latents": 4,
    "azimuths": 5,
    "views": 3,
    "meshes": 2,
    "grid": 48,
    "inversions": 2,
    "inversion_steps": 60,
}
PRIOR = SPEC.prior
assert PRIOR is not None
CODES = torch.tensor([[0.6, 0.5, -0.3, 0.1], [-0.5, -0.2, 0.4, -0.6]])


def ball(radius: float) -> Mesh:
    sphere = unit_sphere(32, 48)
    return Mesh(sphere.vertices * radius, sphere.faces.astype(np.int64))


def truth() -> dict[str, np.ndarray]:
    """Two balls as ``exact.exact_targets`` would show them."""
    azimuths = torch.from_numpy(inverted(PRIOR))
    model, columns = Ball(), []
    for azimuth in azimuths:
        renders = model.render_codes(CODES, look_at(azimuth.expand(2), torch.zeros(2), PRIOR))
        columns.append((bytes_of(renders), *geometry_of(renders)))
    names = ("inv_truth", "inv_truth_depth", "inv_truth_mask")
    return {name: np.stack(parts, axis=1) for name, parts in zip(names, zip(*columns, strict=True), strict=True)}


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judges that know the sphere; balls for the objects of split ``multiview``."""
    meshes = Meshes(tuple(ball(float(radius)) for radius in Ball().radius(CODES)))
    monkeypatch.setattr(generation_3d, "open_judges", lambda dataset, root: Reader())
    for module in (generation_3d, references):
        monkeypatch.setattr(module, "exact_targets", lambda spec, wanted: truth())
    for module in (references, inversion_scores, shape_pictures):
        monkeypatch.setattr(module, "exact_meshes", lambda dataset, count: meshes)


def run(model: Any) -> Scores:
    dataset: Any = DiscDataset()
    predictions = generation_3d.predict(model, dataset, SETTINGS, context())
    return generation_3d.score(predictions, dataset, SETTINGS, Path("unused"), cell())


def test_a_fitted_code_is_the_one_behind_the_picture() -> None:
    model = Ball()
    assert isinstance(model, RadianceField)
    cameras = look_at(torch.zeros(2), torch.zeros(2), PRIOR)
    given, spread = model.render_codes(CODES, cameras).rgb, inversion.code_spread(model, context())
    assert torch.allclose(spread, torch.full((4,), 0.4), atol=0.1)
    before = torch.get_rng_state()
    codes = inversion.fit(model, given, cameras, spread, 150)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(*(inversion.fit(model, given, cameras, spread, 3) for _ in range(2)))
    assert torch.allclose(model.radius(codes), model.radius(CODES), atol=0.01)
    assert torch.allclose(codes[:, 1:].tanh(), CODES[:, 1:].tanh(), atol=0.02)


def test_a_field_that_can_be_inverted_scores_near_the_oracle() -> None:
    scores = run(Ball())
    m = scores.metrics
    assert m["inv_psnr"] > 30
    assert m["inv_psnr_novel"] > 30
    assert m["inv_side[x100]"] < 0.2 < m["inv_side_const[x100]"]
    assert m["inv_side_novel[x100]"] < 0.2
    assert m["inv_chamfer_l1"] < 0.03
    assert m["inv_fscore"] > 0.8
    assert m["inv_normal_consistency"] > 0.95
    assert scores.notes["inversion"] == "2 objects, 0 without a surface"
    assert m["floaters"] == m["empties"] == 0
    assert scores.per_sample["inv_chamfer_l1"].shape == (2,)
    assert {"shapes", "meshes", "inversions"} <= set(scores.pictures)


def test_a_method_without_a_field_is_told_so() -> None:
    scores = scored(Sphere(depth="none"))
    for column in (*inversion_scores.COLUMNS, "floaters", "empties"):
        assert math.isnan(scores.metrics[column])
        assert "radiance field" in scores.notes[column]
    assert math.isnan(scores.metrics["std_ratio"])
    assert scores.notes["head_corr"] == "no depth head"


def test_an_exact_row_has_no_error_and_a_mean_row_has() -> None:
    dataset: Any = DiscDataset()
    exact = references.reference("oracle:held_out", dataset, sizes({**SETTINGS, "n": 16}, SPEC), 0)
    m = generation_3d.score(exact, dataset, {"n": 16}, Path("unused"), cell("oracle:held_out")).metrics
    assert m["inv_side[x100]"] == 0
    assert math.isnan(m["inv_psnr"])
    assert m["inv_chamfer_l1"] < 0.015
    assert m["inv_fscore"] > 0.9
    mean = references.reference("floor:mean_image", dataset, sizes(SETTINGS, SPEC), 0)
    floor = generation_3d.score(mean, dataset, SETTINGS, Path("unused"), cell("floor:mean_image")).metrics
    assert floor["inv_side[x100]"] == pytest.approx(floor["inv_side_mean_map[x100]"])
    assert floor["inv_chamfer_l1"] > 2 * m["inv_chamfer_l1"]


def test_a_flat_card_passes_for_consistent_and_is_still_exposed() -> None:
    dataset: Any = DiscDataset()
    made = references.reference("floor:flat_card", dataset, sizes(SETTINGS, SPEC), 0)
    scores = generation_3d.score(made, dataset, SETTINGS, Path("unused"), cell("floor:flat_card"))
    m = scores.metrics
    assert m["reproj_l1"] < 0.05 < m["reproj_floor"]
    assert m["depth_reproj"] == pytest.approx(0, abs=1e-4)
    assert m["cycle_px"] == pytest.approx(0, abs=1e-2)
    assert m["relief_ratio"] == pytest.approx(0, abs=1e-3)
    assert m["side[x100]"] >= m["side_const[x100]"] - 1e-6
    assert m["inv_side[x100]"] == pytest.approx(m["inv_side_const[x100]"], abs=1e-4)
    assert m["inv_chamfer_l1"] > 0.05
    assert math.isnan(m["inv_psnr"])
    assert {"shapes", "inversions"} <= set(scores.pictures)


def test_a_card_seen_by_its_own_camera_is_its_picture() -> None:
    picture = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    cameras = look_at(torch.tensor([0.0, 0.7]), torch.tensor([0.0, 0.2]), PRIOR)
    seen, opaque, depth = flat_card.turned(picture, torch.ones(2, SIDE, SIDE), cameras, cameras)
    assert torch.allclose(seen, picture, atol=1e-4)
    assert bool((opaque[0] > 0.99).all())
    assert torch.allclose(depth[0], torch.full_like(depth[0], PRIOR.radius), atol=1e-4)
    assert float(depth[1, :, 0].mean()) > float(depth[1, :, -1].mean()) + 0.1  # seen from its right, its left is far


def test_meshes_survive_packing_and_an_empty_one_scores_worst() -> None:
    nothing = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    packed = Meshes((ball(0.5), nothing, ball(0.25))).packed("x")
    again = Meshes.unpacked(packed, "x")
    assert [len(mesh.vertices) for mesh in again] == [len(ball(0.5).vertices), 0, len(ball(0.25).vertices)]
    assert np.allclose(again.items[2].vertices, ball(0.25).vertices, atol=1e-6)
    assert np.array_equal(again.items[2].faces, ball(0.25).faces)
    sheet = Sheet()
    inversion_scores.score_surfaces(sheet, Meshes((nothing,)), Meshes((ball(0.5),)), PRIOR)
    assert sheet.metrics["inv_fscore"] == sheet.metrics["inv_normal_consistency"] == 0
    assert sheet.metrics["inv_chamfer_l1"] > 0.5
    assert sheet.notes["inversion"] == "1 objects, 1 without a surface"


def test_only_what_cameras_can_see_of_a_shell_counts() -> None:
    inner, outer = ball(0.4), ball(0.6)
    flipped = inner.faces[:, ::-1] + len(outer.vertices)
    shell = Mesh(np.concatenate([outer.vertices, inner.vertices]), np.concatenate([outer.faces, flipped]))
    points, normals = seen_points(shell, PRIOR, 500, 0)
    assert len(points) == 500
    assert float(np.linalg.norm(points, axis=1).min()) > 0.58
    assert float((points * normals).sum(1).min()) > 0.5
    reach = math.sin(PRIOR.azimuth[1])  # directions that face no camera of the prior lie behind this
    assert float(points[:, 2].min()) > -0.6 * reach - 0.05


def test_a_density_becomes_its_ball() -> None:
    made = densities(Ball(), torch.zeros(1, 4), 32)
    assert made.dtype == np.float16
    (mesh,) = Meshes.of_densities(made)
    radii = np.linalg.norm(mesh.vertices, axis=1)
    assert float(np.abs(radii - 0.5).max()) < 0.06


def test_a_depth_map_becomes_a_sheet_that_faces_the_camera() -> None:
    depth = np.full((1, 8, 8), PRIOR.radius, np.float32)
    mask = np.zeros((1, 8, 8), np.uint8)
    mask[0, 2:6, 2:6] = 255
    (sheet,) = height_fields(depth, mask, PRIOR)
    assert len(sheet.faces) == 2 * 9
    a, b, c = (sheet.vertices[sheet.faces[:, k]] for k in range(3))
    assert bool((np.cross(b - a, c - a)[:, 2] > 0).all())
    assert np.allclose(sheet.vertices[:, 2], 0, atol=1e-5)


def test_pieces_and_empty_fields_are_told_apart() -> None:
    volume = np.zeros((3, 12, 12, 12), np.float16)
    volume[0, 2:5, 2:5, 2:5] = volume[1, 2:5, 2:5, 2:5] = volume[1, 8:10, 8:10, 8:10] = 100
    sheet = Sheet()
    score_solids(sheet, {"densities": volume})
    assert sheet.metrics == {"floaters": 0.5, "empties": pytest.approx(1 / 3)}
    score_solids(sheet, {"densities": volume[2:]})
    assert math.isnan(sheet.metrics["floaters"])
    assert sheet.notes["floaters"] == "no sample has a surface"


class Head(Sphere):
    """Reads the exact depth of the test pictures, in their order, or a constant."""

    def __init__(self, *, exact: bool) -> None:
        super().__init__()
        self.exact = exact

    def read_depth(self, images: torch.Tensor) -> torch.Tensor:
        depth = torch.from_numpy(DiscDataset().split("test").view(("depth",))["depth"][: len(images)])
        return torch.where(depth > 0, depth * 1.1, 1.0) if self.exact else torch.full_like(depth, 2.0)


def test_a_depth_head_is_scored_against_exact_depth() -> None:
    assert isinstance(Head(exact=True), ReadsDepth)
    good, flat = run(Head(exact=True)), run(Head(exact=False))
    assert good.metrics["head_side[x100]"] == pytest.approx(0, abs=1e-4)
    assert good.metrics["head_corr"] == pytest.approx(1, abs=1e-4)
    assert flat.metrics["head_side[x100]"] == pytest.approx(flat.metrics["head_side_const[x100]"])
    assert math.isnan(flat.metrics["head_corr"])
    assert good.metrics["head_side_mean_map[x100]"] > 0


@pytest.mark.parametrize("azimuth", ["follow", "mirror"])
def test_pose_errors_are_small_for_an_exact_generator_of_either_sign(azimuth: str) -> None:
    m = scored(Sphere(azimuth)).metrics
    assert m["pose_mse"] < 1e-3
    assert m["pose_geodesic"] < 1.5


def test_colours_tell_near_from_far_and_empty_from_full() -> None:
    depth = np.array([[[PRIOR.radius - 0.9, PRIOR.radius + 0.4]]])
    near, far = depth_colours(depth, np.full(depth.shape, 255, np.uint8), PRIOR)[0, 0].astype(int)
    assert near[0] > near[2]
    assert far[2] > far[0]
    assert bool((depth_colours(depth, np.zeros(depth.shape, np.uint8), PRIOR) == BACKDROP).all())
    flat = np.full((1, 6, 6), PRIOR.radius, np.float32)
    blue = normal_colours(flat, np.full(flat.shape, 255, np.uint8), PRIOR)[0, 3, 3].astype(int)
    assert np.allclose(blue, (127, 127, 255), atol=3)
    empty = mesh_picture(Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64)), 0.0, PRIOR)
    assert bool((empty == BACKDROP).all())
    clay = mesh_picture(ball(0.5), 0.3, PRIOR).astype(int)
    assert clay[48, 48, 0] > clay[48, 48, 2] > BACKDROP[2]  # its outside is warm, an inside would be blue
    assert bool((clay[0, 0] == BACKDROP).all())
