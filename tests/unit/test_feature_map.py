"""Frozen features: shape, statistics, cache, and the backbone they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.backbones import open_backbone
from harness.types import ConfigError, DataError, StoreError
from methods.blocks.feature_map import FeatureMap, as_float
from tests.feature_bench import context, samples

CONFIG: dict[str, Any] = {
    "backbone": "random-features",
    "stages": [1, 2, 3],
    "grid": 4,
    "rectify": True,
    "pool": "average",
    "standardise": "channel",
}


def _map(**changed: Any) -> FeatureMap:
    return FeatureMap({**CONFIG, **changed}, context())


def test_the_cache_holds_what_a_call_gives() -> None:
    features, data = _map(), samples()
    cache = features.fit(data["image"])
    assert cache.shape == (24, 136, 4, 4)
    torch.testing.assert_close(features(as_float(data["image"][5:9])), cache[5:9], atol=1e-5, rtol=1e-5)


def test_standardised_features_have_mean_0_and_spread_1_per_channel() -> None:
    cache = _map().fit(samples()["image"]).double()
    varied = cache.std((0, 2, 3), correction=0)
    assert cache.mean((0, 2, 3)).abs().max() < 1e-5
    assert (varied < 1 + 1e-4).all()
    assert varied.median() > 1 - 1e-4


def test_a_constant_channel_is_not_blown_up() -> None:
    features = _map()
    features.fit(np.full((4, 32, 32, 3), 128, np.uint8))
    assert features.spread.isfinite().all()
    assert (features.spread > 0).all()
    assert features(torch.rand(1, 3, 32, 32)).isfinite().all()


def test_without_standardising_features_are_the_backbones() -> None:
    features, data = _map(standardise="none", rectify=False, stages=[3]), samples(4)
    expected = open_backbone("random-features", context().assets, stages=[3]).stages(as_float(data["image"]))[0]
    torch.testing.assert_close(features.fit(data["image"]), expected)


def test_stages_resize_to_one_grid_and_stack_in_their_order() -> None:
    image = as_float(samples(2)["image"])
    both, fine, coarse = (_map(standardise="none", pool="bilinear", stages=s)(image) for s in ([1, 3], [1], [3]))
    assert both.shape[1] == 24 + 64
    assert both.equal(torch.cat([fine, coarse], dim=1))


def test_rectifying_comes_before_pooling(monkeypatch: pytest.MonkeyPatch) -> None:
    features = _map(standardise="none", stages=[1])
    signed = torch.randn(1, 24, 16, 16, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(type(features.backbone), "stages", lambda self, images: (signed,))
    expected = torch.nn.functional.avg_pool2d(signed.relu(), 4)
    torch.testing.assert_close(features(torch.zeros(1, 3, 32, 32)), expected)


def test_images_do_not_see_one_another() -> None:
    features, image = _map(), as_float(samples(5)["image"])
    torch.testing.assert_close(features(image)[2:3], features(image[2:3]), atol=1e-5, rtol=1e-5)


def test_another_backbone_is_an_error() -> None:
    features = _map()
    state = features.state_dict()
    with pytest.raises(StoreError, match="backbone"):
        features.load_state_dict({**state, "backbone": "0" * 64})
    features.load_state_dict(state)


@pytest.mark.parametrize(("key", "value"), [("stages", [4]), ("stages", []), ("grid", 0), ("pool", "max")])
def test_impossible_features_are_errors(key: str, value: Any) -> None:
    with pytest.raises(ConfigError):
        _map(**{key: value})


def test_an_empty_split_is_an_error() -> None:
    with pytest.raises(DataError, match="empty"):
        _map().fit(np.zeros((0, 32, 32, 3), np.uint8))
