"""Generation metrics against torch-fidelity and clean-fid on the same features, and resizers against theirs."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from harness.metrics import features
from harness.metrics.features import FeatureSpace
from harness.metrics.fid import frechet_distance, frechet_distance_from_moments
from harness.metrics.kid import kernel_distance, kernel_distance_full
from harness.metrics.manifold import precision_recall_density_coverage
from harness.metrics.moments import moments
from harness.metrics.resize import resize_images

torch_fidelity = pytest.importorskip("torch_fidelity")
cleanfid_fid = pytest.importorskip("cleanfid.fid")
cleanfid_resize = pytest.importorskip("cleanfid.resize")


def feature_sets(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((d, d)) / np.sqrt(d)
    x = np.maximum(rng.standard_normal((n, d)) @ mix + 0.3, 0)
    y = np.maximum(rng.standard_normal((n, d)) @ mix * 1.1 + 0.4, 0)
    return x.astype(np.float32), y.astype(np.float32)


# ---------------------------------------------------------------------------------------------------------- FID
@pytest.mark.filterwarnings("ignore:The `disp` argument")  # clean-fid's call of scipy.linalg.sqrtm
@pytest.mark.parametrize("d", [4, 64, 192])
def test_fid_equals_both_peers(d: int) -> None:
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    x, y = (side.astype(np.float64) for side in feature_sets(600, d))
    ours = frechet_distance(x, y)
    statistics = [fid_features_to_statistics(torch.from_numpy(side)) for side in (x, y)]
    assert ours == pytest.approx(fid_statistics_to_metric(*statistics, False)[KEY_METRIC_FID], rel=1e-8)
    assert ours == pytest.approx(clean_fid(x, y), rel=1e-8)


@pytest.mark.filterwarnings("ignore")  # scipy warns of the singular product that clean-fid hands to sqrtm
def test_fid_of_fewer_rows_than_dimensions_is_within_the_noise_of_the_peers() -> None:
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    x, y = (side.astype(np.float64) for side in feature_sets(50, 100))
    statistics = [fid_features_to_statistics(torch.from_numpy(side)) for side in (x, y)]
    theirs = fid_statistics_to_metric(*statistics, False)[KEY_METRIC_FID]
    assert frechet_distance(x, y) == pytest.approx(theirs, rel=1e-6)
    assert frechet_distance_from_moments(moments(x), moments(y)) == pytest.approx(theirs, rel=1e-6)
    assert frechet_distance(x, y) == pytest.approx(clean_fid(x, y), rel=1e-6)


def clean_fid(x: np.ndarray, y: np.ndarray) -> float:
    parts = [part for side in (x, y) for part in (side.mean(0), np.cov(side, rowvar=False))]
    return float(cleanfid_fid.frechet_distance(*parts))


# ---------------------------------------------------------------------------------------------------------- KID
def peer_kid(x: np.ndarray, y: np.ndarray, **options: object) -> tuple[float, float]:
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    found = kid_features_to_metric(
        torch.from_numpy(x),
        torch.from_numpy(y),
        kid_kernel="poly",
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1,
        verbose=False,
        **options,
    )
    return found[KEY_METRIC_KID_MEAN], found[KEY_METRIC_KID_STD]


@pytest.mark.parametrize(("subsets", "size"), [(20, 100), (2, 20)])
@pytest.mark.parametrize(("dtype", "relative"), [(np.float32, 2e-4), (np.float64, 1e-9)])
def test_kid_takes_the_peers_subsets(subsets: int, size: int, dtype: type, relative: float) -> None:
    x, y = (side.astype(dtype) for side in feature_sets(400, 150))
    theirs = peer_kid(x, y, kid_subsets=subsets, kid_subset_size=size, rng_seed=2020)
    ours = kernel_distance(x, y, subsets=subsets, subset_size=size, generator=np.random.RandomState(2020))
    assert ours == pytest.approx(theirs, rel=relative)


def test_kid_oracle_and_full_estimator() -> None:
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    assert peer_kid(x, y, kid_subsets=1, kid_subset_size=2, rng_seed=0)[0] == pytest.approx(297.5)
    x, y = (side.astype(np.float64) for side in feature_sets(120, 30))
    everything = peer_kid(x, y, kid_subsets=1, kid_subset_size=120, rng_seed=0)[0]
    assert kernel_distance_full(x, y)[0] == pytest.approx(everything, rel=1e-9)


def test_kid_distribution_covers_clean_fid(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = (side.astype(np.float64) for side in feature_sets(400, 50))
    monkeypatch.setattr(np.random, "choice", np.random.RandomState(0).choice)
    theirs = cleanfid_fid.kernel_distance(x, y, num_subsets=50, max_subset_size=100)
    mean, deviation = kernel_distance(x, y, subsets=50, subset_size=100, generator=np.random.RandomState(1))
    assert mean == pytest.approx(theirs, abs=4 * deviation / np.sqrt(50) * np.sqrt(2))


# --------------------------------------------------------------------------------------------------------- PRDC
@pytest.mark.parametrize("d", [8, 96])
@pytest.mark.parametrize("blocked", [False, True])
def test_precision_and_recall_are_the_peers_counts(d: int, blocked: bool) -> None:
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    x, y = feature_sets(500, d)
    theirs = prc_features_to_metric(
        torch.from_numpy(x),
        torch.from_numpy(y),
        prc_neighborhood=3,
        prc_batch_size=128,
        save_cpu_ram=blocked,
        verbose=False,
    )
    ours = precision_recall_density_coverage(x, y, k=3)
    assert 0 < ours.recall < 1
    assert ours.precision == pytest.approx(theirs[KEY_METRIC_PRECISION], abs=1e-6)
    assert ours.recall == pytest.approx(theirs[KEY_METRIC_RECALL], abs=1e-6)


# ------------------------------------------------------------------------------------------------------- resize
@pytest.fixture
def pictures() -> np.ndarray:
    """Noise, a checkerboard and a gradient, 64 x 64: what aliasing and borders show on."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (3, 64, 64))
    board = np.broadcast_to(np.indices((64, 64)).sum(0) % 2 * 255, (3, 64, 64))
    slope = np.broadcast_to(np.linspace(0, 255, 64), (3, 64, 64))
    return np.stack([noise, board, slope]).astype(np.uint8)


@pytest.mark.parametrize("size", [32, 50, 64, 299])
@pytest.mark.parametrize(
    ("protocol", "library", "kind"), [("clean", "PIL", "bicubic"), ("legacy-torch", "PyTorch", "bilinear")]
)
def test_resizers_equal_clean_fid(size: int, protocol: str, library: str, kind: str, pictures: np.ndarray) -> None:
    resizer = cleanfid_resize.make_resizer(library, False, kind, (size, size))
    expected = np.stack([resizer(picture.transpose(1, 2, 0)).transpose(2, 0, 1) for picture in pictures])
    found = resize_images(pictures, size, protocol=protocol)
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("size", [32, 50, 64, 299])
def test_legacy_resizer_equals_torch_fidelity(size: int, pictures: np.ndarray) -> None:
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    batch = torch.from_numpy(pictures).float()
    expected = interpolate_bilinear_2d_like_tensorflow1x(batch, size=(size, size), align_corners=False)
    np.testing.assert_allclose(resize_images(pictures, size, protocol="legacy"), expected, rtol=0, atol=1e-3)


# ---------------------------------------------------------------------------------------------------- inception
def test_inception_layers_equal_torch_fidelitys_forward(pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published weights are not on a test machine; random ones exercise the same chain of layers."""
    from torch_fidelity import feature_extractor_inceptionv3 as peer

    monkeypatch.setattr(peer, "load_state_dict_from_url", lambda *args, **options: {})
    monkeypatch.setattr(peer.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        extractor = peer.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    monkeypatch.undo()
    payload = io.BytesIO()
    torch.save(extractor.state_dict(), payload)
    space = FeatureSpace.from_network(
        "inception",
        features._inception(payload.getvalue()),
        dim=2048,
        input_size=299,
        input_range=(-1.0, 127 / 128),
        resize="legacy",
    )
    with torch.no_grad():
        (expected,) = extractor(torch.from_numpy(pictures))
    found = space(pictures)
    assert float(expected.std(0).max()) > 0
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
