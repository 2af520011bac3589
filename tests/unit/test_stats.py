"""Paired statistics against brute force, and their rates on simulated seeds."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest

from harness.tables import stats
from harness.tables.claims import decide


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20)


def brute_force(differences: list[float]) -> tuple[float, float]:
    """p by the definition: the share of all sign patterns whose sum is as large, or as far from 0."""
    signs = np.array(list(itertools.product((1, -1), repeat=len(differences))))
    sums, observed = signs @ np.array(differences), sum(differences)
    return float(np.mean(sums >= observed - 1e-9)), float(np.mean(np.abs(sums) >= abs(observed) - 1e-9))


# ------------------------------------------------------------------------------------------------ sign-flip test
@pytest.mark.parametrize("pairs", [1, 2, 5, 6, 9, 12])
def test_p_is_the_share_of_sign_patterns(pairs: int, random: np.random.Generator) -> None:
    for _ in range(5):
        differences = list(random.normal(0.3, 1.0, pairs))
        assert stats.sign_flip(differences) == pytest.approx(brute_force(differences))


@pytest.mark.parametrize("differences", [[1.0, 1.0, -1.0], [0.0, 0.0, 2.0, -1.0], [0.1, 0.2, -0.3], [0.0] * 5])
def test_ties_with_the_observed_mean_count(differences: list[float]) -> None:
    assert stats.sign_flip(differences) == pytest.approx(brute_force(differences))


def test_five_seeds_that_agree_reach_one_in_32_and_no_less() -> None:
    assert stats.sign_flip([1.0, 2.0, 3.0, 4.0, 5.0]) == (1 / 32, 2 / 32)
    assert stats.sign_flip([1e9] * 4) == (1 / 16, 2 / 16)
    assert stats.FEWEST_PAIRS == 5
    assert all(math.isnan(p) for p in stats.sign_flip([]))


def test_many_pairs_are_sampled_with_the_observed_pattern_added(random: np.random.Generator) -> None:
    differences = list(random.normal(0.4, 1.0, stats.EXACT_PAIRS + 4))
    p, _ = stats.sign_flip(differences)
    z = math.sqrt(len(differences)) * np.mean(differences) / math.sqrt(np.mean(np.square(differences)))
    assert p == pytest.approx(1 - NormalDist().cdf(z), abs=0.01)
    sure, _ = stats.sign_flip([1.0 + i for i in range(30)])
    assert 0 < sure < 1e-4


def test_false_positive_rate_of_the_test(random: np.random.Generator) -> None:
    for pairs in (5, 6, 8):
        attained = math.floor(0.05 * 2**pairs) / 2**pairs
        trials = random.standard_t(3, (3000, pairs))
        rate = np.mean([stats.sign_flip(list(row))[0] <= 0.05 for row in trials])
        assert rate == pytest.approx(attained, abs=4 * math.sqrt(attained / 3000))


# ----------------------------------------------------------------------------------------------------- intervals
def test_with_five_pairs_the_interval_is_the_range() -> None:
    assert stats.sign_flip_interval([3.0, 1.0, 5.0, 2.0, 4.0]) == (1.0, 5.0, 0.9375)
    assert stats.sign_flip_interval([1.0, 2.0, 3.0, 4.0]) == (-math.inf, math.inf, 1.0)


@pytest.mark.parametrize("pairs", [5, 6, 8, 10])
def test_the_interval_holds_the_effects_that_are_not_rejected(pairs: int, random: np.random.Generator) -> None:
    differences = random.normal(0.0, 1.0, pairs)
    low, high, _ = stats.sign_flip_interval(list(differences))
    for step in (1e-6, -1e-6):
        assert (stats.sign_flip(list(differences - (low + step)))[0] <= 0.05) == (step < 0)
        assert (stats.sign_flip(list(high + step - differences))[0] <= 0.05) == (step > 0)


@pytest.mark.parametrize("pairs", [5, 6, 8])
def test_coverage_of_both_intervals(pairs: int, random: np.random.Generator) -> None:
    trials = random.standard_normal((2000, pairs))
    error = 4 * math.sqrt(0.09 / 2000)
    exact = [stats.sign_flip_interval(list(row)) for row in trials]
    covered = np.mean([low <= 0 <= high for low, high, _ in exact])
    assert covered == pytest.approx(exact[0][2], abs=error)
    student = [stats.studentised_bootstrap(list(row)) for row in trials[: 400 if pairs == 8 else 1000]]
    error = 4 * math.sqrt(0.09 / len(student))
    assert 0.90 - error < np.mean([low <= 0 <= high for low, high in student]) < 0.92 + error


def test_a_bootstrap_of_all_resamples_needs_no_random_numbers() -> None:
    differences = [0.1, 0.4, 0.2, 0.9, 0.3]
    draws = np.random.default_rng(1).integers(0, 5, (200_000, 5))
    sample = np.array(differences)[draws]
    spread = sample.std(axis=1, ddof=1)
    t = (sample.mean(axis=1) - np.mean(differences))[spread > 0] / spread[spread > 0]
    low, high = stats.studentised_bootstrap(differences)
    expected = np.mean(differences) - np.std(differences, ddof=1) * np.quantile(t, [0.95, 0.05])
    assert (low, high) == pytest.approx(tuple(expected), abs=0.02)


def test_equal_differences_have_an_interval_of_no_length() -> None:
    assert stats.studentised_bootstrap([0.25] * 5) == (0.25, 0.25)
    assert all(math.isnan(end) for end in stats.studentised_bootstrap([1.0]))
    low, high = stats.studentised_bootstrap([0.0, 0.0, 0.0, 0.0, 1.0])
    assert math.isfinite(low)
    assert high == math.inf


# ---------------------------------------------------------------------------------------------------------- Holm
def test_holm_on_a_worked_example() -> None:
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.5, 0.9]) == [1.0, 1.0]
    adjusted = stats.holm([math.nan, 0.01, math.nan])
    assert math.isnan(adjusted[0])
    assert adjusted[1] == 0.01


def test_holm_keeps_the_family_wise_error(random: np.random.Generator) -> None:
    trials = random.standard_normal((400, 6, 8))
    wrong = [min(stats.holm([stats.sign_flip(list(d))[0] for d in family])) <= 0.05 for family in trials]
    assert np.mean(wrong) <= 0.05 + 4 * math.sqrt(0.05 / 400)


# ------------------------------------------------------------------------------------------ what seeds can decide
@pytest.mark.parametrize("pairs", [5, 6, 8, 15])
def test_power_at_the_minimum_detectable_effect(pairs: int, random: np.random.Generator) -> None:
    effect = stats.minimum_detectable_effect(pairs, 2.0)
    trials = random.normal(effect, 2.0, (1500 if pairs < 15 else 250, pairs))
    rate = np.mean([stats.sign_flip(list(row))[0] <= 0.05 for row in trials])
    assert rate == pytest.approx(0.8, abs=4 * math.sqrt(0.16 / len(trials)) + 0.01)


def test_detectable_effect_of_five_pairs_is_known_exactly() -> None:
    exact = NormalDist().inv_cdf(0.8 ** (1 / 5))  # all five differences must be positive
    assert stats.minimum_detectable_effect(5, 1.0) == pytest.approx(exact, rel=0.03)
    assert stats.minimum_detectable_effect(4, 1.0) == math.inf


@pytest.mark.parametrize(("effect", "smallest"), [(0.03, 0.02), (0.05, 0.0), (0.0, 0.02), (-0.01, 0.02)])
def test_seeds_that_would_decide_do_decide(effect: float, smallest: float, random: np.random.Generator) -> None:
    needed = stats.seeds_to_decide(effect, 0.025, smallest)
    assert needed is not None
    trials = random.normal(effect, 0.025, (300 if needed < 14 else 120, needed))
    decided = np.mean([decide(list(row), smallest)[0] != "INCONCLUSIVE" for row in trials])
    assert decided > 0.8 - 4 * math.sqrt(0.16 / len(trials))
    if needed > stats.FEWEST_PAIRS:
        assert sum(stats.chances(needed - 1, effect, 0.025, smallest)) < 0.8


def test_no_number_of_seeds_decides_an_effect_of_just_the_smallest_size() -> None:
    assert stats.seeds_to_decide(0.02, 0.05, 0.02) is None
    assert stats.seeds_to_decide(math.nan, 0.05, 0.02) is None
    assert stats.seeds_to_decide(0.1, 0.0, 0.02) == stats.FEWEST_PAIRS


# ------------------------------------------------------------------------------------------------------ the rule
@pytest.mark.parametrize("pairs", [5, 7])
def test_the_rule_errs_at_most_at_its_level(pairs: int, random: np.random.Generator) -> None:
    slack = 4 * math.sqrt(0.05 / 2000)
    nothing = [decide(list(row), 0.5)[0] for row in random.normal(0.0, 1.0, (2000, pairs))]
    assert nothing.count("SUPPORTED") / 2000 <= 0.05 + slack
    enough = [decide(list(row), 0.5)[0] for row in random.normal(0.5, 1.0, (2000, pairs))]
    assert enough.count("REFUTED") / 2000 <= 0.05 + slack


@pytest.mark.parametrize(("effect", "smallest"), [(1.0, 0.5), (0.0, 1.0), (0.4, 0.5)])
def test_simulated_chances_are_those_of_the_rule(effect: float, smallest: float, random: np.random.Generator) -> None:
    trials = random.normal(effect, 1.0, (2000, 6))
    words = [decide(list(row), smallest)[0] for row in trials]
    found = words.count("SUPPORTED") / 2000, words.count("REFUTED") / 2000
    assert found == pytest.approx(stats.chances(6, effect, 1.0, smallest), abs=0.045)
