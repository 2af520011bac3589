"""UniAD and the plain transformer as methods: presets, equalities, caches, modes, copying and the frozen backbone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import registry
from harness.types import ConfigError, ReconstructsFeatures, ScoresAnomalies, Unsupported
from methods.blocks.feature_reconstruction import TrainingOptions
from methods.blocks.query_transformer import StackOptions
from methods.uniad.method import network
from methods.uniad.options import Options, parse
from tests.feature_bench import CATEGORIES, batch_of, build, images, samples, train

NAMES = ("uniad", "recon_transformer")
OFF: dict[str, Any] = {"decoder": "none_query", "mask_window": "none", "jitter_alpha": 0.0}
QUERIES = {"none": "none_query", "first_layer": "first_layer_query", "layerwise": "layerwise_query"}


def _weights(method: Any) -> list[Tensor]:
    return [p.detach() for p in method.networks.parameters()]


def test_presets_are_the_options_and_the_papers_network_has_its_size() -> None:
    preset = registry.methods()["uniad"].preset("paper")
    stack = StackOptions(**{name: preset[name] for name in StackOptions.__dataclass_fields__})
    made = network(parse(preset), stack, 24 + 32 + 56 + 160, preset["grid"], torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in made.parameters()) == 7_717_392
    used = {*Options.__dataclass_fields__, *TrainingOptions.__dataclass_fields__, *StackOptions.__dataclass_fields__}
    frozen = {"batch_size", "backbone", "stages", "grid", "rectify", "pool", "standardise"}
    assert set(preset) == used | frozen


def test_the_paper_network_takes_a_training_step_on_random_features() -> None:
    preset = registry.methods()["uniad"].preset("paper")
    stack = StackOptions(**{name: preset[name] for name in StackOptions.__dataclass_fields__})
    made = network(parse(preset), stack, 272, 14, torch.Generator().manual_seed(0)).train()
    optimiser = torch.optim.AdamW(made.parameters(), lr=preset["lr"], weight_decay=preset["weight_decay"])
    features = torch.randn(2, 272, 14, 14, generator=torch.Generator().manual_seed(1))

    def loss() -> torch.Tensor:
        return (made(features, torch.Generator().manual_seed(2)) - features).square().mean()

    before = loss()
    before.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
    torch.nn.utils.clip_grad_norm_(made.parameters(), preset["clip"])
    optimiser.step()
    with torch.no_grad():
        assert loss() < before


@pytest.mark.parametrize("name", NAMES)
def test_presets_agree_in_what_both_methods_share(name: str) -> None:
    for tier in ("smoke", "micro", "small", "paper"):
        own, reference = (registry.methods()[n].preset(tier) for n in (name, "uniad"))
        assert {k: v for k, v in own.items() if k in reference} == {k: reference[k] for k in own if k in reference}


@pytest.mark.parametrize("query", QUERIES)
def test_uniad_without_its_devices_is_the_plain_transformer_bit_for_bit(query: str) -> None:
    data = samples()
    first = build("uniad", overrides={**OFF, "decoder": QUERIES[query]})
    second = build("recon_transformer", overrides={"query": query})
    assert train(first, data, 4) == train(second, data, 4)
    for a, b in zip(_weights(first), _weights(second), strict=True):
        assert a.equal(b)
    assert first.anomaly(images(), None).maps.equal(second.anomaly(images(), None).maps)


@pytest.mark.parametrize("name", NAMES)
def test_training_on_cached_features_is_training_on_images(name: str) -> None:
    data = samples()
    cached, plain = (build(name, overrides={"dropout": 0.1}) for _ in range(2))
    order = torch.Generator().manual_seed(0)
    for method in (cached, plain):
        method.prepare(data)
    plain.cache = None
    for step in range(8):
        batch = batch_of(data, torch.randint(24, (4,), generator=order))
        a, b = cached.train_step(batch, step)["loss"], plain.train_step(batch, step)["loss"]
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
    for a, b in zip(_weights(cached), _weights(plain), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_a_step_leaves_the_backbone_alone() -> None:
    method, data = build("uniad"), samples()
    before = copy.deepcopy(method.feature_map.backbone.network.state_dict())
    train(method, data, 2)
    after = method.feature_map.backbone.network.state_dict()
    assert all(before[name].equal(after[name]) for name in before)
    assert not any(p.requires_grad for p in method.feature_map.backbone.network.parameters())
    trained = {id(p) for group in method.optimisers[0].param_groups for p in group["params"]}
    assert trained == {id(p) for p in method.networks.parameters()}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_trains_and_scores_on_a_gpu() -> None:
    over = {"dropout": 0.1, "jitter_prob": 0.5}
    method = build("uniad", overrides=over, device="cuda")
    data = samples()
    method.prepare(data)
    batch = {name: value.cuda() for name, value in batch_of(data, torch.arange(4)).items()}
    assert all(float(method.train_step(batch, step)["loss"]) > 0 for step in range(3))
    on_cpu = build("uniad", overrides=over)
    on_cpu.load_state_dict(copy.deepcopy(method.state_dict()))
    there, here = (m.anomaly(images(4), None).maps.cpu() for m in (method, on_cpu))
    torch.testing.assert_close(there, here, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_anomaly_maps_are_exact_about_shape_sign_and_scale(name: str) -> None:
    method = build(name)
    train(method, samples(), 2)
    assert isinstance(method, ScoresAnomalies)
    assert isinstance(method, ReconstructsFeatures)
    made = method.anomaly(images(5), None)
    assert made.maps.shape == (5, 32, 32)
    assert made.scores.shape == (5,)
    assert (made.maps >= 0).all()
    error = (method.features(images(5)) - method.reconstruct(method.features(images(5)), None)).norm(dim=1)
    torch.testing.assert_close(made.maps[:, ::31, ::31], error[:, ::3, ::3])
    assert (made.scores <= made.maps.amax((1, 2)) + 1e-6).all()


def test_categories_have_networks_of_their_own_in_mode_separate() -> None:
    method, data = build("uniad", overrides={"mode": "separate"}), samples()
    assert method.batch_groups == "category"
    assert len(method.networks) == CATEGORIES
    start = copy.deepcopy(method.networks.state_dict())
    method.prepare(data)
    method.train_step(batch_of(data, torch.tensor([1, 4, 7, 10])), 0)
    changed = {
        name.split(".")[0] for name, value in method.networks.state_dict().items() if not value.equal(start[name])
    }
    assert changed == {"1"}
    categories = torch.tensor([0, 1, 2, 1, 0])
    made = method.anomaly(images(5), categories)
    for row in range(5):
        alone = method.anomaly(images(5)[row : row + 1], categories[row : row + 1])
        torch.testing.assert_close(alone.maps, made.maps[row : row + 1], atol=1e-4, rtol=1e-4)
    with pytest.raises(Unsupported, match="category"):
        method.anomaly(images(5), None)


def test_the_rate_drops_once_and_a_sum_over_channels_scales_the_gradient_only() -> None:
    method = build("uniad", steps=10)
    train(method, samples(), 8)
    assert method.optimisers[0].param_groups[0]["lr"] == pytest.approx(1e-3)
    method.train_step(batch_of(samples(), torch.arange(4)), 8)
    assert method.optimisers[0].param_groups[0]["lr"] == pytest.approx(1e-4)
    element, token = (build("uniad", overrides={"loss": loss, "clip": 0.0}) for loss in ("element", "token"))
    assert train(element, samples(), 1) == train(token, samples(), 1)
    for a, b in zip(element.networks.parameters(), token.networks.parameters(), strict=True):
        torch.testing.assert_close(136 * a.grad, b.grad, rtol=1e-3, atol=1e-6)


def test_gradients_are_clipped() -> None:
    method = build("uniad", overrides={"clip": 0.01})
    train(method, samples(), 1)
    norm = torch.stack([p.grad.norm() for p in method.networks.parameters()]).norm()
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


def test_a_transformer_without_query_learns_to_copy_and_a_masked_query_does_not() -> None:
    unseen = torch.randn(16, 136, 4, 4, generator=torch.Generator().manual_seed(5))
    errors = {}
    for decoder, window in (("none_query", "none"), ("layerwise_query", 3)):
        over = {"width": 64, "mask_window": window, "jitter_alpha": 0.0, "decoder": decoder, "lr": 2.0e-3}
        method = build("uniad", overrides={**over, "encoder_layers": 0}, steps=300)
        # Noise instead of pictures: nothing but the token itself tells what it is.
        method.cache = torch.randn(64, 136, 4, 4, generator=torch.Generator().manual_seed(6))
        for step in range(100):
            rows = torch.arange(8) + 8 * (step % 8)
            method.train_step({"index": rows}, step)
        errors[decoder] = float((method.reconstruct(unseen, None) - unseen).square().mean())
    assert errors["none_query"] < 0.85
    assert errors["layerwise_query"] > 0.95


def test_one_batch_can_be_copied_almost_exactly() -> None:
    over = {"width": 64, "feedforward": 128, "query": "none", "lr": 3.0e-3, "clip": 0.0, "encoder_layers": 0}
    method, data = build("recon_transformer", overrides=over, steps=400), samples(4)
    method.prepare(data)
    losses = [float(method.train_step({"index": torch.arange(4)}, step)["loss"]) for step in range(120)]
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("mask_window", -1, "below 0"),
        ("mask_window", 7, "hides the whole"),
        ("mask_places", ["encoder", "decoder3"], "decoder3"),
        ("jitter_prob", 1.5, "jitter"),
        ("decoder", "query", "layerwise_query"),
        ("heads", 3, "heads"),
        ("score_window", 33, "does not fit"),
    ],
)
def test_values_that_cannot_work_are_errors(key: str, value: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        build("uniad", overrides={key: value})


@pytest.mark.parametrize(
    "over",
    [
        {"residual": True},
        {"mask_window": 0},
        {"mask_places": ["decoder2"]},
        {"jitter_prob": 0.5},
        {"position": "sine"},
        {"pre_norm": True, "dropout": 0.2},
        {"score_rule": "mean"},
        {"score_rule": "std", "pool": "bilinear", "standardise": "none", "rectify": False},
    ],
)
def test_every_switch_trains(over: dict[str, Any]) -> None:
    method = build("uniad", overrides=over)
    assert all(loss > 0 for loss in train(method, samples(), 2))
    assert method.anomaly(images(2), None).scores.isfinite().all()
