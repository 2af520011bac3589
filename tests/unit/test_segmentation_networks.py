"""The segmentation networks: sizes of the papers, shapes, randomness, gradients, published weights."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from harness.backbones.published import MEAN, STD
from harness.types import ConfigError, MissingAsset
from methods.blocks import daformer, deeplab_v3plus, pspnet, segmentation_networks
from methods.blocks.micro_conv import micro_conv
from methods.blocks.mix_transformer import MixBlock, MixSizes, MixTransformer, ReducedAttention, transformer_names
from methods.blocks.pretrained_encoder import load_pretrained
from methods.blocks.segmentation_layers import Standardise, drop_channels, drop_path, resize
from methods.blocks.segmentation_networks import NetworkOptions, SegmentationNetwork, SegmentationOutput, build_network
from tests.feature_bench import context

MICRO = NetworkOptions("micro_conv", 16, "group", "none", 0, False, 0.0)
PAPER = replace(MICRO, norm="batch")
NETWORKS = {
    "micro_conv": replace(MICRO, representation=32),
    "micro_attention": replace(MICRO, network="micro_attention", representation=32),
    "deeplab_v2_red": replace(PAPER, network="deeplab_v2_red"),
    "deeplab_v2": replace(PAPER, network="deeplab_v2"),
    "deeplab_v3plus": replace(PAPER, network="deeplab_v3plus", representation=256, auxiliary=True, dropout=0.1),
    "pspnet": replace(PAPER, network="pspnet"),
    "daformer": replace(PAPER, network="daformer", dropout=0.1),
}


def build(options: NetworkOptions, classes: int = 7, seed: int = 0) -> SegmentationNetwork:
    return build_network(options, classes, context(), torch.Generator().manual_seed(seed))


@cache
def outline(options: NetworkOptions, classes: int) -> SegmentationNetwork:
    """The network without values: fast, for counts, shapes and connections."""
    with torch.device("meta"):
        return segmentation_networks._build(options, classes, None)  # type: ignore[arg-type]


def count(module: nn.Module | None) -> int:
    assert module is not None
    return sum(parameter.numel() for parameter in module.parameters())


def images(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published networks with fewer blocks and narrow heads: their construction, without seconds of drawing."""
    monkeypatch.setattr(deeplab_v3plus, "MIDDLE", 16)
    monkeypatch.setattr(pspnet, "MIDDLE", 16)
    monkeypatch.setattr(torchvision.models, "resnet101", partial(ResNet, Bottleneck, [1, 1, 1, 3]))
    monkeypatch.setattr(daformer, "B5", MixSizes((8, 16, 24, 32), (1, 2, 1, 1), (1, 2, 3, 4), (8, 4, 2, 1), 4))


# ---------------------------------------------------------------------------------------------------------- sizes
@pytest.mark.parametrize(
    ("options", "classes", "total"),
    [
        (MICRO, 7, 141_735),  # fst.md 3.3
        (replace(MICRO, representation=32), 7, 152_071),  # u2pl.md 3.4
        (replace(MICRO, norm="batch"), 7, 141_735),
        (replace(MICRO, network="micro_attention"), 7, 137_383),
        (replace(PAPER, network="deeplab_v3plus"), 21, 42_623_936 + 19_999_253),  # u2pl.md 3.1
        (replace(PAPER, network="deeplab_v3plus", representation=256), 21, 42_623_936 + 19_999_253 + 1_836_800),
        (replace(PAPER, network="deeplab_v2"), 21, 42_623_936 + 1_548_372),  # fst.md 3.2
        (replace(PAPER, network="deeplab_v2_red"), 19, 42_519_392 + 700_454),
        (replace(PAPER, network="pspnet"), 21, 42_623_936 + 23_090_088),
        (replace(PAPER, network="daformer"), 19, 81_443_008 + 3_712_275),
    ],
)
def test_parameters_are_as_many_as_published(options: NetworkOptions, classes: int, total: int) -> None:
    assert count(outline(options, classes)) == total


def test_auxiliary_and_aspp_are_as_large_as_published() -> None:
    network = outline(NETWORKS["deeplab_v3plus"], 19)
    assert count(network.get_submodule("decoder.auxiliary")) == 2_364_947
    assert count(network.get_submodule("decoder.aspp")) == 15_206_912
    assert count(network.get_submodule("encoder")) == 42_623_936


@pytest.mark.parametrize("name", NETWORKS)
def test_heads_are_what_stands_behind_the_encoder(name: str) -> None:
    network = outline(NETWORKS[name], 7)
    heads = {id(parameter) for parameter in network.head_parameters()}
    named = dict(network.named_parameters())
    encoder = {key for key in named if key.startswith(("encoder", "encode_", "deep."))}
    assert {id(named[key]) for key in named.keys() - encoder} == heads
    assert encoder


@pytest.mark.parametrize(
    ("name", "logits", "features"),
    [
        ("micro_conv", 513, 129),
        ("micro_attention", 513, 129),
        ("deeplab_v2_red", 65, 65),
        ("deeplab_v2", 65, 65),
        ("deeplab_v3plus", 129, 65),
        ("pspnet", 520, 65),
        ("daformer", 129, 17),
    ],
)
def test_outputs_of_a_513_pixel_crop_and_the_way_of_gradients(name: str, logits: int, features: int) -> None:
    network = outline(NETWORKS[name], 7).train()
    output: SegmentationOutput = network(torch.empty(2, 3, 513, 513, device="meta"))
    assert output.logits.shape == (2, 7, logits, logits)
    assert output.features.shape[2:] == (features, features)
    parts = [output.logits, output.representation, output.auxiliary]
    sum(part.sum() for part in parts if part is not None).backward()  # type: ignore[union-attr]
    assert [key for key, value in network.named_parameters() if value.grad is None] == []
    assert (output.representation is not None) == bool(NETWORKS[name].representation)
    assert (output.auxiliary is not None) == NETWORKS[name].auxiliary
    if name == "deeplab_v3plus":
        assert output.representation.shape == (2, 256, 129, 129)  # type: ignore[union-attr]
        assert output.auxiliary.shape == (2, 7, 65, 65)  # type: ignore[union-attr]


@pytest.mark.parametrize(("name", "last"), [("deeplab_v2_red", [2, 4, 4]), ("deeplab_v3plus", [4, 8, 16])])
def test_dilations_of_the_last_stages(name: str, last: list[int]) -> None:
    network = outline(NETWORKS[name], 7)
    for stage, expected in (("layer2", [1] * 4), ("layer3", [1] + [2] * 22), ("layer4", last)):
        blocks = network.get_submodule(f"encoder.{stage}").children()
        convolutions: list[Any] = [block.get_submodule("conv2") for block in blocks]
        assert [layer.dilation[0] for layer in convolutions] == expected
        assert [layer.padding[0] for layer in convolutions] == expected
        assert convolutions[0].stride[0] == (2 if stage == "layer2" else 1)


def test_ways_of_resizing() -> None:
    corners = {name: outline(options, 3).align_corners for name, options in NETWORKS.items()}
    assert [name for name, value in corners.items() if value] == ["deeplab_v2", "deeplab_v3plus", "pspnet"]


# ----------------------------------------------------------------------------------------------------- randomness
@pytest.mark.parametrize("name", NETWORKS)
def test_initial_weights_come_from_the_generator_alone(name: str, small: None) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build(NETWORKS[name]).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    again = build(NETWORKS[name]).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)


@pytest.mark.parametrize("name", ["micro_conv", "micro_attention"])
def test_other_seeds_give_other_weights_and_every_matrix_is_drawn(name: str) -> None:
    first, other = build(NETWORKS[name]).state_dict(), build(NETWORKS[name], seed=1).state_dict()
    matrices = [key for key, value in first.items() if value.dim() > 1]
    assert len(matrices) >= 11
    assert not any(torch.equal(first[key], other[key]) for key in matrices)


@pytest.mark.parametrize("name", ["micro_conv", "micro_attention", "deeplab_v3plus", "daformer"])
def test_dropout_draws_from_the_given_generator_in_training_only(name: str, small: None) -> None:
    network = build(replace(NETWORKS[name], dropout=0.5))
    x = images(2, 32, 64)
    before = torch.get_rng_state()

    def logits(seed: int | None) -> Tensor:
        with torch.no_grad():
            return network(x, None if seed is None else torch.Generator().manual_seed(seed)).logits

    network.train()
    assert torch.equal(logits(1), logits(1))
    assert not torch.equal(logits(1), logits(2))
    assert torch.equal(logits(None), logits(None))
    network.eval()
    assert torch.equal(logits(1), logits(2))
    assert torch.equal(before, torch.get_rng_state())


def test_dropping_keeps_the_mean_and_whole_channels_or_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    ones = torch.ones(64, 64, 2, 2)
    channels = drop_channels(ones, 0.25, generator)
    assert torch.equal(channels, channels[..., :1, :1].expand_as(channels))
    assert channels.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert channels.mean() == pytest.approx(1.0, abs=0.05)
    samples = drop_path(ones, 0.5, generator)
    assert torch.equal(samples, samples[:, :1, :1, :1].expand_as(samples))
    assert samples.unique().tolist() == [0.0, 2.0]
    assert drop_path(ones, 0.5, None) is ones


def test_published_initialisations(small: None) -> None:
    v2 = build(NETWORKS["deeplab_v2"])
    head = v2.get_parameter("classifiers.3.weight")
    assert head.std().item() == pytest.approx(0.01, rel=0.02)
    assert not v2.get_parameter("classifiers.3.bias").any()
    assert not v2.get_parameter("encoder.layer4.2.bn3.weight").any()
    stem = v2.get_parameter("encoder.conv1.6.weight")
    assert stem.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
    psp = build(NETWORKS["pspnet"])
    kernel = psp.get_parameter("doublings.0.weight").unflatten(0, (7, 4))
    assert torch.equal(kernel, kernel[:, :1].expand_as(kernel))
    former = build(NETWORKS["daformer"])
    assert former.get_parameter("head.classifier.weight").std().item() == pytest.approx(0.01, rel=0.1)
    assert former.get_parameter("head.embeds.3.weight").std().item() == pytest.approx(0.02, rel=0.1)


# -------------------------------------------------------------------------------------------------------- function
@pytest.mark.parametrize("name", ["micro_conv", "micro_attention"])
@pytest.mark.parametrize("size", [(13, 30), (16, 16)])
def test_micro_networks_keep_any_size_and_mix_no_images(name: str, size: tuple[int, int]) -> None:
    network = build(NETWORKS[name]).eval()
    x = images(3, *size)
    with torch.no_grad():
        whole, single = network(x), network(x[1:2])
    assert whole.logits.shape == (3, 7, *size)
    assert whole.representation.shape == (3, 32, -(-size[0] // 2), -(-size[1] // 2))
    torch.testing.assert_close(whole.logits[1:2], single.logits, rtol=1e-4, atol=1e-5)


def test_micro_networks_learn_which_side_is_bright() -> None:
    for name in ("micro_conv", "micro_attention"):
        network = build(replace(NETWORKS[name], norm="batch"), classes=2).train()
        optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
        for step in range(30):
            x = images(4, 16, 24, seed=step)
            loss = nn.functional.cross_entropy(network(x).logits, (x.mean(1) > 0).long())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        assert loss.item() < 0.3, name


def test_micro_conv_is_the_network_of_its_description() -> None:
    """Against the same weights in plain PyTorch layers, contiguous."""
    generator = torch.Generator().manual_seed(3)
    network = micro_conv(7, 16, "group", 0, 0.0, generator)
    x = images(2, 24, 40)
    with torch.no_grad():
        weights = list(network.parameters())
        pairs = [weights[place : place + 3] for place in range(0, 24, 3)]

        def layer(h: Tensor, number: int, stride: int = 1, dilation: int = 1) -> Tensor:
            weight, scale, shift = pairs[number]
            h = nn.functional.conv2d(h, weight, None, stride, dilation, dilation)
            return nn.functional.group_norm(h, 8, scale, shift).relu()

        def up(h: Tensor) -> Tensor:
            return nn.functional.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False)

        full = layer(((x + 1) / 2 - 0.45) / 0.25, 0)
        half = layer(layer(full, 1, stride=2), 2)
        quarter = layer(layer(layer(half, 3, stride=2), 4, dilation=2), 5, dilation=4)
        middle = layer(torch.cat((up(quarter), half), 1), 6)
        last = layer(torch.cat((up(middle), full), 1), 7)
        expected = nn.functional.conv2d(last, weights[24], weights[25])
        torch.testing.assert_close(network(x).logits, expected, rtol=1e-4, atol=1e-4)


def test_reduced_attention_agrees_with_its_fused_form() -> None:
    attention = ReducedAttention(16, 2, 2)
    x = torch.randn(2, 6, 8, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        fused = attention(x)
    torch.testing.assert_close(attention(x.requires_grad_()), fused, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="3 heads do not divide"):
        ReducedAttention(16, 3, 1)


def test_transformer_strides_and_drop_path_grow_with_depth() -> None:
    with torch.device("meta"):
        network = MixTransformer(daformer.B5, 0.1)
        shapes = [tuple(x.shape) for x in network(torch.empty(1, 3, 512, 512), None)]
    assert shapes == [(1, 64, 128, 128), (1, 128, 64, 64), (1, 320, 32, 32), (1, 512, 16, 16)]
    paths = [module.path for module in network.modules() if isinstance(module, MixBlock)]
    assert len(paths) == 52
    assert paths == pytest.approx([0.1 * place / 51 for place in range(52)])


def test_standardised_colours() -> None:
    x = images(1, 4, 4)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(Standardise()(x), ((x + 1) / 2 - mean) / std)


def test_resizing_to_the_same_size_is_free() -> None:
    x = images(1, 4, 6)
    assert resize(x, (4, 6), True) is x
    assert resize(x, (7, 11), True)[..., -1, -1].equal(x[..., -1, -1])


# ---------------------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": "pspnet", "representation": 8}, "pspnet has no representation"),
        ({"network": "daformer", "auxiliary": True}, "daformer has no auxiliary"),
        ({"network": "deeplab_v2", "dropout": 0.1}, "deeplab_v2 has no dropout"),
        ({"network": "micro_conv", "dropout": 1.0}, "not a probability below 1"),
        ({"network": "micro_conv", "representation": -1}, "must not be negative"),
        ({"network": "micro_conv", "width": 0}, "must be positive"),
        ({"network": "micro_conv", "width": 12, "norm": "group"}, "8 groups do not divide 12"),
        ({"network": "micro_conv", "pretrained": "x"}, "no published weights of micro_conv"),
        ({"network": "pspnet", "norm": "group"}, "pspnet has batch norm"),
    ],
)
def test_options_that_cannot_work(change: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(replace(PAPER, **change))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ published weights
def keep(folder: Path, state: dict[str, Tensor], kind: str = "pth") -> str:
    """Write ``state`` under a name that carries its digest; return the name."""
    if kind == "pth":
        buffer = io.BytesIO()
        torch.save(state, buffer)
        payload = buffer.getvalue()
    else:
        payload = safetensors.torch.save(state)
    name = f"weights-{hashlib.sha256(payload).hexdigest()[:12]}.{kind}"
    (folder / name).write_bytes(payload)
    return name


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_published_resnet_weights_fill_the_encoder(
    kind: str, small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARALLAX_WEIGHTS", str(tmp_path))
    plain = build(NETWORKS["deeplab_v2_red"])
    generator = torch.Generator().manual_seed(5)
    state = {
        key: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value
        for key, value in plain.get_submodule("encoder").state_dict().items()
    }
    v1c = {"0": "conv1.0", "1": "conv1.1", "3": "conv1.3", "4": "conv1.4", "6": "conv1.6", "7": "bn1"}
    published = {"fc.weight": torch.zeros(3, 3)}
    for key, value in state.items():
        stem = [place for place, own in v1c.items() if key.startswith(f"{own}.")]
        published[f"stem.{stem[0]}.{key.rsplit('.', 1)[1]}" if stem else key] = value.contiguous()
    name = keep(tmp_path, published, kind)
    filled = build(replace(NETWORKS["deeplab_v2_red"], pretrained=name))
    for key, value in filled.get_submodule("encoder").state_dict().items():
        assert torch.equal(value, state[key]), key
    assert torch.equal(filled.get_parameter("classifiers.0.weight"), plain.get_parameter("classifiers.0.weight"))


def test_published_transformer_names_are_translated() -> None:
    names = {
        "patch_embed1.proj.weight": "embeds.0.weight",
        "patch_embed4.norm.bias": "embed_norms.3.bias",
        "block3.39.attn.kv.weight": "stages.2.39.attention.key_value.weight",
        "block1.0.attn.sr.bias": "stages.0.0.attention.reduce.bias",
        "block1.0.attn.norm.bias": "stages.0.0.attention.reduced_norm.bias",
        "block2.1.mlp.dwconv.dwconv.weight": "stages.1.1.depthwise.weight",
        "block2.1.norm2.weight": "stages.1.1.norm2.weight",
        "block2.1.attn.proj.weight": "stages.1.1.attention.out.weight",
        "norm4.weight": "norms.3.weight",
    }
    own = dict(outline(NETWORKS["daformer"], 7).get_submodule("encoder").named_parameters())
    translated = transformer_names({key: torch.empty(0) for key in (*names, "head.weight")})
    assert list(translated) == list(names.values())
    assert translated.keys() <= own.keys()


def test_weights_that_are_missing_or_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_WEIGHTS", str(tmp_path))
    layer = nn.Linear(2, 3)

    def load(name: str) -> None:
        load_pretrained(layer, name, dict)

    with pytest.raises(MissingAsset, match=r"0 files weights-DIGEST\.pth"):
        load("weights")
    with pytest.raises(MissingAsset, match=r"weights-0123abcd\.pth"):
        load("weights-0123abcd.pth")
    good = keep(tmp_path, {f"module.backbone.{key}": value + 1 for key, value in layer.state_dict().items()})
    expected = layer.weight.detach() + 1
    load(good)
    assert torch.equal(layer.weight, expected)
    nn.init.zeros_(layer.weight)
    load("weights")
    assert torch.equal(layer.weight, expected)
    (tmp_path / "weights-0123abcd.pth").write_bytes((tmp_path / good).read_bytes())
    with pytest.raises(MissingAsset, match=r"has SHA-256 .* not 0123abcd"):
        load("weights-0123abcd.pth")
    with pytest.raises(MissingAsset, match="2 files weights-DIGEST"):
        load("weights")
    with pytest.raises(MissingAsset, match="does not fit the network in 1 of 2 tensors, first weight"):
        load(keep(tmp_path, {"weight": torch.zeros(3, 3), "bias": torch.zeros(3)}))
    for kind in ("pth", "safetensors"):
        name = f"noise-{hashlib.sha256(b'noise').hexdigest()[:8]}.{kind}"
        (tmp_path / name).write_bytes(b"noise")
        with pytest.raises(MissingAsset, match="is not a state dict"):
            load(name)
