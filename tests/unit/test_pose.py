import math

import numpy as np
import pytest
import torch

from harness import cameras as cam
from harness.metrics import errors
from harness.metrics.pose import (
    identity_similarity,
    identity_variance_ratio,
    pose_control,
    pose_correlation,
    pose_error,
)

REQUESTED = np.deg2rad([0.0, 30, 60, 90])
ESTIMATED = np.deg2rad([5.0, 37, 63, 95])


@pytest.mark.parametrize("sign", [1, -1])
def test_pose_control_oracle(sign):
    scores = pose_control(REQUESTED, sign * ESTIMATED)
    assert scores["resultant"] == pytest.approx(0.9996954, abs=1e-7)
    assert scores["sign"] == sign
    assert scores["offset_deg"] == pytest.approx(sign * 5.0, abs=1e-9)
    assert scores["mae_deg"] == pytest.approx(1.0, abs=1e-9)
    assert scores["slope"] == pytest.approx(0.986667, abs=1e-6)


def test_pose_control_over_the_full_ring_unwraps():
    requested = torch.linspace(-math.pi, math.pi, 37, dtype=torch.float64)[:-1]
    estimated = cam.wrap(requested + 3.0)
    scores = pose_control(requested, estimated)
    assert scores["resultant"] == pytest.approx(1.0)
    assert scores["slope"] == pytest.approx(1.0)
    assert scores["mae_deg"] == pytest.approx(0.0, abs=1e-9)


def test_a_generator_that_ignores_the_pose_has_the_known_floor_of_the_resultant():
    requested = torch.linspace(-1, 1, 20001, dtype=torch.float64) * math.radians(60)
    scores = pose_control(requested, torch.zeros_like(requested))
    assert scores["resultant"] == pytest.approx(math.sin(math.radians(60)) / math.radians(60), abs=1e-4)


def test_equal_requests_leave_the_slope_undefined():
    scores = pose_control(np.zeros(4), ESTIMATED)
    assert math.isnan(scores["slope"])
    assert 0 < scores["resultant"] < 1


def sweep(noise: float = 0.0, latent: float = 0.0, k: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    requested = np.linspace(-1, 1, 9)
    return requested, latent * rng.standard_normal((k, 1)) + noise * rng.standard_normal((k, 9))


def test_perfect_and_mirrored_control():
    requested, zero = sweep()
    for sign in (1, -1):
        scores = pose_correlation(requested, zero + sign * 0.5 * requested)
        assert scores.pearson == pytest.approx(sign)
        assert scores.correlation == pytest.approx(1.0)
        assert scores.rank_correlation == pytest.approx(1.0)
        assert scores.slope == pytest.approx(0.5)
        assert scores.eta_squared == pytest.approx(1.0)
        assert scores.spread_deg == pytest.approx(0.0, abs=1e-9)
        np.testing.assert_allclose(scores.mean_curve_deg, np.degrees(sign * 0.5 * requested), atol=1e-12)
        assert scores.state == "controlled"


def test_the_failure_states_have_names():
    requested, noisy = sweep(noise=0.02)
    folded = pose_correlation(requested, noisy + np.cos(3 * requested))
    assert folded.correlation < 0.1
    assert folded.eta_squared > 0.9
    assert folded.state == "folded"
    assert pose_correlation(requested, noisy + 0.2 * requested).state == "narrow"

    requested, latent = sweep(noise=0.02, latent=0.5)
    carried = pose_correlation(requested, latent + 0.1 * requested)
    assert carried.eta_squared < 0.1
    assert carried.spread_deg == pytest.approx(math.degrees(0.5), rel=0.15)
    assert carried.state == "latent_carries_pose"

    constant = pose_correlation(requested, np.zeros((3, 9)))
    assert constant.state == "undefined"
    assert constant.slope == 0.0
    assert math.isnan(constant.eta_squared)


def test_correlation_of_an_uncontrolled_generator_is_near_zero():
    requested, noisy = sweep(noise=1.0, k=2000)
    scores = pose_correlation(requested, noisy)
    assert scores.correlation < 0.03
    assert scores.slope < 0.03
    assert scores.eta_squared < 0.01


def test_correlation_equals_numpy_and_eta_follows_its_definition():
    requested, noisy = sweep(noise=0.3, latent=0.2, k=20)
    estimated = noisy + 0.7 * requested
    scores = pose_correlation(requested, estimated)
    x, y = np.broadcast_to(requested, estimated.shape).ravel(), estimated.ravel()
    assert scores.pearson == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
    assert scores.slope == pytest.approx(np.polyfit(x, y, 1)[0], abs=1e-12)
    assert scores.eta_squared == pytest.approx(1 - estimated.var(0).mean() / y.var(), abs=1e-12)


def test_pose_correlation_rejects_what_it_cannot_use():
    with pytest.raises(errors.TooFew):
        pose_correlation(np.zeros(1), np.zeros((4, 1)))
    with pytest.raises(errors.ShapeMismatch):
        pose_correlation(np.zeros(3), np.zeros((4, 2)))
    with pytest.raises(errors.NonFinite):
        pose_correlation(np.zeros(2), np.full((4, 2), np.nan))


def test_pose_error_wraps_and_agrees_with_rotations():
    preds = torch.tensor([[0.1, math.pi - 0.05, 0.0]], dtype=torch.float64)
    target = torch.tensor([[0.1, -math.pi + 0.05, 0.0]], dtype=torch.float64)
    scores = pose_error(preds, target)
    assert scores["mse"] == pytest.approx(0.01 / 3, abs=1e-12)
    # Two directions 0.1 apart in yaw at pitch 0.1: a rotation about the vertical by 0.1.
    assert scores["geodesic_deg"] == pytest.approx(math.degrees(0.1), abs=1e-9)


def test_pose_error_accepts_our_cameras():
    prior = cam.PRIORS["wide60"]
    one = cam.look_at(torch.tensor([0.3, -0.4]), torch.tensor([0.1, 0.2]), prior)
    two = cam.look_at(torch.tensor([0.5, -0.4]), torch.tensor([0.1, 0.2]), prior)
    scores = pose_error(one.cam2world[:, :3, :3], two.cam2world[:, :3, :3])
    assert scores["mse"] == pytest.approx(0.2**2 / 6, rel=1e-5)
    assert scores["geodesic_deg"] == pytest.approx(math.degrees(0.1), rel=1e-5)
    with pytest.raises(errors.OutOfRange):
        pose_error(2 * one.cam2world[:, :3, :3], two.cam2world[:, :3, :3])


def test_identity_similarity_by_hand():
    embeddings = np.array([[1.0, 0], [2, 0], [0, 1], [0, 3], [0, 0]])
    scores = identity_similarity(embeddings, np.array([0, 0, 1, 1, 1]))
    assert scores == pytest.approx({"same": 1.0, "different": 0.0, "gap": 1.0})
    alone = identity_similarity(embeddings[:2], np.array([0, 1]))
    assert math.isnan(alone["same"])
    assert alone["different"] == pytest.approx(1.0)


def test_identity_similarity_equals_the_loop_over_pairs():
    rng = np.random.default_rng(0)
    embeddings, labels = rng.standard_normal((12, 5)), rng.integers(0, 4, 12)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosine = unit @ unit.T
    i, j = np.triu_indices(12, 1)
    alike = labels[i] == labels[j]
    scores = identity_similarity(embeddings, labels)
    assert scores["same"] == pytest.approx(cosine[i, j][alike].mean(), abs=1e-12)
    assert scores["different"] == pytest.approx(cosine[i, j][~alike].mean(), abs=1e-12)


def test_identity_variance_ratio_by_hand():
    pose = np.array([-1.0, 1.0])  # variance 1 over poses
    identity = np.array([-2.0, 2.0])  # variance 4 over identities
    attributes = np.stack(
        (identity[:, None] + pose, identity[:, None] + 0 * pose, 0 * identity[:, None] + 0 * pose + 0.1), axis=-1
    )
    values = identity_variance_ratio(attributes, reduction="none")
    assert values[:2].tolist() == [0.25, 0.0]
    assert math.isnan(values[2])
    assert identity_variance_ratio(attributes) == 0.125
    with pytest.raises(errors.TooFew):
        identity_variance_ratio(attributes[:1])


def test_a_missing_kind_of_pair_is_undefined_not_round_off():
    embeddings = np.random.default_rng(2).standard_normal((2, 3))
    assert math.isnan(identity_similarity(embeddings, np.zeros(2, int))["different"])
    assert math.isnan(identity_similarity(embeddings, np.arange(2))["same"])
