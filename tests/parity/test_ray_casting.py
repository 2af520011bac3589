"""Cameras and multi-view metrics against Open3D's ray casting of a known mesh."""

import numpy as np
import pytest
import torch

from harness import cameras as cam
from harness.data.raycast import Caster
from harness.metrics.consistency import cycle_displacement, depth_reprojection_error, reprojection_error
from harness.metrics.depth import mean_angle_deviation, normals_from_depth
from harness.types import MissingAsset

HALF = np.array([0.6, 0.4, 0.5], np.float32)  # of a box about the origin
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32) * HALF
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
FACES = np.array([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))], np.uint32)
PRIOR, SIDE = cam.PRIORS["wide60"], 48
PAIRS = torch.tensor([[0, 1], [1, 2], [2, 1], [1, 0]])


@pytest.fixture(scope="module")
def box() -> Caster:
    try:
        return Caster(CORNERS, FACES)
    except MissingAsset as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def views(box):
    """Three views: cameras, z-depth [3,H,W] and world normals [3,H,W,3] by ray casting."""
    cameras = cam.look_at(torch.tensor([0.5, 0.7, 0.9]), torch.tensor([0.3, 0.3, 0.3]), PRIOR)
    origins, directions = cam.rays(cameras, SIDE)
    depth = np.zeros((3, SIDE * SIDE), np.float32)
    normal = np.zeros((3, SIDE * SIDE, 3), np.float32)
    for view in range(3):
        hits = box.cast(origins[view].numpy(), directions[view].reshape(-1, 3).numpy())
        depth[view, hits.ray], normal[view, hits.ray] = hits.distance, hits.normal
    return cameras, torch.from_numpy(depth).reshape(3, SIDE, SIDE), torch.from_numpy(normal).reshape(3, SIDE, SIDE, 3)


def test_distance_along_our_rays_is_z_depth(views):
    """Slab intersection in float64 against the ray caster, and the points it hits lie on the box."""
    cameras, depth, _ = views
    origins, directions = (a.double() for a in cam.rays(cameras, SIDE))
    half = torch.from_numpy(HALF).double()
    near, far = ((s * half - origins[:, None, None]) / directions for s in (-1, 1))
    enter, leave = torch.minimum(near, far).amax(-1), torch.maximum(near, far).amin(-1)
    exact = torch.where(enter < leave, enter, 0.0)
    both = (exact > 0) & (depth > 0)
    assert ((exact > 0) != (depth > 0)).double().mean() < 1e-3
    torch.testing.assert_close(depth[both].double(), exact[both], rtol=1e-5, atol=0)
    points = cam.unproject(depth, cameras)[depth > 0]
    torch.testing.assert_close((points.abs() / half).amax(-1), torch.ones(len(points)).double(), atol=1e-4, rtol=0)


def test_normals_from_depth_agree_inside_the_faces(views):
    cameras, depth, world = views
    local = torch.einsum("nij,nhwi->nhwj", cameras.cam2world[:, :3, :3], world)
    local = torch.where(local[..., 2:] > 0, -local, local)
    planes = local.movedim(-1, 1)
    highest, lowest = (s * torch.nn.functional.max_pool2d(s * planes, 3, 1, 1) for s in (1, -1))
    one_face = ((highest - lowest).amax(1) < 1e-6) & (depth > 0)
    one_face[:, [0, -1]] = one_face[:, :, [0, -1]] = False
    assert one_face.sum() > 500
    ours = normals_from_depth(depth, cameras.intrinsics)
    assert mean_angle_deviation(ours, local, mask=one_face, erode=0) < 0.05


def test_exact_renders_are_consistent_and_visibility_is_that_of_the_rays(box, views):
    cameras, depth, _ = views
    points = cam.unproject(depth, cameras)
    images = torch.where((depth > 0)[..., None], points, 0.0).movedim(-1, 1)  # each surface point has its own colour
    scores = reprojection_error(images, depth, cameras, pairs=PAIRS, norm="l1")
    assert scores["value"] < 1 / 255
    assert depth_reprojection_error(depth, cameras, pairs=PAIRS) < 0.02
    assert cycle_displacement(depth, cameras, pairs=PAIRS) < 0.05

    shares = []
    for source, into in PAIRS.tolist():
        seen = points[source][depth[source] > 0]
        eye = cameras.cam2world[into, :3, 3]
        hits = box.cast(eye.numpy(), (seen - eye).numpy())
        first = np.zeros(len(seen), bool)
        first[hits.ray] = hits.distance > 0.999
        position = (cam.project(seen[None], cam.select(cameras, [into]))[0][0] * SIDE - 0.5).double().numpy()
        low = np.floor(position).astype(int)
        solid = depth[into].numpy() > 0
        around = [solid[low[:, 1] + down, low[:, 0] + right] for down in (0, 1) for right in (0, 1)]
        shares.append((first & np.all(around, axis=0)).mean())
    assert scores["valid_fraction"] == pytest.approx(np.mean(shares), abs=0.01)
    assert 0.8 < np.mean(shares) < 1
