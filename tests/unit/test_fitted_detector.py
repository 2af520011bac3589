"""What PaDiM and PatchCore share: fit, modes, state, maps in pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import torch

from harness import registry
from harness.types import ConfigError, DataError, ReconstructsFeatures, ScoresAnomalies, Unsupported
from methods.blocks.feature_map import FeatureOptions
from methods.blocks.fitted_detector import DetectorOptions
from methods.blocks.score_map import to_pixels
from methods.padim.method import Options as PaDiMOptions
from methods.patchcore.memory import Options as PatchCoreOptions
from tests.feature_bench import CATEGORIES, batch_of, build, images, samples

OPTIONS = {"padim": PaDiMOptions, "patchcore": PatchCoreOptions}
NAMES = tuple(OPTIONS)
FEW = {"padim": {"shrinkage": 1.0}, "patchcore": {"coreset": 1.0}}
"""Switches that let a fit to a few images stand up to new ones."""


def _fitted(name: str, data: Any, **overrides: Any) -> Any:
    method = build(name, overrides=overrides)
    method.prepare(data)
    return method


@pytest.mark.parametrize("name", NAMES)
def test_presets_are_the_options(name: str) -> None:
    known = {field for kind in (FeatureOptions, DetectorOptions, OPTIONS[name]) for field in kind.__dataclass_fields__}
    for tier in ("smoke", "micro", "small", "paper"):
        assert set(registry.methods()[name].preset(tier)) == known | {"batch_size"}


@pytest.mark.parametrize("name", NAMES)
def test_the_protocols_are_kept_and_a_step_does_nothing(name: str) -> None:
    data = samples()
    method = _fitted(name, data)
    assert isinstance(method, ScoresAnomalies)
    assert not isinstance(method, ReconstructsFeatures)
    before = method.anomaly(images(), None)
    assert method.train_step(batch_of(data, torch.arange(4)), 0) == {"fitted": torch.ones(())}
    assert method.anomaly(images(), None).maps.equal(before.maps)
    assert before.maps.shape == (6, 32, 32)
    assert before.scores.shape == (6,)


@pytest.mark.parametrize("standardise", ["none", "channel"])
@pytest.mark.parametrize("name", NAMES)
def test_separate_is_unified_on_the_images_of_the_category(name: str, standardise: str) -> None:
    data, test = samples(), images()
    separate = _fitted(name, data, mode="separate", standardise=standardise)
    everything = separate.anomaly(test, torch.arange(6) % CATEGORIES)
    for number in range(CATEGORIES):
        own = {field: values[data["category"] == number] for field, values in data.items()}
        alone = _fitted(name, own, standardise="none")
        # Statistics of the features come from all categories, in either mode.
        alone.feature_map.mean, alone.feature_map.spread = separate.feature_map.mean, separate.feature_map.spread
        alone.prepare(own)
        made = alone.anomaly(test[number::CATEGORIES], None)
        torch.testing.assert_close(made.maps, everything.maps[number::CATEGORIES], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(made.scores, everything.scores[number::CATEGORIES], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_category_decides_which_images_are_normal(name: str) -> None:
    data = samples(48)
    method = _fitted(name, data, mode="separate", **FEW[name])
    test, truth = images(), torch.arange(6) % CATEGORIES
    assert (method.anomaly(test, truth).scores < method.anomaly(test, (truth + 1) % CATEGORIES).scores).all()


@pytest.mark.parametrize("name", NAMES)
def test_mode_separate_needs_labels_and_images_of_every_category(name: str) -> None:
    data = samples()
    with pytest.raises(Unsupported, match="category of every image"):
        _fitted(name, data, mode="separate").anomaly(images(), None)
    lacking = {**data, "category": np.zeros_like(data["category"])}
    with pytest.raises(DataError, match="category 1"):
        _fitted(name, lacking, mode="separate")
    with pytest.raises(DataError, match="training split"):
        _fitted(name, {field: values[:0] for field, values in data.items()}, standardise="none")


@pytest.mark.parametrize("mode", ["unified", "separate"])
@pytest.mark.parametrize("name", NAMES)
def test_a_restored_method_that_never_saw_the_data_scores_alike(name: str, mode: str) -> None:
    method = _fitted(name, samples(), mode=mode)
    restored = build(name, overrides={"mode": mode}, seed=5)
    restored.load_state_dict(method.state_dict())
    labels = torch.arange(6) % CATEGORIES if mode == "separate" else None
    assert restored.anomaly(images(), labels).maps.equal(method.anomaly(images(), labels).maps)


@pytest.mark.parametrize("name", NAMES)
def test_the_fit_depends_on_images_and_seed_alone(name: str) -> None:
    data = samples()
    first, again, other = build(name), build(name), build(name, seed=1)
    again.prepare(samples(12, seed=4))
    for method in (first, again, other):
        torch.manual_seed(int(method is again))
        method.prepare(data)
    assert first.anomaly(images(), None).maps.equal(again.anomaly(images(), None).maps)
    assert not first.anomaly(images(), None).maps.equal(other.anomaly(images(), None).maps)


@pytest.mark.parametrize("name", NAMES)
def test_a_spot_that_no_training_image_has_is_found(name: str) -> None:
    method, clean = _fitted(name, samples(48), **FEW[name]), images()
    spotted = clean.clone()
    spotted[:, :, 8:16, 16:24] = torch.tensor([1.0, -1.0, 1.0])[:, None, None]
    before, after = method.anomaly(clean, None), method.anomaly(spotted, None)
    assert after.scores.mean() > 1.2 * before.scores.mean()
    risen = after.maps - before.maps
    assert (risen[:, 8:16, 16:24].mean((1, 2)) > risen[:, 20:, :12].mean((1, 2)).abs()).all()


def test_smoothing_is_a_gaussian_of_four_pixels_at_256() -> None:
    cells = torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0))
    sharp, smooth = to_pixels(cells, (64, 64), 0.0), to_pixels(cells, (64, 64), 4.0)
    truth = scipy.ndimage.gaussian_filter(sharp.double().numpy(), (0, 1, 1), mode="mirror")
    np.testing.assert_allclose(smooth, truth, atol=1e-5)
    large = scipy.ndimage.gaussian_filter(to_pixels(cells, (128, 128), 0.0).double().numpy(), (0, 2, 2), mode="mirror")
    np.testing.assert_allclose(to_pixels(cells, (128, 128), 4.0), large, atol=1e-5)


def test_pixels_keep_corners_without_smoothing_and_constants_with_it() -> None:
    cells = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))
    made = to_pixels(cells, (32, 32), 0.0)
    torch.testing.assert_close(made[0, [0, 0, -1, -1], [0, -1, 0, -1]], cells[0, [0, 0, -1, -1], [0, -1, 0, -1]])
    torch.testing.assert_close(to_pixels(torch.full((1, 4, 4), 3.0), (32, 48), 16.0), torch.full((1, 32, 48), 3.0))


def test_a_negative_blur_is_refused() -> None:
    with pytest.raises(ConfigError, match="smoothing"):
        build("padim", overrides={"smoothing": -1.0})
