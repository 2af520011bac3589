"""ADA's pipe and its controller: the identity at p = 0, how often things happen, and by how much p moves."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor, nn

from harness.types import ConfigError, DataError
from methods.blocks.adversarial import r1_penalty
from methods.blocks.augmentation import Augmentation, build_augmentation
from methods.blocks.augmentation_ada import PIPES, augment
from methods.blocks.augmentation_geometry import draw_inverse

ALWAYS, NEVER = torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)


def _images(n: int = 4, channels: int = 3, size: int = 16, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(n, channels, size, size, generator=Generator().manual_seed(0), dtype=dtype) * 2 - 1


def _seed(seed: int = 1) -> Generator:
    return Generator().manual_seed(seed)


def _ada(**options: float) -> Augmentation:
    return build_augmentation("ada", device="cpu", **options)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------- the pipe
@pytest.mark.parametrize("pipe", PIPES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_whole_pipe_is_the_identity_at_zero(pipe: str, channels: int) -> None:
    images = _images(channels=channels, size=32)
    torch.testing.assert_close(augment(images, pipe, NEVER, _seed()), images, atol=2e-5, rtol=0)


def test_at_zero_an_augmentation_returns_the_images_themselves() -> None:
    images, generator = _images(), _seed()
    before = generator.get_state()
    for kind in ("none", "ada", "fixed"):
        assert build_augmentation(kind, device="cpu")(images, generator) is images
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("pipe", PIPES)
def test_every_image_changes_at_one(pipe: str) -> None:
    made = augment(_images(64), pipe, ALWAYS, _seed())
    assert made.shape == (64, 3, 16, 16)
    # A quarter of the images are not turned, half of those not mirrored, and a shift of up to 2 pixels may be none.
    share = ((made - _images(64)).abs().amax((1, 2, 3)) > 1e-3).float().mean()
    assert share > (0.9 if pipe == "blit" else 0.98)


@pytest.mark.parametrize("pipe", ["bgcfnc", "blit"])
def test_rows_depend_on_their_own_image_and_seed_only(pipe: str) -> None:
    images = _images(5)
    made = augment(images, pipe, torch.tensor(0.7), _seed(3))
    assert torch.equal(augment(images, pipe, torch.tensor(0.7), _seed(3)), made)
    assert not torch.equal(augment(images, pipe, torch.tensor(0.7), _seed(4)), made)
    images[[0, 1, 3, 4]] = 9.0
    assert torch.equal(augment(images, pipe, torch.tensor(0.7), _seed(3))[2], made[2])


def test_global_generators_are_left_alone() -> None:
    state = torch.get_rng_state()
    augment(_images(), "bgcfnc", ALWAYS, _seed())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("pipe", ["color", "filter", "noise"])
def test_depth_is_moved_and_cut_but_not_coloured(pipe: str) -> None:
    images = _images(8, 4)
    made = augment(images, pipe, ALWAYS, _seed())
    assert torch.equal(made[:, 3], images[:, 3])
    assert (made[:, :3] - images[:, :3]).abs().amax((1, 2, 3)).min() > 1e-3


@pytest.mark.parametrize("pipe", ["blit", "bg", "cutout"])
def test_depth_moves_and_is_cut_with_the_colours(pipe: str) -> None:
    images = _images(8, 4)
    images[:, 3] = images[:, 0]
    made = augment(images, pipe, ALWAYS, _seed())
    torch.testing.assert_close(made[:, 3], made[:, 0])


def test_a_pixel_that_is_not_finite_spoils_its_image_and_no_other() -> None:
    for pipe in PIPES:
        images = _images()
        images[1, 0, 8, 8] = math.nan
        finite = augment(images, pipe, ALWAYS, _seed()).isfinite().all(-1).all(-1).all(-1)
        assert finite.tolist() == [True, False, True, True], pipe


def test_autocast_does_not_reach_the_pipe() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = augment(_images(), "bgcfnc", ALWAYS, _seed())
    assert made.dtype == torch.float32
    assert torch.equal(made, augment(_images(), "bgcfnc", ALWAYS, _seed()))


def test_r1_through_the_pipe_agrees_with_finite_differences() -> None:
    images = _images(2, 3, 6, torch.float64)
    judge = nn.Conv2d(3, 2, 3).double()
    judge.requires_grad_(False)

    def penalty(x: Tensor, weight: Tensor) -> Tensor:
        def logits(points: Tensor) -> Tensor:
            seen = augment(points, "bgcfnc", ALWAYS, _seed(5))
            return torch.tanh(nn.functional.conv2d(seen, weight)).square().sum((1, 2, 3))

        # As ``r1_penalty``, which detaches its images and computes in fp32.
        (slope,) = torch.autograd.grad(logits(x).sum(), x, create_graph=True)
        return slope.square().sum()

    weight = judge.weight.clone().requires_grad_()
    assert torch.autograd.gradcheck(penalty, (images.requires_grad_(), weight), fast_mode=True)


def test_r1_of_a_sum_counts_the_pixels_that_are_left() -> None:
    pipe = build_augmentation("fixed", device="cpu", pipe="cutout", probability=1.0)
    penalty = r1_penalty(lambda x: pipe(x, _seed()).sum((1, 2, 3)), _images())
    left = pipe(torch.ones(4, 3, 16, 16), _seed()).sum((1, 2, 3)).mean()
    assert 0.75 * 768 <= left < 768
    torch.testing.assert_close(penalty, left)


# ------------------------------------------------------------------------------------------------------ how often
def _inverse(n: int, p: float, *, blit: bool, geom: bool, size: int = 64) -> tuple[Tensor, Tensor]:
    probability = torch.tensor(p, dtype=torch.float64)
    return draw_inverse(n, size, probability, blit=blit, geom=geom, generator=_seed())


@pytest.mark.parametrize("p", [0.0, 0.3, 0.8, 1.0, 1.5])
def test_half_of_the_chosen_images_are_mirrored(p: float) -> None:
    n = 20_000
    linear, _ = _inverse(n, p, blit=True, geom=False)
    share = (torch.linalg.det(linear) < 0).float().mean().item()
    assert share == pytest.approx(min(p, 1) / 2, abs=4 * math.sqrt(0.25 / n))


@pytest.mark.parametrize("p", [0.2, 0.6, 0.8])
def test_turned_images_do_not_leak(p: float) -> None:
    """Claim C5: upright images stay ahead of each other orientation by 1 - p, so that a generator can be told apart
    that turns its images."""
    n = 20_000
    linear, _ = _inverse(n, p, blit=True, geom=False)
    # The second column is untouched by the mirror up to the sign of its first entry: cosine and |sine| of the turn.
    cosine, sine = linear[:, 1, 1], linear[:, 1, 0]
    upright, turned = (cosine == 1).float().mean().item(), (sine == 1).float().mean().item()
    assert upright == pytest.approx(1 - 0.75 * p, abs=4 * math.sqrt(0.25 / n))
    assert upright - turned == pytest.approx(1 - p, abs=8 * math.sqrt(0.25 / n))


@pytest.mark.parametrize("p", [0.3, 0.8])
def test_p_is_the_probability_of_any_rotation(p: float) -> None:
    n = 20_000
    linear, _ = _inverse(n, p, blit=False, geom=True)
    turned = (linear[:, 0, 1].abs() > 1e-6) | (linear[:, 1, 0].abs() > 1e-6)
    assert turned.float().mean().item() == pytest.approx(p, abs=4 * math.sqrt(0.25 / n))


def test_sizes_of_the_geometric_transforms() -> None:
    n = 20_000
    linear, shift = _inverse(n, 1.0, blit=False, geom=True)
    areas = torch.linalg.det(linear).log2()  # of the source per result: 2^(-2 N(0,.2))
    assert areas.std().item() == pytest.approx(0.4, rel=0.03)
    assert areas.mean().abs() < 0.02
    stretch = torch.linalg.svdvals(linear)
    assert (stretch[:, 0] / stretch[:, 1]).log2().square().mean().sqrt().item() == pytest.approx(0.4, rel=0.03)
    moved = torch.linalg.solve(linear, shift)  # the last transform: fractional translation
    assert moved.std(0).tolist() == pytest.approx([8.0, 8.0], rel=0.03)
    linear, shift = _inverse(n, 1.0, blit=True, geom=False)
    assert torch.equal(shift, shift.round())
    assert shift.abs().amax(0).tolist() == [8.0, 8.0]
    assert torch.equal(linear.abs().sum(1), torch.ones(n, 2))


# --------------------------------------------------------------------------------------------------- the controller
def test_p_moves_by_batch_times_four_over_the_speed() -> None:
    ada = _ada()
    for step in range(8):
        ada.observe(torch.ones(16))
        ada.update(step, 16)
        assert ada.probability.item() == (step + 1) // 4 * (16 * 4 / 500_000)
    for step in range(8, 12):
        ada.observe(torch.tensor([1.0, -1.0]))  # r = 0 < 0.6
        ada.update(step, 16)
    assert ada.probability.item() == pytest.approx(16 * 4 / 500_000, rel=1e-12)


def test_p_is_never_below_zero_and_stays_where_nothing_was_seen_or_the_target_is_met() -> None:
    ada = _ada(probability=0.5)
    for step in range(4):
        ada.update(step, 16)
    assert ada.probability.item() == 0.5
    for step in range(4):
        ada.observe(torch.tensor([1.0, 1.0, 1.0, 1.0, -1.0]))  # r = 0.6 exactly
        ada.update(step, 16)
    assert ada.probability.item() == 0.5
    ada = _ada()
    for step in range(8):
        ada.observe(-torch.ones(4))
        ada.update(step, 4)
    assert ada.probability.item() == 0.0


def test_the_signs_of_all_batches_since_the_last_change_count() -> None:
    ada = _ada(probability=0.5)
    ada.observe(torch.full((2,), 1e-3))
    ada.observe(torch.full((14,), 50.0))
    ada.observe(-torch.ones(3))  # r = 13 / 19 > 0.6, though the mean of the last batch is below
    ada.update(3, 16)
    assert ada.probability.item() > 0.5
    ada.observe(-torch.ones(3))
    ada.update(7, 16)
    assert ada.probability.item() == pytest.approx(0.5, rel=1e-12)


def test_the_state_goes_on_between_two_changes() -> None:
    whole = _ada(probability=0.25)
    halves = [_ada(probability=0.25), _ada()]
    batches = [torch.randn(16, generator=_seed(k)) + 1 for k in range(8)]
    for step, logits in enumerate(batches):
        if step == 6:
            halves[1].load_state_dict(halves[0].state_dict())
        for ada in (whole, halves[step >= 6]):
            ada.observe(logits)
            ada.update(step, 16)
    assert torch.equal(whole.probability, halves[1].probability)
    assert whole.state_dict() == halves[1].state_dict()


def test_a_fixed_probability_stays() -> None:
    fixed = build_augmentation("fixed", device="cpu", probability=0.4)
    for step in range(8):
        fixed.observe(torch.ones(16))
        fixed.update(step, 16)
    assert fixed.probability.item() == 0.4
    assert not torch.equal(fixed(_images(), _seed()), _images())


def test_p_above_one_acts_as_one() -> None:
    above = augment(_images(), "bgcfnc", torch.tensor(1.3, dtype=torch.float64), _seed())
    assert torch.equal(above, augment(_images(), "bgcfnc", ALWAYS, _seed()))


# ------------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("adda", {}, "Did you mean ada"),
        ("ada", {"pipe": "bcg"}, "augmentation.pipe: 'bcg'"),
        ("fixed", {"probability": 1.5}, "augmentation.probability: 1.5"),
        ("fixed", {"probability": math.nan}, "augmentation.probability"),
        ("ada", {"speed_images": 0}, "augmentation.speed_images"),
        ("diffaug", {"policy": "colour"}, "Did you mean color"),
        ("diffaug", {"policy": ""}, "names no transform"),
    ],
)
def test_what_cannot_be_built_is_named(kind: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_augmentation(kind, device="cpu", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(2, 2, 16, 16), (2, 3, 16, 12)])
def test_other_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="1, 3 or 4 channels"):
        augment(torch.zeros(shape), "bgc", ALWAYS, _seed())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_images_and_second_derivatives() -> None:
    images = _images(8, 4, 32)
    probability = torch.tensor(0.7, dtype=torch.float64)
    # The draws come from the generator's device, here the CPU, so that both machines see the same ones.
    made = augment(images.cuda(), "bgcfnc", probability.cuda(), _seed())
    torch.testing.assert_close(made.cpu(), augment(images, "bgcfnc", probability, _seed()), atol=1e-3, rtol=1e-3)
    points = _images(2, 3, 6, torch.float64).cuda().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: augment(x, "bgc", ALWAYS.cuda(), _seed()).sin(), (points,))
