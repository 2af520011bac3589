"""Rendering of radiance fields against scenes whose images are known in closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harness.cameras import look_at, named_prior, rays, select
from harness.metrics.depth import eroded, scale_invariant_depth_error
from harness.types import Cameras
from methods.blocks.field_rendering import Density, Field, Rendering, field_density, render_field
from methods.blocks.volume_rendering import Quadrature

PRIOR = named_prior("wide60")
LENGTH = PRIOR.far - PRIOR.near
SKY = (0.55, 0.75, 0.95)
LEFT = Quadrature("left", "relu", "finite")
MIDPOINT = Quadrature("midpoint", "relu", "finite")


def front(n: int = 1) -> Cameras:
    """Cameras in front of the object: the z-depth of a point is the radius less its world z."""
    return look_at(torch.zeros(n), torch.zeros(n), PRIOR)


def around(n: int) -> Cameras:
    draw = torch.rand(2, n, generator=torch.Generator().manual_seed(n))
    return look_at(draw[0] * 2 - 1, draw[1] - 0.5, PRIOR)


def stretch(cameras: Cameras, size: int) -> Tensor:
    """Length of each ray per unit of z-depth [N,H,W]."""
    return rays(cameras, size)[1].norm(dim=-1)


def fog(density: float, colour: float = 0.25, channels: int = 3) -> Field:
    """The same density and colour everywhere."""
    return lambda points, directions: (
        points.new_full(points.shape[:2], density),
        points.new_full((*points.shape[:2], channels), colour),
    )


def slab(density: float, near: float, far: float) -> Field:
    """Density between two planes of constant z-depth seen from the front; the colour is the depth."""

    def field(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        z = PRIOR.radius - points[..., 2]
        return torch.where((z > near) & (z < far), density, -1.0), z[..., None].expand(*z.shape, 3)

    return field


def ball(radius: float, steepness: float = 1e6) -> Field:
    """A solid ball about the origin, painted with the position."""
    return lambda points, directions: (steepness * (radius - points.norm(dim=-1)), points * 0.5 + 0.5)


def waves(channels: int = 3) -> Field:
    """A soft random medium in which nothing is constant."""
    generator = torch.Generator().manual_seed(5)
    to_density = torch.randn(3, 1, generator=generator) * 3
    to_colour = torch.randn(6, channels, generator=generator)

    def field(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        raw = torch.sin((points[..., None] * to_density).sum(-2)).squeeze(-1) * 3
        both = torch.cat((points, directions), -1)[..., None]
        return raw, torch.sigmoid((both * to_colour).sum(-2))

    return field


# ------------------------------------------------------------------------------------------------- closed forms
@pytest.mark.parametrize("density", [0.01, 0.5, 4.0, 40.0])
def test_homogeneous_medium_has_its_opacity_colour_and_depth(density: float) -> None:
    cameras = front()
    how = Rendering(600, 0, MIDPOINT, SKY)
    view = render_field(fog(density), cameras, 5, how, Density())
    rate = density * stretch(cameras, 5).double()  # absorption per unit of z-depth
    opacity = 1 - torch.exp(-rate * LENGTH)
    depth = PRIOR.near + 1 / rate - LENGTH * torch.exp(-rate * LENGTH) / opacity
    median = PRIOR.near - torch.log(1 - opacity / 2) / rate
    torch.testing.assert_close(view.opacity.double(), opacity, rtol=0, atol=1e-5)
    sky = torch.tensor(SKY, dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(view.features[0].double(), opacity[0] * 0.25 + (1 - opacity[0]) * sky, rtol=0, atol=1e-5)
    torch.testing.assert_close(view.depth.double(), depth, rtol=0, atol=1e-4 if density < 40 else 3e-4)
    assert (view.median.double() - median).abs().max() <= LENGTH / 599 + 1e-5


@pytest.mark.parametrize("density", [0.3, 3.0, 300.0])
@pytest.mark.parametrize("quadrature", [LEFT, MIDPOINT])
def test_slab_whose_faces_lie_between_samples_is_exact(density: float, quadrature: Quadrature) -> None:
    """Both rules see a medium of constant density on whole intervals; its faces are known to the sample."""
    samples, first, last = 101, 30, 60
    spacing = LENGTH / (samples - 1)
    near, far = PRIOR.near + (first - 0.5) * spacing, PRIOR.near + (last + 0.5) * spacing
    cameras = front(2)
    view = render_field(slab(density, near, far), cameras, 4, Rendering(samples, 0, quadrature), Density())
    inner = last - first + (1 if quadrature.rule == "left" else 0)  # intervals at full density
    # Averaging densities before the activation leaves (density - 1) / 2 on the two intervals that hold a face.
    edge = 0.0 if quadrature.rule == "left" else max(0.0, (density - 1) / 2) / density
    optical = density * (inner + 2 * edge) * spacing * stretch(cameras, 4).double()
    torch.testing.assert_close(view.opacity.double(), 1 - torch.exp(-optical), rtol=0, atol=1e-5)
    # The colour is the depth, so the image is the depth that is not divided by the opacity.
    torch.testing.assert_close(view.features[:, 0], view.depth * view.opacity, rtol=0, atol=1e-5)
    at = PRIOR.near + spacing * (first if quadrature.rule == "left" else first - 0.5)
    if density == 300.0:
        torch.testing.assert_close(view.median, torch.full((2, 4, 4), at), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("samples", "fine"), [(300, 0), (64, 64)])
def test_depth_of_a_dense_ball_is_that_of_its_surface(samples: int, fine: int) -> None:
    cameras, size, radius = around(4), 33, 0.7
    view = render_field(ball(radius), cameras, size, Rendering(samples, fine, LEFT), Density(bounded=True))
    length = stretch(cameras, size)
    sine = PRIOR.radius * (1 - 1 / length**2).clamp_min(0).sqrt()
    exact = (PRIOR.radius / length - (radius**2 - sine**2).clamp_min(0).sqrt()) / length
    mask = eroded(sine < radius, 1)
    for depth in (view.depth, view.median):
        side = scale_invariant_depth_error(depth, exact, mask=mask)
        assert side < 0.002
    flat = scale_invariant_depth_error(torch.ones_like(exact), exact, mask=mask)
    assert flat > 0.02  # a constant depth does not pass


def test_median_is_the_sample_at_which_half_the_opacity_is_reached() -> None:
    view = render_field(waves(), around(3), 9, Rendering(24, 8, LEFT), Density(gain=2.0, bounded=True))
    total = view.weights.cumsum(-1)
    at = (view.z == view.median.flatten(1)[..., None]).to(torch.uint8).argmax(-1, keepdim=True)
    half = view.opacity.flatten(1) / 2
    hit = view.opacity.flatten(1) > 1e-6
    assert hit.any()
    assert (total.gather(-1, at).squeeze(-1) >= half - 1e-6)[hit].all()
    before = total.gather(-1, (at - 1).clamp_min(0)).squeeze(-1)
    assert ((before < half) | (at.squeeze(-1) == 0))[hit].all()


# --------------------------------------------------------------------------------------------------- empty rays
@pytest.mark.parametrize("quadrature", [LEFT, MIDPOINT])
@pytest.mark.parametrize("bounded", [True, False])
def test_empty_rays_have_a_depth_and_finite_gradients(quadrature: Quadrature, bounded: bool) -> None:
    offset = torch.zeros((), requires_grad=True)

    def field(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        # Half of the picture is empty; elsewhere the medium is thin enough to come close to the limit of opacity.
        raw = torch.where(points[..., 0] > 0.2, 1e-6, -1.0) + offset * points[..., 1]
        return raw, torch.sigmoid(points + offset)

    view = render_field(field, front(), 16, Rendering(12, 6, quadrature, SKY), Density(bounded=bounded))
    empty = view.opacity <= 1e-6
    assert empty.any()
    assert not empty.all()
    assert (view.depth[empty] == PRIOR.far).all()
    assert (view.median[empty] == PRIOR.far).all()
    sky = torch.tensor(SKY)[:, None].expand(-1, int(empty.sum()))
    torch.testing.assert_close(view.features[0][:, empty[0]], sky, rtol=0, atol=1e-5)
    (gradient,) = torch.autograd.grad(view.depth.sum() + view.features.sum() + view.opacity.sum(), offset)
    assert torch.isfinite(gradient)


def test_a_scene_out_of_sight_is_only_background() -> None:
    """No sample of any ray lies in the ball: the field's number of channels is still known."""
    far_away = replace(front(), near=PRIOR.near + 50, far=PRIOR.far + 50)
    view = render_field(fog(9.0, channels=5), far_away, 4, Rendering(6, 0, LEFT, SKY), Density(bounded=True))
    assert view.features.shape == (1, 5, 4, 4)
    assert view.opacity.abs().max() == 0
    assert (view.depth == far_away.far).all()


# -------------------------------------------------------------------------------------------- chunks and batches
SETTINGS = [
    (Rendering(12, 0, LEFT, SKY), Density()),
    (Rendering(12, 8, LEFT, SKY, noise=0.5), Density(gain=3.0, slope=2.0)),
    (Rendering(12, 8, LEFT, SKY, noise=0.5, shared_jitter=True), Density(gain=3.0, bounded=True)),
    (Rendering(12, 8, MIDPOINT, (), smooth=True), Density(gain=3.0, bounded=True)),
    (Rendering(12, 8, Quadrature("left", "softplus", "infinite", last_back=True)), Density(length=0.4)),
]


@pytest.mark.parametrize(("how", "density"), SETTINGS)
@pytest.mark.parametrize("jitter", [True, False])
def test_image_does_not_depend_on_the_chunk(how: Rendering, density: Density, jitter: bool) -> None:
    size, cameras = 9, around(3)

    def draw(chunk: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(3) if jitter else None
        view = render_field(waves(7), cameras, size, replace(how, chunk=chunk), density, generator)
        return view.features, view.depth, view.opacity, view.median, view.z, view.weights

    whole = draw(0)
    with torch.no_grad():
        for chunk in (1, 7, size * size - 1, size * size, 1000):
            for a, b in zip(draw(chunk), whole, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_chunks_bound_the_points_only_without_gradients() -> None:
    seen: list[int] = []

    def counted(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(points.shape[1])
        return waves()(points, directions)

    how = Rendering(10, 0, LEFT, chunk=16)
    render_field(counted, around(2), 8, how, Density())
    assert seen == [640]
    seen.clear()
    with torch.no_grad():
        render_field(counted, around(2), 8, how, Density())
    assert seen == [160] * 4


@pytest.mark.parametrize(("how", "density"), SETTINGS)
def test_image_does_not_depend_on_the_batch(how: Rendering, density: Density) -> None:
    cameras = around(3)
    whole = render_field(waves(), cameras, 6, how, density)
    for k in range(3):
        alone = render_field(waves(), select(cameras, k), 6, how, density)
        torch.testing.assert_close(alone.features, whole.features[k : k + 1], rtol=0, atol=1e-5)
        torch.testing.assert_close(alone.depth, whole.depth[k : k + 1], rtol=0, atol=1e-4)


def test_random_numbers_come_from_the_generator_alone() -> None:
    how, density = SETTINGS[1]
    before = torch.get_rng_state()
    a = render_field(waves(), around(2), 6, how, density, torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)
    b = render_field(waves(), around(2), 6, how, density, torch.Generator().manual_seed(1))
    c = render_field(waves(), around(2), 6, how, density, torch.Generator().manual_seed(2))
    assert torch.equal(a.features, b.features)
    assert not torch.equal(a.features, c.features)


# ------------------------------------------------------------------------------------------- channels, density
def test_features_have_any_number_of_channels_and_the_background_fills_the_first() -> None:
    view = render_field(fog(-1.0, channels=8), front(2), 4, Rendering(6, 0, LEFT, SKY), Density())
    expected = torch.tensor([*SKY, 0, 0, 0, 0, 0])[None, :, None, None].expand(2, 8, 4, 4)
    torch.testing.assert_close(view.features, expected)
    torch.testing.assert_close(view.rgb, expected[:, :3] * 2 - 1)
    with pytest.raises(ValueError, match="background has 3 channels, the field 2"):
        render_field(fog(1.0, channels=2), front(), 4, Rendering(6, 0, LEFT, SKY), Density())


def test_gradients_reach_the_field_through_every_pass() -> None:
    weight = torch.ones((), requires_grad=True)

    def field(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        raw, colour = waves()(points, directions)
        return raw * weight, colour * weight

    view = render_field(field, around(2), 6, Rendering(8, 6, LEFT, SKY), Density(gain=2.0, bounded=True))
    for output in (view.features, view.depth, view.opacity):
        (gradient,) = torch.autograd.grad(output.sum(), weight, retain_graph=True)
        assert gradient.abs() > 1e-3
    assert not view.median.requires_grad


@pytest.mark.parametrize("density", [Density(), Density(2.0, 3.0, 0.6, bounded=True), Density(5.0, length=0.25)])
def test_density_is_what_rays_absorb(density: Density) -> None:
    """Its line integral is the optical thickness of the ray, in world lengths."""
    cameras, size, samples = around(2), 5, 400
    quadrature = Quadrature("left", "softplus_minus_1", "finite")
    view = render_field(waves(), cameras, size, Rendering(samples, 0, quadrature), density)
    origins, directions = rays(cameras, size)
    z = torch.linspace(PRIOR.near, PRIOR.far, samples)
    points = origins[:, None, None, None] + z[:, None] * directions[:, :, :, None]
    value = field_density(waves(), density, points.flatten(1, 3), "softplus_minus_1").view(points.shape[:-1])
    optical = (value.sum(-1) * LENGTH / (samples - 1) * stretch(cameras, size)).double()
    torch.testing.assert_close(view.opacity.double(), 1 - torch.exp(-optical), rtol=0, atol=1e-5)
    if density.bounded:
        assert (value[points.norm(dim=-1) >= 1] == 0).all()


def test_density_of_a_slab_is_per_unit_of_world_length() -> None:
    points = torch.tensor([[[0.0, 0.0, PRIOR.radius - 1.0], [0.0, 0.0, PRIOR.radius - 3.0]]])
    value = field_density(slab(2.0, 0.5, 1.5), Density(gain=3.0, length=0.1), points, "relu")
    assert value.tolist() == [[pytest.approx(0.6), 0.0]]


def test_smoothed_samples_find_a_surface_and_keep_looking_beside_it() -> None:
    """EG3D's smoothing spreads the fine samples over the neighbours of the interval that holds the surface."""
    field = ball(0.6)
    exact = PRIOR.radius - 0.6
    how = Rendering(24, 200, LEFT)
    spacing = LENGTH / 23
    shares = []
    for smooth in (False, True):
        view = render_field(field, front(), 1, replace(how, smooth=smooth), Density(bounded=True))
        distance = (view.z[0, 0] - exact).abs()
        shares.append([float((distance < k * spacing).float().mean()) for k in (1.0, 3.0)])
    assert shares[0][1] > 0.85  # all but the even samples
    assert shares[1][1] > 0.75
    assert shares[1][0] < shares[0][0]
    assert math.isfinite(shares[1][0])
