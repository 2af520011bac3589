"""Frozen backbones: training, keeping, reading; published networks with made-up weights."""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from harness.backbones import opening, pretext, pretraining, published, shelf
from harness.backbones.backbone import CHUNK_PIXELS, Backbone
from harness.backbones.efficientnet import EfficientNetB4, PaddedConv2d, same_padding
from harness.backbones.opening import open_backbone
from harness.backbones.pretraining import Phase, Recipe
from harness.backbones.published import PUBLISHED, Normalised
from harness.metrics.weights import WeightsFile
from harness.types import ConfigError, DataError, MissingAsset

TINY = Recipe((Phase(16, 24, 2), Phase(64, 24, 1)), pool=2, held_out=1)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """``proc-features`` trained for three steps."""
    monkeypatch.setitem(opening.RECIPES, "proc-features", TINY)


def pictures(count: int, side: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# ------------------------------------------------------------------------------------------------------- pretext
def test_pretext_batches_are_balanced_bounded_and_seeded() -> None:
    images, labels = pretext.pictures(2, 32, torch.Generator().manual_seed(1))
    again, _ = pretext.pictures(2, 32, torch.Generator().manual_seed(1))
    other, _ = pretext.pictures(2, 32, torch.Generator().manual_seed(2))
    assert images.shape == (48, 3, 32, 32)
    assert labels.bincount().tolist() == [2] * 24
    assert images.min() >= -1
    assert images.max() <= 1
    assert torch.equal(images, again)
    assert not torch.equal(images, other)


def test_pretext_shapes_have_the_signs_of_their_outlines() -> None:
    u, v = torch.tensor([0.0, 0.72, 0.6]), torch.tensor([0.0, 0.0, 0.6])  # centre, right, diagonal
    inside = {name: (shape(u, v) < 0).tolist() for name, shape in zip(pretext.SHAPES, pretext._SHAPES, strict=True)}
    assert inside["disc"] == [True, True, True]
    assert inside["square"] == [True, True, True]
    assert inside["ring"] == [False, True, True]
    assert inside["cross"] == [True, True, False]
    assert inside["star"][0]
    assert inside["triangle"][0]
    far = torch.tensor([3.0])
    assert all(float(shape(far, far)) > 1 for shape in pretext._SHAPES)


def test_star_has_five_tips_and_five_notches() -> None:
    turns = torch.arange(3600) * (2 * torch.pi / 3600)
    inside = pretext._star(0.7 * turns.cos(), 0.7 * turns.sin()) < 0
    assert int((inside != inside.roll(1)).sum()) == 10


# ------------------------------------------------------------------------------------------------------ training
def test_training_gives_the_same_bytes_and_leaves_global_generators_alone() -> None:
    before = torch.get_rng_state()
    first, report = pretraining.train(TINY)
    second, _ = pretraining.train(TINY)
    assert shelf.weights_of(first) == shelf.weights_of(second)
    assert shelf.weights_of(first) != shelf.weights_of(pretraining.train(replace(TINY, seed=1))[0])
    assert torch.equal(before, torch.get_rng_state())
    assert (report.steps, report.held_out) == (3, 24)
    assert 0 <= report.accuracy <= 1
    assert report.seconds > 0


@pytest.mark.slow
def test_the_full_recipe_learns_the_task() -> None:
    """Chance is 1/24; the recipe reaches 0.89 in bf16."""
    recipe = replace(opening.RECIPES["proc-features"], precision=pretraining.native_precision())
    assert pretraining.train(recipe)[1].accuracy > 0.8


def test_averaging_takes_means_of_squares() -> None:
    images = torch.randint(0, 256, (3, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = F.avg_pool2d(images.permute(0, 3, 1, 2).float(), 4).round().to(torch.uint8).permute(0, 2, 3, 1)
    assert torch.equal(pretraining._averaged(images, 4), expected)


# --------------------------------------------------------------------------------------------------------- shelf
@pytest.mark.usefixtures("tiny")
def test_trained_once_then_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_backbone("proc-features", tmp_path)
    monkeypatch.setattr(pretraining, "train", lambda recipe: pytest.fail("trained twice"))
    second = open_backbone("proc-features", tmp_path)
    assert first == second
    assert dict(first.report) == dict(second.report)
    images = pictures(3)
    assert all(torch.equal(a, b) for a, b in zip(first.stages(images), second.stages(images), strict=True))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("victim", [shelf.WEIGHTS, shelf.CARD])
def test_damaged_files_are_rebuilt_with_a_warning(tmp_path: Path, victim: str) -> None:
    first = open_backbone("proc-features", tmp_path)
    (path,) = tmp_path.rglob(victim)
    path.write_bytes(path.read_bytes()[:-9] + b"123456789")
    with pytest.warns(UserWarning, match="trained again"):
        assert open_backbone("proc-features", tmp_path).digest == first.digest
    open_backbone("proc-features", tmp_path)


@pytest.mark.usefixtures("tiny")
def test_another_recipe_has_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_backbone("proc-features", tmp_path)
    monkeypatch.setitem(opening.RECIPES, "proc-features", replace(TINY, seed=5))
    assert open_backbone("proc-features", tmp_path).digest != first.digest
    assert len(list(tmp_path.rglob(shelf.WEIGHTS))) == 2


@pytest.mark.usefixtures("tiny")
def test_one_trains_while_the_other_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Recipe] = []
    real = pretraining.train

    def counted(recipe: Recipe) -> tuple[nn.Module, pretraining.Report]:
        calls.append(recipe)
        return real(recipe)

    monkeypatch.setattr(pretraining, "train", counted)
    monkeypatch.setattr(shelf, "POLL", 0.02)
    opened: list[Backbone] = []
    threads = [
        threading.Thread(target=lambda: opened.append(open_backbone("proc-features", tmp_path))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert len({backbone.digest for backbone in opened}) == 1
    assert len(opened) == 3


# --------------------------------------------------------------------------------------------------- the contract
@pytest.mark.parametrize(("height", "width"), [(64, 64), (8, 8), (40, 24)])
def test_maps_have_the_promised_shapes(tmp_path: Path, height: int, width: int) -> None:
    backbone = open_backbone("random-features", tmp_path)
    images = torch.rand(2, 3, height, width) * 2 - 1
    for maps, channels, stride in zip(backbone.stages(images), backbone.channels, backbone.strides, strict=True):
        assert maps.shape == (2, channels, height // stride, width // stride)
        assert maps.dtype == torch.float32
        assert maps.is_contiguous()
        assert not maps.requires_grad
        assert maps.min() >= 0
    assert backbone.channels == (24, 48, 64)
    assert backbone.strides == (2, 4, 8)


def test_random_features_are_seeded_and_leave_the_global_generator_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    first, second = open_backbone("random-features", tmp_path), open_backbone("random-features", tmp_path)
    assert first == second
    assert torch.equal(before, torch.get_rng_state())
    assert not list(tmp_path.iterdir())


def test_stages_in_any_order_and_no_more_than_wanted(tmp_path: Path) -> None:
    images = pictures(2)
    whole = open_backbone("random-features", tmp_path)
    part = open_backbone("random-features", tmp_path, stages=(2, 1))
    assert part.digest == whole.digest
    assert (part.channels, part.strides) == ((48, 24), (4, 2))
    for last in part.network.get_submodule("stages.2").children():
        last.register_forward_hook(lambda *_: pytest.fail("stage 3 was computed"))
    fine, coarse = whole.stages(images)[:2]
    assert torch.equal(part.stages(images)[0], coarse)
    assert torch.equal(part.stages(images)[1], fine)
    part.stages(pictures(1, side=12))  # the deepest wanted stride is 4


@pytest.mark.parametrize("stages", [(), (0,), (4,), (1, 1)])
def test_impossible_stages_are_refused(tmp_path: Path, stages: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="1 to 3"):
        open_backbone("random-features", tmp_path, stages=stages)


def test_unknown_name_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean resnet50"):
        open_backbone("resnet-50", tmp_path)


@pytest.mark.parametrize("shape", [(1, 3, 12, 16), (1, 1, 16, 16), (3, 16, 16)])
def test_sizes_that_do_not_fit_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="multiples of 8"):
        open_backbone("random-features", tmp_path).stages(torch.zeros(shape))


def test_autocast_and_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, images = open_backbone("random-features", tmp_path), pictures(5)
    plain = backbone.stages(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert all(torch.equal(a, b) for a, b in zip(plain, backbone.stages(images), strict=True))
    monkeypatch.setattr("harness.backbones.backbone.CHUNK_PIXELS", 2 * 32 * 32)
    for a, b in zip(plain, backbone.stages(images), strict=True):
        torch.testing.assert_close(a, b)
    assert CHUNK_PIXELS > 2 * 32 * 32


@pytest.mark.usefixtures("tiny")
def test_frozen_and_independent_of_the_batch(tmp_path: Path) -> None:
    backbone, images = open_backbone("proc-features", tmp_path), pictures(6)
    before = {key: value.clone() for key, value in backbone.network.state_dict().items()}
    maps = backbone.stages(images)
    for i in range(6):
        for whole, alone in zip(maps, backbone.stages(images[i : i + 1]), strict=True):
            torch.testing.assert_close(whole[i : i + 1], alone)
    assert not any(p.requires_grad for p in backbone.network.parameters())
    assert not any(module.training for module in backbone.network.modules())
    assert all(torch.equal(before[key], value) for key, value in backbone.network.state_dict().items())


# ------------------------------------------------------------------------------------------------------ published
def made_up(network: nn.Module) -> None:
    """Random weights and statistics, so that every layer matters."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.weight, 0.5), (module.bias, -0.2), (module.running_var, 0.5)):
                nn.init.uniform_(tensor, low, low + 0.4, generator=generator)
            nn.init.uniform_(module.running_mean, -0.2, 0.2, generator=generator)


def provide(name: str, state: dict[str, Tensor], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put ``state`` where the weights file of ``name`` is looked for, and trust it."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    file = PUBLISHED[name].weights.name
    (folder / file).write_bytes(buffer.getvalue())
    trusted = WeightsFile(file, hashlib.sha256(buffer.getvalue()).hexdigest(), "a test")
    monkeypatch.setitem(published.PUBLISHED, name, replace(PUBLISHED[name], weights=trusted))
    monkeypatch.setenv("PARALLAX_WEIGHTS", str(folder))


def build(name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        network = PUBLISHED[name].build()
    made_up(network)
    return network.eval()


@pytest.mark.parametrize("name", PUBLISHED)
def test_missing_weights_name_file_and_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingAsset) as caught:
        open_backbone(name, tmp_path)
    assert PUBLISHED[name].weights.name in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if "resnet" in name])
def test_resnet_stages_are_those_of_torchvision(name: str) -> None:
    with torch.device("meta"):
        stages = PUBLISHED[name].build()
        shapes = [tuple(m.shape) for m in stages(torch.zeros(1, 3, 64, 64, device="meta"))]
        whole = getattr(torchvision.models, name)()
    known = PUBLISHED[name]
    assert shapes == [(1, c, 64 // s, 64 // s) for c, s in zip(known.channels, known.strides, strict=True)]
    assert set(whole.state_dict()) - set(stages.state_dict()) == {"fc.weight", "fc.bias"}


def test_resnet18_round_trip_through_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.random.fork_rng(devices=[]):
        whole = torchvision.models.resnet18().eval()
    made_up(whole)
    provide("resnet18", whole.state_dict(), tmp_path, monkeypatch)
    before = torch.get_rng_state()
    backbone = open_backbone("resnet18", tmp_path, stages=(1, 2, 3))
    assert torch.equal(before, torch.get_rng_state())
    images = pictures(2)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        h = whole.maxpool(whole.relu(whole.bn1(whole.conv1(((images + 1) / 2 - mean) / std))))
        expected = [h := layer(h) for layer in (whole.layer1, whole.layer2, whole.layer3)]
    for got, wanted in zip(backbone.stages(images), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    assert not any(p.requires_grad for p in backbone.network.parameters())
    state = backbone.network.state_dict()
    assert torch.equal(state["network.bn1.running_mean"], whole.bn1.running_mean)


def test_efficientnet_has_the_stages_and_size_of_b4() -> None:
    with torch.device("meta"):
        network = EfficientNetB4()
        whole = torchvision.models.efficientnet_b4()
        shapes = [tuple(m.shape[1:]) for m in network(torch.zeros(1, 3, 224, 224, device="meta"))]
    assert shapes == [(24, 112, 112), (32, 56, 56), (56, 28, 28), (160, 14, 14), (448, 7, 7)]
    assert len(network.blocks) == 32
    head = [*whole.features[-1].parameters(), *whole.classifier.parameters()]
    assert sum(p.numel() for p in whole.parameters()) == 19_341_616
    assert sum(p.numel() for p in network.parameters()) == 19_341_616 - sum(p.numel() for p in head)
    assert {m.eps for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}


def test_efficientnet_pads_as_at_380_pixels() -> None:
    with torch.device("meta"):
        network = EfficientNetB4()
    strided = {
        name: (conv.kernel_size[0], conv.before, conv.after)
        for name, conv in network.named_modules()
        if isinstance(conv, PaddedConv2d) and conv.stride[0] == 2
    }
    assert strided == {
        "stem.0": (3, 0, 1),
        "blocks.2.block.1.0": (3, 0, 1),
        "blocks.6.block.1.0": (5, 2, 2),
        "blocks.10.block.1.0": (3, 0, 1),
        "blocks.22.block.1.0": (5, 1, 2),
    }
    for conv in network.modules():
        if isinstance(conv, PaddedConv2d) and conv.stride[0] == 1:
            assert conv.before == conv.after == conv.kernel_size[0] // 2
    assert not any(conv.padding != (0, 0) for conv in network.modules() if isinstance(conv, nn.Conv2d))


def test_padding_samples_the_pixels_of_the_oracle() -> None:
    """A stride-2 convolution that copies its centre reads odd pixels with (0,1), even ones with symmetric padding."""
    plain = nn.Conv2d(1, 1, 3, stride=2, padding=1, bias=False)
    ramp = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 1, 8, 8)
    padded = PaddedConv2d(plain, *same_padding(8, 3, 2))
    for conv in (plain, padded):
        conv.weight.data.zero_()[0, 0, 1, 1] = 1
    assert plain(ramp)[0, 0, 0].tolist() == [0, 2, 4, 6]
    assert padded(ramp)[0, 0, 0].tolist() == [1, 3, 5, 7]


def published_names(network: EfficientNetB4) -> dict[str, Tensor]:
    """The state of ``network`` under the names of the published file, written from the layers themselves."""
    state = {f"_conv_stem.{k}": v for k, v in network.stem[0].state_dict().items()}
    state |= {f"_bn0.{k}": v for k, v in network.stem[1].state_dict().items()}
    for place, block in enumerate(network.blocks):
        layers = list(block.block)
        parts: dict[str, nn.Module] = {}
        if len(layers) == 4:
            parts |= {"_expand_conv": layers[0][0], "_bn0": layers[0][1]}
        depthwise, squeeze, project = layers[-3:]
        parts |= {"_depthwise_conv": depthwise[0], "_bn1": depthwise[1], "_se_reduce": squeeze.fc1}
        parts |= {"_se_expand": squeeze.fc2, "_project_conv": project[0], "_bn2": project[1]}
        state |= {f"_blocks.{place}.{n}.{k}": v for n, part in parts.items() for k, v in part.state_dict().items()}
    return state | {"_conv_head.weight": torch.zeros(1), "_bn1.bias": torch.zeros(1), "_fc.bias": torch.zeros(1)}


def test_efficientnet_round_trip_through_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = build("efficientnet_b4")
    assert isinstance(source, EfficientNetB4)
    state = published_names(source)
    assert len(state) == len(source.state_dict()) + 3
    provide("efficientnet_b4", state, tmp_path, monkeypatch)
    backbone = open_backbone("efficientnet_b4", tmp_path, stages=(1, 2, 3, 4))
    assert (backbone.channels, backbone.strides) == ((24, 32, 56, 160), (2, 4, 8, 16))
    late = backbone.network.get_submodule("network.blocks.22")
    late.register_forward_hook(lambda *_: pytest.fail("block 22 was computed"))
    images = pictures(2)
    with torch.no_grad():
        expected = list(Normalised(source)(images))[:4]
    maps = backbone.stages(images)
    for got, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    assert all(float(m.min()) < 0 for m in maps)  # no activation after the last batch norm
    for whole, alone in zip(maps, backbone.stages(images[:1]), strict=True):
        torch.testing.assert_close(whole[:1], alone, rtol=1e-4, atol=1e-4)
