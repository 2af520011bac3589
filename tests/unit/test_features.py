"""Feature spaces, resizing protocols and weights on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.metrics import features
from harness.metrics.errors import EmptyInput, MetricError, NonFinite, OutOfRange, ShapeMismatch, UnknownOption
from harness.metrics.features import FeatureSpace, feature_space, weights_digest_of
from harness.metrics.resize import resize_images, to_uint8
from harness.metrics.weights import WeightsFile, read_weights
from harness.types import MissingAsset


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 3, 40, 48), dtype=np.uint8)


# ------------------------------------------------------------------------------------------------------- spaces
def test_pixels_at_their_own_size_are_the_image(images: np.ndarray) -> None:
    small = np.ascontiguousarray(images[..., :32, :32])
    found = feature_space("pixels")(small)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, small.reshape(7, -1) / 255.0, atol=1e-6)


@pytest.mark.parametrize("name", ["pixels", "random"])
def test_features_do_not_depend_on_the_batch_nor_on_the_kind_of_array(name: str, images: np.ndarray) -> None:
    space = feature_space(name)
    whole = space(images)
    assert whole.shape == (7, space.dim)
    np.testing.assert_allclose(torch.cat([space(one[None]) for one in images]), whole, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(space(torch.from_numpy(images)), whole)


def test_random_space_is_the_same_every_time_and_leaves_the_global_generator_alone(images: np.ndarray) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first, second = feature_space("random"), feature_space("random")
    assert torch.equal(torch.rand(3), expected)
    assert first.digest == second.digest != feature_space("random", resize="legacy").digest
    assert torch.equal(first(images), second(images))
    assert first(images).std(0).min() > 0


def test_space_of_a_network_is_hashed_with_its_preprocessing() -> None:
    def space(**changes: object) -> FeatureSpace:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))
        return FeatureSpace.from_network("net", network, **({"dim": 5, "input_size": 8} | changes))

    digests = {space(**c).digest for c in ({}, {"resize": "clean"}, {"input_range": (0.0, 1.0)}, {"input_size": 9})}
    assert len(digests) == 4
    assert space() == space()
    torch.manual_seed(1)
    other = FeatureSpace.from_network("net", nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), dim=5, input_size=8)
    assert other.digest not in digests


def test_input_range_and_eval_mode() -> None:
    seen: list[Tensor] = []

    class Spy(nn.Module):
        def forward(self, batch: Tensor) -> Tensor:
            seen.append(batch)
            assert not self.training
            return batch.flatten(1)[:, :2]

    space = FeatureSpace.from_network("spy", Spy(), dim=2, input_size=None, batch_size=2)
    black_and_white = np.zeros((5, 3, 4, 6), np.uint8)
    black_and_white[1:] = 255
    space(black_and_white)
    assert [len(batch) for batch in seen] == [2, 2, 1]
    assert float(seen[0][0].max()) == -1
    assert float(seen[0][1].min()) == pytest.approx(1, abs=1e-6)


def test_bad_images_and_bad_networks(images: np.ndarray) -> None:
    space = feature_space("pixels")
    for wrong in (images.astype(np.float32), images[0], images[:, :1], images.transpose(0, 2, 3, 1)):
        with pytest.raises(ShapeMismatch):
            space(wrong)
    with pytest.raises(EmptyInput):
        space(images[:0])

    def network(batch: Tensor) -> Tensor:
        return batch.flatten(1)[:, :3] * np.inf

    with pytest.raises(UnknownOption, match="weights_digest"):
        FeatureSpace.from_network("bad", network, dim=3, input_size=None)
    with pytest.raises(NonFinite):
        FeatureSpace.from_network("bad", network, dim=3, input_size=None, weights_digest="x")(images)
    with pytest.raises(ShapeMismatch, match=r"returned \(7, 3\)"):
        FeatureSpace.from_network("bad", network, dim=4, input_size=None, weights_digest="x")(images)


def test_digest_of_weights_sees_names_shapes_and_values() -> None:
    network = nn.Linear(2, 3)
    before = weights_digest_of(network)
    assert before == weights_digest_of(network)
    with torch.no_grad():
        network.bias[1] += 1
    assert weights_digest_of(network) != before


# ------------------------------------------------------------------------------------------------------ weights
def test_missing_inception_is_named_with_folder_and_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARALLAX_WEIGHTS", str(tmp_path))
    with pytest.raises(MissingAsset) as caught:
        feature_space("inception")
    text = str(caught.value)
    assert features.INCEPTION.name in text
    assert str(tmp_path) in text
    assert "Put" in text
    (tmp_path / features.INCEPTION.name).write_bytes(b"something else")
    with pytest.raises(MissingAsset, match="SHA-256"):
        feature_space("inception")


def test_unknown_space_names_the_nearest() -> None:
    with pytest.raises(UnknownOption, match="Did you mean inception"):
        feature_space("inceptionv3")


def test_weights_are_found_as_file_or_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = WeightsFile("net.bin", hashlib.sha256(b"weights").hexdigest(), "a release")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "net.bin").write_bytes(b"weights")
    (tmp_path / "renamed.bin").write_bytes(b"weights")
    assert read_weights(wanted, tmp_path / "weights") == b"weights"
    assert read_weights(wanted, tmp_path / "renamed.bin") == b"weights"
    monkeypatch.delenv("PARALLAX_WEIGHTS", raising=False)
    monkeypatch.setenv("PARALLAX_CACHE", str(tmp_path))
    assert read_weights(wanted) == b"weights"
    with pytest.raises(MissingAsset, match=r"net\.bin"):
        read_weights(wanted, tmp_path / "nowhere" / "net.bin")


# ----------------------------------------------------------------------------------------------------- resizing
def test_legacy_aligns_corners_as_tensorflow_1_did() -> None:
    ramp = np.broadcast_to(np.arange(8, dtype=np.uint8), (1, 3, 8, 8)).copy()
    np.testing.assert_array_equal(resize_images(ramp, 4, protocol="legacy")[0, 0, 0], [0, 2, 4, 6])
    np.testing.assert_array_equal(resize_images(ramp, 4, protocol="legacy-torch")[0, 0, 0], [0.5, 2.5, 4.5, 6.5])
    np.testing.assert_array_equal(resize_images(ramp, 16, protocol="legacy")[0, 0, 0, :4], [0, 0.5, 1, 1.5])


@pytest.mark.parametrize("protocol", ["clean", "legacy", "legacy-torch", "none"])
def test_every_protocol_keeps_size_constants_and_range(protocol: str, images: np.ndarray) -> None:
    own = np.ascontiguousarray(images[..., :40])
    found = resize_images(own, 40, protocol=protocol)
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found, own)
    if protocol != "none":
        for size in (9, 77):
            flat = resize_images(np.full((1, 3, 20, 30), 200, np.uint8), size, protocol=protocol)
            assert flat.shape == (1, 3, size, size)
            np.testing.assert_allclose(flat, 200, atol=1e-3)
            assert float(resize_images(images, size, protocol=protocol).min()) >= 0


def test_protocols_differ_on_reduction(images: np.ndarray) -> None:
    clean, legacy, half = (resize_images(images, 12, protocol=p) for p in ("clean", "legacy", "legacy-torch"))
    assert (clean - legacy).abs().mean() > 5
    assert (half - legacy).abs().mean() > 5


def test_resize_refuses_what_it_cannot_do(images: np.ndarray) -> None:
    with pytest.raises(ShapeMismatch, match="none"):
        resize_images(images, 32, protocol="none")
    with pytest.raises(UnknownOption):
        resize_images(images, 32, protocol="bicubic")
    with pytest.raises(OutOfRange):
        resize_images(images, 0, protocol="clean")
    with pytest.raises(ShapeMismatch):
        resize_images(images.astype(np.float32), 32, protocol="clean")


# ------------------------------------------------------------------------------------------------- quantisation
def test_to_uint8_rounds_and_clips() -> None:
    values = torch.tensor([-2.0, -1.0, 0.0, 0.999, 1.0, 5.0]).view(1, 1, 1, 6).expand(1, 3, 1, 6)
    assert to_uint8(values, value_range=(-1, 1))[0, 0, 0].tolist() == [0, 0, 128, 255, 255, 255]
    every = torch.arange(256.0).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    for low, high in ((0, 255), (0, 1), (-3, 7)):
        there = every / 255 * (high - low) + low
        np.testing.assert_array_equal(to_uint8(there, value_range=(low, high)), every)


def test_to_uint8_refuses_bad_input(images: np.ndarray) -> None:
    with pytest.raises(ShapeMismatch):
        to_uint8(images, value_range=(0, 255))
    with pytest.raises(NonFinite):
        to_uint8(np.full((1, 3, 2, 2), np.nan), value_range=(0, 1))
    with pytest.raises(MetricError):
        to_uint8(np.zeros((1, 3, 2, 2)), value_range=(1, 1))
