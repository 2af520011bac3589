"""The depth rasteriser against closed forms, finite differences and degenerate meshes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.types import DataError
from methods.blocks import depth_rasteriser
from methods.blocks.depth_normals import back_project, ray_slopes
from methods.blocks.depth_rasteriser import grid_faces, rasterise_depth

SIZE, FOV, FAR = 16, math.radians(30.0), 9.0
FOCAL = SIZE / 2 / math.tan(FOV / 2)


def _mesh(depth: Tensor) -> Tensor:
    """Vertices [B,S*S,3] at the pixel centres of z-depth [B,S,S]."""
    return back_project(depth, FOV).to(depth.dtype).flatten(2).transpose(1, 2).contiguous()


def _relief(n: int = 3, seed: int = 0) -> Tensor:
    return 4 + 0.1 * torch.rand(n, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def _yaw(vertices: Tensor, angle: float, centre: float) -> Tensor:
    cos, sin = math.cos(angle), math.sin(angle)
    x, y, z = vertices.unbind(-1)
    z = z - centre
    return torch.stack((cos * x + sin * z, y, -sin * x + cos * z + centre), -1)


def test_faces_of_a_grid_share_every_cell_between_two_triangles() -> None:
    faces = grid_faces(3, 4)
    assert faces.shape == (12, 3)
    assert faces[:2].tolist() == [[0, 4, 1], [1, 4, 5]]
    assert sorted(set(faces.flatten().tolist())) == list(range(12))


def test_an_unmoved_mesh_gives_its_depth_back_up_to_the_border() -> None:
    depth = _relief()
    seen, covered = rasterise_depth(_mesh(depth), grid_faces(SIZE, SIZE), FOCAL, (SIZE, SIZE), FAR)
    assert covered.all()
    assert (seen - depth).abs().max() < 1e-5


@pytest.mark.parametrize("angle", [0.3, -0.7, 1.0])
def test_a_turned_sheet_is_an_analytic_plane(angle: float) -> None:
    vertices = _yaw(_mesh(torch.full((1, SIZE, SIZE), 4.0)), angle, 4.0)
    seen, covered = rasterise_depth(vertices, grid_faces(SIZE, SIZE), FOCAL, (SIZE, SIZE), FAR)
    x, y = ray_slopes(SIZE, SIZE, FOV)
    # The plane through (0, 0, 4) whose normal is (sin, 0, cos), and how far it reaches.
    plane = (4 * math.cos(angle) / (math.sin(angle) * x + math.cos(angle))).expand(SIZE, SIZE)
    reach = vertices[..., :2].abs().amax((0, 1))
    inside = ((x * plane).abs() < reach[0] - 1e-3) & ((y[:, None] * plane).abs() < reach[1] - 1e-3)
    assert inside.sum() > SIZE
    assert torch.equal(covered[0], inside)
    assert (seen[0] - plane)[inside].abs().max() < 1e-5
    assert (seen[0][~inside] == FAR).all()


def test_the_nearer_of_two_sheets_wins_whatever_their_order() -> None:
    near, back = (_mesh(torch.full((1, SIZE, SIZE), z)) for z in (3.0, 5.0))
    near = near * 0.5 + 0.5 * torch.tensor([0.0, 0.0, 3.0])  # half as wide
    faces = grid_faces(SIZE, SIZE)
    both = torch.cat((faces, faces + SIZE * SIZE))
    first, _ = rasterise_depth(torch.cat((near, back), 1), both, FOCAL, (SIZE, SIZE), FAR)
    second, _ = rasterise_depth(torch.cat((back, near), 1), both, FOCAL, (SIZE, SIZE), FAR)
    torch.testing.assert_close(first, second)
    middle = slice(SIZE // 4, -SIZE // 4)
    torch.testing.assert_close(first[:, middle, middle], torch.full((1, SIZE // 2, SIZE // 2), 3.0))
    torch.testing.assert_close(first[:, 0], torch.full((1, SIZE), 5.0))


def test_gradients_agree_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.meshgrid(torch.linspace(-0.9, 0.9, 5), torch.linspace(-0.9, 0.9, 5), indexing="xy")
    points = torch.stack((x, y, torch.full_like(x, 4.0)), -1).view(1, 25, 3).repeat(2, 1, 1).double()
    points = (points + 0.05 * torch.rand(2, 25, 3, generator=generator)).requires_grad_()

    def depth(vertices: Tensor) -> Tensor:
        return rasterise_depth(vertices, grid_faces(5, 5), 7 / 2 / math.tan(FOV / 2), (7, 7), FAR)[0]

    assert (depth(points) < FAR).float().mean() > 0.6
    assert torch.autograd.gradcheck(depth, points, eps=1e-6, atol=1e-6)


def test_a_shift_in_depth_moves_the_mean_by_the_covered_share() -> None:
    vertices = _mesh(torch.full((2, SIZE, SIZE), 4.0)) * torch.tensor([0.63, 0.41, 1.0])
    shift = torch.zeros((), requires_grad=True)
    moved = vertices + torch.stack((shift * 0, shift * 0, shift))
    seen, covered = rasterise_depth(moved, grid_faces(SIZE, SIZE), FOCAL, (SIZE, SIZE), FAR)
    share = covered.float().mean()
    assert 0.1 < share < 0.5
    (slope,) = torch.autograd.grad(seen.mean(), shift)
    assert abs(float(slope - share)) < 1e-5


def test_empty_pixels_and_invisible_triangles_send_no_gradient() -> None:
    corners = [[0.0, 0.0, 4.0], [0.5, 0.0, 4.0], [0.0, 0.5, 4.0]]  # visible
    corners += [[0.0, 0.0, 4.0], [0.2, 0.2, 4.0], [0.4, 0.4, 4.0]]  # no area
    corners += [[-1.0, -1.0, -2.0], [1.0, -1.0, -2.0], [0.0, 1.0, 3.0]]  # partly behind the camera
    vertices = torch.tensor([corners], requires_grad=True)
    seen, covered = rasterise_depth(vertices, torch.arange(9).view(3, 3), FOCAL, (SIZE, SIZE), FAR)
    assert 0 < covered.sum() < SIZE * SIZE / 4
    assert (seen[~covered] == FAR).all()
    (gradient,) = torch.autograd.grad(seen.sum(), vertices)
    assert gradient.isfinite().all()
    assert (gradient[:, :3, 2] > 0).all()
    assert (gradient[:, 3:] == 0).all()


def test_a_mesh_out_of_sight_leaves_the_frame_empty() -> None:
    vertices = _mesh(_relief(1)) + torch.tensor([100.0, 0.0, 0.0])
    seen, covered = rasterise_depth(vertices, grid_faces(SIZE, SIZE), FOCAL, (SIZE, SIZE), FAR)
    assert not covered.any()
    assert (seen == FAR).all()


@pytest.mark.parametrize("order", [[0, 1, 2, 1, 3, 2], [0, 2, 1, 1, 2, 3]])
def test_triangles_as_large_as_the_frame_are_drawn_from_both_sides(order: list[int]) -> None:
    corners = torch.tensor([[[-9.0, -9.0, 4.0], [9.0, -9.0, 4.0], [-9.0, 9.0, 4.0], [9.0, 9.0, 4.0]]])
    seen, covered = rasterise_depth(corners, torch.tensor(order).view(2, 3), FOCAL, (SIZE, SIZE), FAR)
    assert covered.all()
    torch.testing.assert_close(seen, torch.full_like(seen, 4.0))


def test_work_in_small_portions_gives_the_same_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    vertices = _yaw(_mesh(_relief(2) + (torch.arange(SIZE) > SIZE // 2) * 1.5), 0.6, 4.0)
    whole = rasterise_depth(vertices, grid_faces(SIZE, SIZE), FOCAL, (SIZE, SIZE), FAR)
    monkeypatch.setattr(depth_rasteriser, "CHUNK", 50)
    parts = rasterise_depth(vertices, grid_faces(SIZE, SIZE), FOCAL, (SIZE, SIZE), FAR)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="vertices"):
        rasterise_depth(torch.zeros(4, 3), grid_faces(2, 2), FOCAL, (SIZE, SIZE), FAR)
