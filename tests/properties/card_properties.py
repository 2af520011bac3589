"""The default property set of every metric, generated from its card.

``properties_of(subject)`` returns a class of hypothesis tests; assign it to a module-level name that begins with
``Test``. Which tests it holds follows from ``subject.card``: range, identity and each declared invariance; symmetry is
checked, or, where the card does not declare it, found to be absent. Bad input, untouched arguments and float32 against
float64 are checked always.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from harness.metrics.card import MetricCard
from harness.metrics.errors import EmptyInput, MetricError, NonFinite

Pair = tuple[np.ndarray, np.ndarray]
Metric = Callable[..., float]
SETTINGS = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Subject:
    """A metric under test: its card, a callable of (prediction, truth) and a strategy of float64 pairs, samples first.

    ``scale`` is the size to which errors are relative, by default 1 + |value|; ``exact`` the tolerance of invariances
    and ``single`` that of float32 input, relative to it. ``merged`` computes the value from parts that were updated
    separately and merged, ``batched`` with internal blocks of the given size: needed where the card declares
    "split-merge" or "batch". ``perfect`` returns the prediction that deserves ``card.identity``. ``paired`` says that a
    row of the prediction belongs to a row of the truth, so parts are cut from both alike. Properties that the metric
    leaves undefined are named in ``skip``.
    """

    card: MetricCard
    metric: Metric
    pairs: SearchStrategy[Pair]
    scale: Callable[[np.ndarray, np.ndarray], float] | None = None
    exact: float = 1e-9
    single: float = 1e-5
    merged: Callable[[Sequence[Pair]], float] | None = None
    batched: Callable[[np.ndarray, np.ndarray, int], float] | None = None
    perfect: Callable[[np.ndarray], np.ndarray] = np.copy
    paired: bool = False
    skip: frozenset[str] = frozenset()


def properties_of(subject: Subject) -> type:
    """Return a test class with the properties that the subject's card declares."""
    card = subject.card
    unmet = [
        f"{what} (pass Subject.{attribute})"
        for what, attribute in (("split-merge", "merged"), ("batch", "batched"))
        if what in card.invariances and getattr(subject, attribute) is None
    ]
    if unmet:
        raise TypeError(f"{card.name}: the card declares {', '.join(unmet)}")
    checks = {name: check for name, check in ALWAYS.items() if name not in subject.skip}
    checks |= {name: check for name, check in DECLARED.items() if name in card.invariances}
    if card.identity is not None:
        checks["identity"] = identity
    members: dict[str, object] = {
        f"test_{name.replace('-', '_')}": _hypothesis_test(check, subject) for name, check in checks.items()
    }
    if "symmetric" not in card.invariances and "asymmetric" not in subject.skip:
        members["test_asymmetric"] = _asymmetry_test(subject)
    return type(f"Test_{card.name}", (), members)


def _hypothesis_test(check: Callable[..., None], subject: Subject) -> object:
    @SETTINGS
    @given(pair=subject.pairs, seed=st.integers(0, 2**32 - 1))
    def test(pair: Pair, seed: int) -> None:
        check(subject, *pair, np.random.default_rng(seed))

    return staticmethod(test)


def _asymmetry_test(subject: Subject) -> object:
    def test() -> None:
        """A metric that is not declared symmetric must show it on some pair; otherwise the card says too little."""
        found = []

        @settings(SETTINGS, max_examples=100, database=None, derandomize=True)
        @given(pair=subject.pairs)
        def look(pair: Pair) -> None:
            if not found and pair[0].shape == pair[1].shape:
                found.extend([1] * (not _same(subject, *pair, subject.metric(*pair), subject.metric(*pair[::-1]))))

        look()
        assert found, f"{subject.card.name} looks symmetric: declare it on the card"

    return staticmethod(test)


def _same(subject: Subject, x: np.ndarray, y: np.ndarray, a: float, b: float, tolerance: float | None = None) -> bool:
    if np.isnan(a) or np.isnan(b):
        return bool(np.isnan(a) and np.isnan(b))
    size = subject.scale(x, y) if subject.scale else 1 + abs(a)
    return abs(a - b) <= (subject.exact if tolerance is None else tolerance) * size


def _assert_same(subject: Subject, x: np.ndarray, y: np.ndarray, a: float, b: float, **how: float) -> None:
    assert _same(subject, x, y, a, b, **how), f"{subject.card.name}: {a!r} became {b!r}"


# ----------------------------------------------------------------------------------------------- always checked
def in_range(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    value = subject.metric(x, y)
    assert isinstance(value, float)
    low, high = subject.card.range
    slack = subject.exact * (subject.scale(x, y) if subject.scale else 1.0)
    assert np.isnan(value) or low - slack <= value <= high + slack


def not_finite_raises(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    sides = [x.copy(), y.copy()]
    spoilt = sides[rng.integers(2)]
    spoilt.flat[rng.integers(spoilt.size)] = rng.choice([np.nan, np.inf, -np.inf])
    with pytest.raises(NonFinite):
        subject.metric(*sides)


def wrong_shape_raises(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    for wrong in ((x[..., None], y), (x, y[..., None]), (x[..., :-1], y), (x, y[0])):
        with pytest.raises(MetricError):
            subject.metric(*wrong)


def empty_raises(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    with pytest.raises(EmptyInput):
        subject.metric(x[:0], y[:0])


def too_few_raises(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    if (few := subject.card.min_n - 1) >= 1:
        with pytest.raises(MetricError):
            subject.metric(x[:few], y[:few])


def inputs_unchanged(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    sides = [x.copy(), y.copy()]
    first = subject.metric(*sides)
    np.testing.assert_array_equal(sides[0], x)
    np.testing.assert_array_equal(sides[1], y)
    np.testing.assert_equal(subject.metric(*sides), first)


def tensors_equal_arrays(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    np.testing.assert_equal(subject.metric(torch.tensor(x), torch.tensor(y)), subject.metric(x, y))


def float32_agrees(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    x32, y32 = x.astype(np.float32), y.astype(np.float32)
    x64, y64 = x32.astype(np.float64), y32.astype(np.float64)
    single, double = subject.metric(x32, y32), subject.metric(x64, y64)
    _assert_same(subject, x64, y64, double, single, tolerance=subject.single)


# --------------------------------------------------------------------------------------- where the card says so
def identity(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    best = subject.perfect(y)
    assert subject.card.identity is not None
    _assert_same(subject, best, y, subject.card.identity, subject.metric(best, y))


def symmetric(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    _assert_same(subject, x, y, subject.metric(x, y), subject.metric(y, x))


def permutation(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    _assert_same(subject, x, y, subject.metric(x, y), subject.metric(rng.permutation(x), rng.permutation(y)))


def joint_permutation(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    order = rng.permutation(len(x))
    _assert_same(subject, x, y, subject.metric(x, y), subject.metric(x[order], y[order]))


def split_merge(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    assert subject.merged is not None
    cuts_x = np.sort(rng.integers(0, len(x) + 1, 2))
    cuts_y = cuts_x if subject.paired else np.sort(rng.integers(0, len(y) + 1, 2))
    parts = list(zip(np.split(x, cuts_x), np.split(y, cuts_y), strict=True))
    whole = subject.metric(x, y)
    _assert_same(subject, x, y, whole, subject.merged(parts))
    _assert_same(subject, x, y, whole, subject.merged(parts[::-1]))


def batch(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    assert subject.batched is not None
    whole = subject.metric(x, y)
    for size in (1, 3):
        _assert_same(subject, x, y, whole, subject.batched(x, y, size))


def rotation(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    q, _ = np.linalg.qr(rng.standard_normal((x.shape[-1], x.shape[-1])))
    _assert_same(subject, x, y, subject.metric(x, y), subject.metric(x @ q, y @ q))


def shift(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    by = rng.standard_normal(x.shape[-1])
    _assert_same(subject, x, y, subject.metric(x, y), subject.metric(x + by, y + by))


def scale(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    factor = float(np.exp(rng.uniform(-2, 2)))
    _assert_same(subject, x, y, subject.metric(x, y), subject.metric(x * factor, y * factor))


def preds_shift(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    _assert_same(subject, x, y, subject.metric(x, y), subject.metric(x + float(rng.uniform(0, 2)), y))


def preds_scale(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    _assert_same(subject, x, y, subject.metric(x, y), subject.metric(x * float(np.exp(rng.uniform(-2, 2))), y))


def joint_flip(subject: Subject, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> None:
    flipped = np.ascontiguousarray(x[..., ::-1]), np.ascontiguousarray(y[..., ::-1])
    _assert_same(subject, x, y, subject.metric(x, y), subject.metric(*flipped))


ALWAYS = {
    "range": in_range,
    "not-finite": not_finite_raises,
    "wrong-shape": wrong_shape_raises,
    "empty": empty_raises,
    "too-few": too_few_raises,
    "inputs-unchanged": inputs_unchanged,
    "tensors": tensors_equal_arrays,
    "float32": float32_agrees,
}
DECLARED = {
    "symmetric": symmetric,
    "permutation": permutation,
    "joint-permutation": joint_permutation,
    "split-merge": split_merge,
    "batch": batch,
    "rotation": rotation,
    "shift": shift,
    "scale": scale,
    "preds-shift": preds_shift,
    "preds-scale": preds_scale,
    "joint-flip": joint_flip,
}
