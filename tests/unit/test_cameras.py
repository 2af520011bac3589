import math

import pytest
import torch

from harness import cameras as cam
from harness.types import ConfigError, DataError

PRIOR = cam.PRIORS["wide60"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_front_camera_has_the_documented_axes():
    front = cam.look_at(torch.zeros(1), torch.zeros(1), PRIOR)
    expected = torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 4.18], [0, 0, 0, 1]])
    torch.testing.assert_close(front.cam2world[0], expected)


def test_positive_azimuth_moves_towards_x_and_positive_elevation_upwards():
    side = cam.look_at(torch.tensor([math.pi / 2, 0.0]), torch.tensor([0.0, math.pi / 2]), PRIOR)
    torch.testing.assert_close(side.cam2world[0, :3, 3], torch.tensor([4.18, 0, 0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(side.cam2world[1, :3, 3], torch.tensor([0, 4.18, 0]), atol=1e-6, rtol=0)


def test_known_points_land_where_a_viewer_sees_them():
    front = cam.look_at(torch.zeros(1), torch.zeros(1), PRIOR)
    uv, z = cam.project(torch.tensor([[[0.0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 1]]]), front)
    assert uv[0, 0].tolist() == [0.5, 0.5]
    assert uv[0, 1, 0] > 0.5  # +X is to the right of the viewer
    assert uv[0, 2, 1] < 0.5  # +Y is up, v grows downwards
    torch.testing.assert_close(z[0], torch.tensor([4.18, 4.18, 4.18, 3.18]))


def test_ray_directions_have_unit_camera_depth_and_pixel_centres_at_halves():
    batch = cam.sample_cameras(PRIOR, 3, generator())
    origins, directions = cam.rays(batch, 4)
    points = origins[:, None] + 2.5 * directions.reshape(3, -1, 3)
    uv, z = cam.project(points, batch)
    torch.testing.assert_close(z, torch.full_like(z, 2.5))
    centres = (torch.arange(4) + 0.5) / 4
    torch.testing.assert_close(uv[..., 0].reshape(3, 4, 4), centres.expand(3, 4, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(uv[..., 1].reshape(3, 4, 4), centres[:, None].expand(3, 4, 4), atol=1e-5, rtol=0)


def test_unit_sphere_fits_the_frame_of_every_prior():
    for prior in cam.PRIORS.values():
        silhouette = math.tan(math.asin(1 / prior.radius)) / math.tan(prior.fov / 2)
        assert silhouette == pytest.approx(0.92, abs=0.002)
        assert prior.near < prior.radius - 1 < prior.radius + 1 < prior.far


@pytest.mark.parametrize("name", list(cam.PRIORS))
def test_samples_stay_in_the_prior_and_repeat_with_the_seed(name):
    prior = cam.PRIORS[name]
    one, two = cam.sample_cameras(prior, 500, generator(3)), cam.sample_cameras(prior, 500, generator(3))
    assert torch.equal(one.cam2world, two.cam2world)
    reach = cam.GAUSS_CLIP if prior.kind == "gauss" else 1.0
    assert ((one.azimuth - prior.azimuth[0]).abs() <= reach * prior.azimuth[1] + 1e-5).all()
    assert ((one.elevation - prior.elevation[0]).abs() <= reach * prior.elevation[1] + 1e-5).all()
    assert one.azimuth.std() > 0.5 * prior.azimuth[1]


def test_hemisphere_is_uniform_in_area():
    elevation = cam.sample_cameras(cam.PRIORS["hemisphere"], 20000, generator()).elevation
    low = math.sin(math.radians(3))
    assert elevation.sin().mean().item() == pytest.approx((low + 1) / 2, abs=0.01)


def test_wrong_priors_are_narrower_and_shifted():
    assert cam.widened(PRIOR, 0.5).azimuth[1] == PRIOR.azimuth[1] / 2
    assert cam.widened(cam.PRIORS["ring"], 2).azimuth[1] == math.pi
    moved = cam.shifted(PRIOR, 0.3)
    assert moved.azimuth == (0.3, PRIOR.azimuth[1])
    assert moved.name != PRIOR.name
    assert cam.sample_cameras(cam.shifted(cam.PRIORS["ring"], 1.0), 500, generator()).azimuth.abs().max() <= math.pi


def test_select_keeps_the_batch_dimension_and_sweep_orders_azimuths():
    sweep = cam.stack_sweep(PRIOR, [-1.0, 0.0, 1.0], elevation=0.2)
    assert len(sweep) == 3
    assert len(cam.select(sweep, 1)) == 1
    assert cam.select(sweep, [2, 0]).azimuth.tolist() == [1.0, -1.0]
    assert cam.select(sweep, torch.tensor([True, False, True])).azimuth.tolist() == [-1.0, 1.0]
    assert cam.select(sweep, slice(1, None)).cam2world.shape == (2, 4, 4)


def test_unknown_prior_names_the_nearest():
    with pytest.raises(ConfigError, match="wide60"):
        cam.named_prior("wide6")


def test_wrong_shapes_raise():
    with pytest.raises(DataError, match="look_at"):
        cam.look_at(torch.zeros(2), torch.zeros(3), PRIOR)
    with pytest.raises(DataError, match="project"):
        cam.project(torch.zeros(2, 5, 3), cam.stack_sweep(PRIOR, [0.0]))
    with pytest.raises(DataError, match="unproject"):
        cam.unproject(torch.zeros(2, 5, 3), cam.stack_sweep(PRIOR, [0.0]))
