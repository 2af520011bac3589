"""Properties of plane sampling and of scenes rendered from any side."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.cameras import look_at, named_prior
from methods.blocks.field_rendering import Density, Rendering, field_density, render_field
from methods.blocks.triplane_decoder import TriplaneDecoder
from methods.blocks.triplane_sampling import sample_planes
from methods.blocks.volume_rendering import Quadrature

seeds = st.integers(0, 2**31 - 1)
sizes = st.sampled_from([4, 8, 16])
kinds = st.sampled_from(["released", "xy_xz_yz"])
edges = st.sampled_from(["zeros", "border"])
coefficients = st.floats(-3, 3, width=32)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@settings(deadline=None, max_examples=40)
@given(seed=seeds, size=sizes, a=coefficients, b=coefficients, c=coefficients, kind=kinds, outside=edges)
def test_linear_features_are_reproduced_between_the_outermost_nodes(
    seed: int, size: int, a: float, b: float, c: float, kind: str, outside: str
) -> None:
    x = (2 * torch.arange(size) + 1) / size - 1
    features = torch.zeros(1, 3, 1, size, size)
    features[0, 0, 0] = a * x[None, :] + b * x[:, None] + c
    points = uniform(seed, 1, 25, 3) * (1 - 1 / size)
    sampled = sample_planes(features, points, kind, outside)  # type: ignore[arg-type]
    expected = a * points[..., 0] + b * points[..., 1] + c
    torch.testing.assert_close(sampled[:, 0], expected, atol=1e-4, rtol=1e-4)


@settings(deadline=None, max_examples=40)
@given(seed=seeds, size=sizes, a=coefficients, b=coefficients, kind=kinds, outside=edges)
def test_sampling_is_linear_in_the_planes(seed: int, size: int, a: float, b: float, kind: str, outside: str) -> None:
    one, two = normal(seed, 2, 3, 4, size, size), normal(seed + 1, 2, 3, 4, size, size)
    points = 1.2 * uniform(seed + 2, 2, 15, 3)
    both = sample_planes(a * one + b * two, points, kind, outside)  # type: ignore[arg-type]
    parts = a * sample_planes(one, points, kind, outside) + b * sample_planes(two, points, kind, outside)  # type: ignore[arg-type]
    torch.testing.assert_close(both, parts, atol=1e-4, rtol=1e-4)


@settings(deadline=None, max_examples=40)
@given(seed=seeds, size=sizes, kind=kinds, outside=edges)
def test_points_and_scenes_are_sampled_one_by_one(seed: int, size: int, kind: str, outside: str) -> None:
    features, points = normal(seed, 3, 3, 4, size, size), 1.2 * uniform(seed + 1, 3, 15, 3)
    whole = sample_planes(features, points, kind, outside)  # type: ignore[arg-type]
    order = torch.randperm(15, generator=torch.Generator().manual_seed(seed))
    moved = sample_planes(features, points[:, order], kind, outside)  # type: ignore[arg-type]
    torch.testing.assert_close(moved, whole[..., order])
    for k in range(3):
        alone = sample_planes(features[k : k + 1], points[k : k + 1], kind, outside)  # type: ignore[arg-type]
        torch.testing.assert_close(alone, whole[k : k + 1])


@settings(deadline=None, max_examples=30)
@given(seed=seeds, size=sizes, kind=kinds)
def test_sampled_features_stay_within_the_range_of_the_planes(seed: int, size: int, kind: str) -> None:
    features, points = normal(seed, 2, 3, 4, size, size), 1.5 * uniform(seed + 1, 2, 40, 3)
    mean = sample_planes(features, points, kind, "border") / 3  # type: ignore[arg-type]
    assert mean.max() <= features.max() + 1e-5
    assert mean.min() >= features.min() - 1e-5


@settings(deadline=None, max_examples=20)
@given(
    seed=seeds,
    azimuth=st.floats(-3, 3, width=32),
    elevation=st.floats(-1.375, 1.375),
    kind=kinds,
    bounded=st.booleans(),
)
def test_what_a_point_is_does_not_depend_on_the_camera(
    seed: int, azimuth: float, elevation: float, kind: str, bounded: bool
) -> None:
    prior = named_prior("wide60")
    generator = torch.Generator().manual_seed(seed)
    decoder = TriplaneDecoder(
        4, 8, 3, generator, activation="softplus", scale=1 / 3, colour_gain=1.0, colour_margin=0.001
    )
    planes = normal(seed + 1, 1, 3, 4, 8, 8)
    seen: list[tuple[Tensor, Tensor]] = []

    def field(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        raw, colour = decoder(sample_planes(planes, points, kind, "border"))  # type: ignore[arg-type]
        seen.append((points, raw))
        return raw, colour

    density = Density(gain=4.0, slope=2.0, bounded=bounded)
    camera = look_at(torch.tensor([azimuth]), torch.tensor([elevation]), prior)
    how = Rendering(6, 0, Quadrature("left", "softplus_minus_1", "finite"))
    with torch.no_grad():
        view = render_field(field, camera, 4, how, density)
        points, raw = seen[0]
        asked = field_density(field, density, points, "softplus_minus_1")
    slope = density.slope * (density.radius - points.norm(dim=-1))
    value = 4.0 * torch.nn.functional.softplus(raw + slope - 1)
    inside = points.norm(dim=-1) < 1 - 1e-4
    torch.testing.assert_close(asked[inside], value[inside], atol=1e-4, rtol=1e-4)
    assert view.features.min() >= -0.001 - 1e-6
    assert view.features.max() <= 1.001 + 1e-6
    assert (view.opacity >= 0).all()
    assert (view.opacity <= 1 + 1e-6).all()
