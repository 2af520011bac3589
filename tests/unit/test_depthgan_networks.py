"""DepthGAN's networks: published sizes, exact invariances, the discriminator's two heads."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from harness.cameras import look_at
from methods.depthgan.discriminator import SwitchableDiscriminator
from methods.depthgan.generators import DualGenerator, angle_features
from methods.depthgan.losses import depth_classes, depth_prediction_loss
from methods.depthgan.method import DepthGAN, with_depth
from tests import depthgan_bench
from tests.gan_bench import PRIOR, build


def _seed(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def smoke() -> DepthGAN:
    """A trained smoke model that no test changes."""
    return depthgan_bench.trained()


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# ------------------------------------------------------------------------------------------------ published sizes
@pytest.mark.parametrize(
    ("size", "geometry", "appearance", "discriminator", "fusion"),
    [(128, 24.79e6, 30.53e6, 30.08e6, 6_005_248), (256, 25.03e6, 30.80e6, 30.20e6, 6_030_080)],
)
def test_published_sizes(size: int, geometry: float, appearance: float, discriminator: float, fusion: int) -> None:
    options = depthgan_bench.options("paper", size)
    with torch.device("meta"):  # shapes without numbers; meta has no generators
        generator = DualGenerator(options, size, None)  # type: ignore[arg-type]
        judge = SwitchableDiscriminator(options, size, None)  # type: ignore[arg-type]
    assert _count(generator.appearance.fusion) == fusion
    assert generator.geometry.angle is not None
    assert _count(generator.geometry.angle) == pytest.approx(0.267e6, rel=1e-3)
    assert _count(judge.head) == pytest.approx(6.20e6, rel=1e-3)
    for network, count in ((generator.geometry, geometry), (generator.appearance, appearance), (judge, discriminator)):
        assert _count(network) == pytest.approx(count, rel=1e-3)


def test_micro_sizes() -> None:
    method = build("depthgan", "micro")
    counts = [_count(method.generator.geometry), _count(method.generator.appearance), _count(method.discriminator)]
    assert [round(count / 1e6, 3) for count in counts] == [0.088, 0.100, 0.097]


# --------------------------------------------------------------------------------------------- angles and features
def test_angle_features_are_bounded_and_periodic() -> None:
    angle = torch.linspace(-3, 3, 7)
    features = angle_features(angle)
    assert features.shape == (7, 8)
    assert features.abs().max() <= 1
    torch.testing.assert_close(features[:, 0], angle.sin())
    torch.testing.assert_close(features[:, 7], (4 * angle).cos())


@pytest.mark.parametrize("injection", ["mul_w", "concat_z", "all_layers"])
def test_a_full_turn_changes_nothing_and_a_part_of_it_does(injection: str) -> None:
    network = build("depthgan", overrides={"angle_injection": injection}).generator.geometry.eval()
    codes, angle = torch.randn(3, 8, generator=_seed()), torch.tensor([-0.2, 0.0, 0.25])
    depth = network(codes, angle).depth
    torch.testing.assert_close(network(codes, angle + 2 * math.pi).depth, depth, atol=1e-4, rtol=1e-4)
    assert (network(codes, angle + 0.25).depth - depth).abs().mean() > 0.01


def test_the_angle_acts_on_the_first_three_convolutions_only() -> None:
    network = build("depthgan").generator.geometry
    seen: list[tuple[Tensor, Tensor]] = []
    network.synthesis.register_forward_pre_hook(
        lambda _, inputs, options: seen.append((inputs[0], options["image_ws"])), with_kwargs=True
    )
    codes, angle = torch.randn(2, 8, generator=_seed()), torch.tensor([0.1, 0.2])
    network(codes, angle)
    (turned, plain), styles = seen[0], network.styles(codes, angle)
    assert torch.equal(plain, styles)
    assert torch.equal(turned[:, 3:], styles[:, 3:])
    assert network.angle is not None
    code = network.angle(angle_features(angle))
    torch.testing.assert_close(turned[:, :3], styles[:, :3] * code[:, None])


def test_appearance_never_changes_depth_and_has_no_access_to_the_angle(smoke: DepthGAN) -> None:
    latents = smoke.latents(6, _seed())
    swapped = torch.stack((latents[:1, 0].expand(6, -1), latents[:, 1]), dim=1)
    cameras = look_at(torch.full((6,), 0.2), torch.zeros(6), PRIOR)
    drawn = smoke.sample(swapped, cameras)
    assert drawn.depth is not None
    assert torch.equal(drawn.depth, drawn.depth[:1].expand(6, -1, -1))
    assert (drawn.rgb[0] - drawn.rgb[1:]).abs().flatten(1).max(1).values.min() > 0
    network = smoke.average.module
    assert isinstance(network, DualGenerator)
    features = network.geometry(latents[:, 0], torch.linspace(-0.2, 0.2, 6)).features
    same = {index: x[:1].expand(6, -1, -1, -1) for index, x in features.items()}
    pictures = network.appearance(latents[:1, 1].expand(6, -1), same)
    torch.testing.assert_close(pictures, pictures[:1].expand(6, -1, -1, -1))


def test_fusion_that_reads_geometry_only_hides_the_other_convolutions() -> None:
    method = build("depthgan")
    network = method.generator.appearance
    with torch.no_grad():
        for layer in network.fusion:
            layer.first.weight[:, : layer.first.weight.shape[1] // 2] = 0
        for layer in network.synthesis.to_images:  # the pictures' own styles are the only way left
            layer.affine.weight.zero_()
    codes = torch.randn(2, 2, 8, generator=_seed())
    codes[1, 0] = codes[0, 0]
    rgb = method.generator(codes, torch.zeros(2)).rgb
    torch.testing.assert_close(rgb[0], rgb[1])


@pytest.mark.parametrize(("kind", "layers", "count"), [("all", 7, 7), ("low", 3, 3)])
def test_fusion_layers(kind: str, layers: int, count: int) -> None:
    network = build("depthgan", overrides={"fusion_layers": kind}).generator.appearance
    assert len(network.fusion) == layers == count
    assert float(network.fusion[0].first.weight.detach().std()) == pytest.approx(0.1, rel=0.2)


def test_without_fusion_the_picture_ignores_geometry() -> None:
    method = build("depthgan", overrides={"fusion": "none"})
    codes = torch.randn(2, 2, 8, generator=_seed())
    codes[1, 1] = codes[0, 1]
    made = method.generator(codes, torch.tensor([0.0, 0.2]))
    torch.testing.assert_close(made.rgb[0], made.rgb[1])
    assert not made.depth[0].equal(made.depth[1])


# --------------------------------------------------------------------------------------- switchable discriminator
@pytest.mark.parametrize("size", [32, 64, 128])
def test_shapes_of_both_heads(size: int) -> None:
    taps = [64, 32, 16] if size == 128 else [size, size // 2, size // 4]
    judge = SwitchableDiscriminator(depthgan_bench.options("smoke", size, depth_taps=taps), size, _seed())
    pictures = torch.randn(2, 4, size, size, generator=_seed())
    assert judge.score(pictures).shape == (2,)
    assert judge.score(pictures[:, :3]).shape == (2,)
    assert judge.depth(pictures[:, :3]).shape == (2, 10, size, size)


def test_rgb_alone_is_judged_without_the_depth_stem_and_its_bias() -> None:
    method = build("depthgan")
    judge = method.discriminator
    pictures = torch.randn(4, 4, 32, 32, generator=_seed())
    assert judge.depth_stem is not None
    before = judge.score(pictures[:, :3]), judge.depth(pictures[:, :3]), judge.score(pictures)
    with torch.no_grad():
        judge.depth_stem.bias.add_(3.0)
    assert torch.equal(judge.score(pictures[:, :3]), before[0])
    assert torch.equal(judge.depth(pictures[:, :3]), before[1])
    assert not torch.equal(judge.score(pictures), before[2])
    judge.depth_stem = None  # the same network with the stem removed
    assert torch.equal(judge.score(pictures), before[0])


@pytest.mark.parametrize(
    ("stems", "d_input", "sees"), [("sum", "rgbd", True), ("concat4", "rgbd", True), ("sum", "rgb", False)]
)
def test_the_score_follows_depth_where_it_shall(stems: str, d_input: str, sees: bool) -> None:
    judge = build("depthgan", overrides={"stems": stems, "d_input": d_input}).discriminator
    pictures = torch.randn(4, 4, 32, 32, generator=_seed())
    other = torch.cat((pictures[:, :3], pictures[:, 3:] + 1), dim=1)
    assert torch.equal(judge.score(pictures), judge.score(other)) is not sees
    assert judge.depth(pictures[:, :3]).shape == (4, 10, 32, 32)


def test_depth_classes() -> None:
    coded = torch.tensor([-9.0, -1.0, -0.81, -0.79, 0.0, 0.99, 1.0, 9.0])
    assert depth_classes(coded, 10).tolist() == [0, 0, 0, 1, 5, 9, 9, 9]
    ordered = torch.linspace(-1.2, 1.2, 100)
    assert (depth_classes(ordered, 10).diff() >= 0).all()


def test_the_fresh_head_knows_nothing() -> None:
    method = build("depthgan", "micro")
    with torch.no_grad():
        fake = method.generator(torch.randn(16, 2, 64, generator=_seed()), torch.zeros(16))
        real = with_depth(depthgan_bench.batch(16))
        for pictures, depth in ((fake.rgb, fake.depth[:, 0]), (real[:, :3], real[:, 3])):
            loss = depth_prediction_loss(method.discriminator.depth(pictures), depth, method.options)
            assert float(loss) == pytest.approx(math.log(10), rel=0.1)


def test_regression_compares_shares_of_the_range() -> None:
    options = depthgan_bench.options("smoke", 32, depth_target="l1")
    loss = depth_prediction_loss(torch.full((2, 1, 4, 4), 0.75), torch.zeros(2, 4, 4), options)
    assert float(loss) == pytest.approx(0.25)
