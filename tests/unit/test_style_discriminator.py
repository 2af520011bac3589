"""StyleGAN2's discriminator: its order of layers, its hooks, its view of the batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from harness.types import ConfigError, DataError
from methods.blocks.equalised import EqualConv2d, EqualLinear
from methods.blocks.minibatch_stddev import minibatch_stddev
from methods.blocks.style_discriminator import StyleDiscriminator
from methods.blocks.style_options import StyleOptions

TINY = StyleOptions(channel_base=96, channel_max=8, mbstd_group=4)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


@pytest.fixture
def judge() -> StyleDiscriminator:
    return StyleDiscriminator(TINY, 16, seeded())


class FullWeights:
    """The weights that the layers would use themselves."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def weights(self, index: int, layer: EqualConv2d | EqualLinear) -> tuple[Tensor, Tensor | None]:
        self.asked.append(index)
        return layer.weight * layer.weight_gain, layer.bias


@pytest.mark.parametrize("architecture", ["resnet", "skip", "orig"])
def test_full_weights_are_no_thinning(architecture: str) -> None:
    network = StyleDiscriminator(replace(TINY, d_architecture=architecture), 16, seeded())  # type: ignore[arg-type]
    images, thin = normal(4, 3, 16, 16), FullWeights()
    torch.testing.assert_close(network(images, thin=thin), network(images))
    assert sorted(thin.asked) == list(range(len(network.layers)))


def test_names_follow_freeze_d(judge: StyleDiscriminator) -> None:
    names = [name for name, _ in judge.layers]
    blocks = [f"b{size}_{part}" for size in (16, 8) for part in ("conv0", "conv1", "skip")]
    assert names == ["b16_from_rgb", *blocks, "b4_conv", "b4_fc", "b4_out"]


def test_freezing_the_first_layers(judge: StyleDiscriminator) -> None:
    judge.freeze(4)
    judge(normal(4, 3, 16, 16)).sum().backward()
    trained = [layer.weight.grad is not None for _, layer in judge.layers]
    assert trained == [False] * 4 + [True] * 6
    judge.freeze(0)
    assert all(parameter.requires_grad for parameter in judge.parameters())


def test_body_continues_any_stem_and_shows_its_inputs(judge: StyleDiscriminator) -> None:
    images = normal(4, 3, 16, 16)
    x = judge.stem(images)
    judged = judge.body(x, taps=(16, 8, 4))
    assert torch.equal(judged.logits, judge(images))
    assert torch.equal(judged.taps[16], x)
    assert {size: tuple(value.shape[2:]) for size, value in judged.taps.items()} == {16: (16, 16), 8: (8, 8), 4: (4, 4)}
    assert judge.body(x).taps == {}


def test_the_skip_discriminators_body_asks_for_images() -> None:
    network = StyleDiscriminator(replace(TINY, d_architecture="skip"), 8, seeded())
    with pytest.raises(ConfigError, match="images"):
        network.body(network.stem(normal(4, 3, 8, 8)))


def test_a_conditional_logit_is_the_projection_of_the_class() -> None:
    network = StyleDiscriminator(TINY, 8, seeded(), classes=3)
    images = normal(4, 3, 8, 8)
    logits = network(images, torch.tensor([0, 0, 1, 2]))
    other = network(images, torch.tensor([0, 1, 1, 2]))
    assert logits.shape == (4,)
    assert torch.equal(logits[[0, 2, 3]], other[[0, 2, 3]])
    assert logits[1] != other[1]


# -------------------------------------------------------------------------------------------- minibatch deviation
def test_identical_samples_have_the_floor_as_deviation() -> None:
    x = normal(1, 3, 4, 4).expand(8, -1, -1, -1)
    torch.testing.assert_close(minibatch_stddev(x, 4)[:, 3], torch.full((8, 4, 4), 1e-4))


def test_groups_are_strided() -> None:
    # Samples 0 and 2 form one group, 1 and 3 the other.
    x = torch.tensor([0.0, 5.0, 2.0, 5.0]).view(4, 1, 1, 1).expand(4, 1, 4, 4)
    torch.testing.assert_close(minibatch_stddev(x, 2)[:, 1, 0, 0], torch.tensor([1.0, 1e-4, 1.0, 1e-4]))


def test_small_batches_are_one_group_and_others_must_divide() -> None:
    x = normal(3, 2, 4, 4)
    assert torch.equal(minibatch_stddev(x, 8), minibatch_stddev(x, 3))
    with pytest.raises(DataError, match="groups of 2"):
        minibatch_stddev(x, 2)


def test_absent_channels_count_as_maps_of_zeros() -> None:
    x = normal(4, 3, 4, 4)
    padded = torch.cat((x, torch.zeros(4, 2, 4, 4)), 1)
    assert torch.equal(minibatch_stddev(x, 2, channels=5)[:, -1], minibatch_stddev(padded, 2)[:, -1])
