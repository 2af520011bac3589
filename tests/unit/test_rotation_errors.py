"""Rotation errors of pairs of views against known answers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.data import rooms
from harness.metrics.consistency import warping_error
from harness.metrics.errors import EmptyInput, MetricError, NonFinite, NonPositiveDepth, OutOfRange, ProtocolMismatch
from harness.metrics.rotation import CARDS, RotationErrors, rotate, rotation_errors
from tests.unit.rgbd_data import FOCAL, SIDE, UNIT, walls
from tests.unit.test_rooms import room_spec


def noise(*shape: int, seed: int = 0, low: float = 0.3, high: float = 0.9) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)


def angle(theta: float, n: int = 4) -> Tensor:
    return torch.full((n,), theta, dtype=torch.float64)


def test_two_equal_views_without_rotation_have_no_error() -> None:
    depth, images = noise(4, SIDE, SIDE), noise(4, 3, SIDE, SIDE, seed=1, low=-1, high=1)
    found = rotation_errors(depth, depth, angle(0.0), focal=FOCAL, images=images, images_2=images)
    for column in ("e_depth", "e_rgb", "e_depth[theta=0]", "e_rgb[theta=0]", "e_rgb[theta=flipped]"):
        assert found[column] == pytest.approx(0, abs=1e-12)
    assert found["mask_share"] == 1
    assert found["warp_psnr"] == 100


def test_the_identity_warp_returns_any_picture() -> None:
    depth, images = noise(4, SIDE, SIDE), noise(4, 3, SIDE, SIDE, seed=1)
    warp = rotate(depth, angle(0.0), focal=FOCAL * SIDE)
    assert bool(warp.inside.all())
    torch.testing.assert_close(warp.sample(images), images, rtol=0, atol=1e-12)
    torch.testing.assert_close(warp.z, depth, rtol=0, atol=1e-12)


def test_a_frontal_plane_tilts_about_the_middle_column() -> None:
    z, theta = 0.7, 0.2
    warp = rotate(torch.full((1, SIDE, SIDE), z, dtype=torch.float64), angle(theta, 1), focal=FOCAL * SIDE)
    x = ((torch.arange(SIDE, dtype=torch.float64) + 0.5) / SIDE - 0.5) * z / FOCAL
    expected = (z - math.sin(theta) * x).expand(SIDE, SIDE)
    torch.testing.assert_close(warp.z[0], expected, rtol=0, atol=1e-12)
    across = (2 * FOCAL * math.cos(theta) * x / expected).expand(SIDE, SIDE)
    assert float(warp.inside.double().mean()) > 0.8
    torch.testing.assert_close(warp.grid[0, :, :, 0][warp.inside[0]], across[warp.inside[0]], rtol=0, atol=1e-12)


def test_distances_to_the_axis_stay() -> None:
    depth, focal = noise(2, SIDE, SIDE), FOCAL * SIDE
    warp = rotate(depth, angle(0.15, 2), focal=focal)
    x = depth * ((torch.arange(SIDE, dtype=torch.float64) + 0.5 - SIDE / 2) / focal)
    pivot = [((side.amax((1, 2)) + side.amin((1, 2))) / 2)[:, None, None] for side in (x, depth)]
    inside = warp.inside
    turned = warp.grid[..., 0] / 2 * SIDE / focal * warp.z
    before = (x - pivot[0]).square() + (depth - pivot[1]).square()
    after = (turned - pivot[0]).square() + (warp.z - pivot[1]).square()
    torch.testing.assert_close(after[inside], before[inside])


def test_a_turned_wall_is_explained_by_its_yaw_alone() -> None:
    middle, blue = torch.tensor([0.5, 0.6, 0.7, 0.8]), torch.zeros(4)
    (images, depth), (images_2, depth_2) = (walls(angle(a), middle, blue) for a in (0.0, 0.2))
    shown = [images[:, :1].expand(-1, 3, -1, -1), images_2[:, :1].expand(-1, 3, -1, -1)]
    found = rotation_errors(depth / UNIT, depth_2 / UNIT, angle(0.2), focal=FOCAL, images=shown[0], images_2=shown[1])
    for kind in ("depth", "rgb"):
        true, still, flipped = (found[f"e_{kind}{tail}"] for tail in ("", "[theta=0]", "[theta=flipped]"))
        assert true < 0.25 * still < still < flipped
        assert found[f"gain_{kind}"] == pytest.approx(1 - true / still)
    assert found["e_depth"] < 0.01  # what is left: the outermost half pixel is blended with the zeros beyond the frame


def test_a_view_that_never_changes_has_gain_minus_infinity() -> None:
    depth = torch.full((3, SIDE, SIDE), 0.6)
    images = noise(3, 3, SIDE, SIDE)
    found = rotation_errors(depth, depth, angle(0.2, 3), focal=FOCAL, images=images, images_2=images)
    assert found["gain_depth"] == found["gain_rgb"] == -math.inf
    assert found["e_depth[theta=0]"] == 0
    assert 0 < found["e_depth"] < 0.1  # small: a flat depth alone looks good


def test_errors_scale_with_the_intensity_and_gains_do_not() -> None:
    depths = noise(4, SIDE, SIDE), noise(4, SIDE, SIDE, seed=2)
    images = noise(4, 3, SIDE, SIDE, seed=3, low=-1, high=1), noise(4, 3, SIDE, SIDE, seed=4, low=-1, high=1)
    one, half = (
        rotation_errors(*depths, angle(0.1), focal=FOCAL, images=images[0] * k, images_2=images[1] * k)
        for k in (1.0, 0.5)
    )
    for tail in ("", "[theta=0]", "[theta=flipped]"):
        assert half[f"e_rgb{tail}"] == pytest.approx(one[f"e_rgb{tail}"] / 2)
        assert half[f"e_depth{tail}"] == one[f"e_depth{tail}"]
    assert half["gain_rgb"] == pytest.approx(one["gain_rgb"])


def test_pixels_that_leave_the_frame_do_not_matter() -> None:
    depths = noise(4, SIDE, SIDE), noise(4, SIDE, SIDE, seed=2)
    first, second = (noise(4, 3, SIDE, SIDE, seed=k) for k in (3, 4))
    outside = ~rotate(depths[0], angle(0.25), focal=FOCAL * SIDE).inside
    assert 0 < float(outside.double().mean()) < 0.5
    changed = torch.where(outside[:, None], torch.tensor(0.0, dtype=torch.float64), first)
    one, two = (
        rotation_errors(*depths, angle(0.25), focal=FOCAL, images=side, images_2=second) for side in (first, changed)
    )
    assert one["e_rgb"] == two["e_rgb"]
    assert one["e_rgb[theta=0]"] != two["e_rgb[theta=0]"]


def test_sums_over_pairs_are_divided_at_the_end() -> None:
    """A ratio of sums is not the mean of the pairs' ratios."""
    depth, depth_2 = noise(6, SIDE, SIDE), noise(6, SIDE, SIDE, seed=1)
    theta = torch.linspace(-0.4, 0.4, 6, dtype=torch.float64)
    errors = RotationErrors(focal=FOCAL)
    errors.update(depth, depth_2, theta)
    rows = dict(zip(errors.FIELDS, errors.per_sample().T, strict=True))
    value = errors.compute()["e_depth"]
    assert value == pytest.approx(rows["depth"].sum() / rows["inside"].sum())
    assert value != pytest.approx((rows["depth"] / rows["inside"]).mean())


def test_the_general_warping_error_agrees() -> None:
    """``consistency.warping_error`` takes the warp as given and has its own bilinear sampling."""
    depth, depth_2 = noise(3, SIDE, SIDE), noise(3, SIDE, SIDE, seed=1)
    images, images_2 = noise(3, 3, SIDE, SIDE, seed=2), noise(3, 3, SIDE, SIDE, seed=3)
    warp = rotate(depth, angle(0.2, 3), focal=FOCAL * SIDE)
    peer = warping_error(
        torch.cat([images, images_2]),
        torch.cat([depth, depth_2]),
        torch.cat([(warp.grid + 1) / 2, warp.z[..., None]], dim=-1),
        warp.inside,
        pairs=torch.tensor([[0, 3], [1, 4], [2, 5]]),
    )
    found = rotation_errors(depth, depth_2, angle(0.2, 3), focal=FOCAL, images=images, images_2=images_2)
    assert found["e_depth"] == pytest.approx(peer["depth"], rel=1e-12)
    assert found["e_rgb"] == pytest.approx(peer["rgb"], rel=1e-12)


def test_hidden_pixels_do_not_count_in_the_psnr() -> None:
    """View 2 has a near strip in front of what view 1 sees; only the strip differs in colour."""
    depth = torch.full((1, SIDE, SIDE), 0.8, dtype=torch.float64)
    near = depth.clone()
    near[:, :, 6:9] = 0.3
    images = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64)
    images_2 = torch.where((near < 0.5)[:, None], 1.0, images)
    found = rotation_errors(depth, near, angle(0.0, 1), focal=FOCAL, images=images, images_2=images_2)
    assert found["warp_psnr"] == 100
    assert found["e_rgb"] == pytest.approx(3 / SIDE)


def test_points_behind_the_camera_do_not_count() -> None:
    warp = rotate(torch.ones(1, SIDE, SIDE, dtype=torch.float64), angle(1.5, 1), focal=0.2 * SIDE)
    assert bool((warp.z <= 0).any())
    assert not bool(warp.inside[warp.z <= 0].any())
    assert bool(torch.isfinite(warp.sample(noise(1, 3, SIDE, SIDE))).all())


def test_nothing_in_frame_is_an_error() -> None:
    depth = torch.where(torch.arange(SIDE) % 2 > 0, 0.3, 1.3).expand(1, SIDE, SIDE).contiguous()
    with pytest.raises(EmptyInput):
        RotationErrors(focal=FOCAL).compute()
    with pytest.raises(EmptyInput, match="no pixel"):
        rotation_errors(depth, depth, angle(math.pi / 2, 1), focal=50.0)


def test_depth_alone_gives_no_rgb_columns() -> None:
    depth = noise(2, SIDE, SIDE)
    found = rotation_errors(depth, depth.flip(0), angle(0.1, 2), focal=FOCAL)
    assert math.isfinite(found["gain_depth"])
    assert all(math.isnan(found[column]) for column in ("e_rgb", "gain_rgb", "warp_psnr"))


def test_state_and_merging() -> None:
    depth, other = noise(5, SIDE, SIDE), noise(5, SIDE, SIDE, seed=1)
    theta = torch.linspace(-0.2, 0.2, 5)
    whole = RotationErrors(focal=FOCAL)
    whole.update(depth, other, theta)
    parts = [RotationErrors(focal=FOCAL) for _ in range(2)]
    parts[0].update(depth[:2], other[:2], theta[:2])
    parts[1].load_state_dict(parts[0].state_dict())
    parts[0].reset()
    parts[0].update(depth[2:].numpy(), other[2:].numpy(), theta[2:].numpy())
    assert parts[1].merge(parts[0]).compute() == pytest.approx(whole.compute(), nan_ok=True)
    assert np.array_equal(parts[1].per_sample(), whole.per_sample(), equal_nan=True)
    with pytest.raises(ProtocolMismatch):
        whole.merge(RotationErrors(focal=1.0))
    with pytest.raises(MetricError):
        whole.load_state_dict({"rows": np.zeros((2, 3))})


def test_bad_input_is_named() -> None:
    depth, images = noise(2, SIDE, SIDE), noise(2, 3, SIDE, SIDE)
    broken = depth.clone()
    broken[1, 3, 4] = math.nan
    for error, call in (
        (NonFinite, lambda: rotation_errors(broken, depth, angle(0.1, 2), focal=FOCAL)),
        (NonPositiveDepth, lambda: rotation_errors(depth, depth - 5, angle(0.1, 2), focal=FOCAL)),
        (MetricError, lambda: rotation_errors(depth, depth[:1], angle(0.1, 2), focal=FOCAL)),
        (MetricError, lambda: rotation_errors(depth, depth, angle(0.1, 3), focal=FOCAL)),
        (MetricError, lambda: rotation_errors(depth, depth, angle(0.1, 2), focal=FOCAL, images=images)),
        (OutOfRange, lambda: RotationErrors(focal=0.0)),
        (EmptyInput, lambda: rotation_errors(depth[:0], depth[:0], angle(0.1, 0), focal=FOCAL)),
    ):
        with pytest.raises(error):
            call()


def test_every_column_belongs_to_a_card() -> None:
    names = {card.name for card in CARDS}
    depth = noise(2, SIDE, SIDE)
    assert {column.partition("[")[0] for column in rotation_errors(depth, depth, angle(0.1, 2), focal=FOCAL)} == names


@pytest.mark.parametrize(("fov", "focal"), [("wide", 1.016), ("narrow", 2.03)])
def test_exact_views_of_rooms_pass_the_sanity_gate(fov: str, focal: float) -> None:
    """DepthGAN dossier, 12.3: true < none < flipped < shuffled decides about sign, axis and coding; a flat depth has a
    low error, no gain, and explains colours less."""
    count, several = 10, 5
    fields = rooms.samples(room_spec(fov=fov), "multiview", 0, count * several, ("image", "depth_coded", "pose"))
    depth = (fields["depth_coded"] / 60000 + 0.13).reshape(count, several, 32, 32)
    images = (fields["image"].transpose(0, 3, 1, 2) / 127.5 - 1).reshape(count, several, 3, 32, 32)
    yaw = fields["pose"][:, 0].astype(np.float64).reshape(count, several)

    def errors(depth: np.ndarray, other: int = 0) -> dict[str, float]:
        found = RotationErrors(focal=focal)
        for one, two in itertools.permutations(range(several), 2):
            second, shown = (np.roll(side[:, two], other, 0) for side in (depth, images))
            found.update(depth[:, one], second, yaw[:, two] - yaw[:, one], images[:, one], shown)
        return found.compute()

    true, shuffled, flat = errors(depth), errors(depth, 1), errors(np.full_like(depth, depth.mean()))
    for kind in ("depth", "rgb"):
        order = [true[f"e_{kind}{tail}"] for tail in ("", "[theta=0]", "[theta=flipped]")]
        assert order == sorted(order)
        assert order[-1] < shuffled[f"e_{kind}"]
        assert true[f"gain_{kind}"] > max(0.05, shuffled[f"gain_{kind}"])
    assert flat["gain_depth"] == -math.inf
    assert flat["e_depth"] < true["e_depth[theta=flipped]"]
    assert flat["gain_rgb"] < true["gain_rgb"] - 0.05
