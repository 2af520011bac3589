"""FST where its steps are known in closed form: a quadratic loss, plain gradient descent, a constant momentum."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fst_bench import parabola, weights

STEP = 1
"""Any iteration after the first."""
shares = st.floats(0.0, 1.0, width=32)
rates = st.floats(0.0, 0.5, width=32)
steps = st.integers(1, 4)
few = settings(deadline=None, max_examples=6)


def images(*means: float) -> torch.Tensor:
    return torch.tensor(means).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-5, atol=1e-5)


@few
@given(mu=shares, rate=rates, b=st.floats(-1, 1, width=32))
def test_one_virtual_step_is_the_scalar_formula(mu: float, rate: float, b: float) -> None:
    """P5: theta' = theta - g a (theta - b), phi1 = mu phi + (1 - mu) theta, phi2 = mu phi1 + (1 - mu) theta', and the
    real step, which knows nothing of phi here, ends at theta'."""
    method = parabola(curvature=1.5, rate=rate, mu=mu, K=1)
    assert method.teacher is not None
    theta, phi = weights(method.student.network), weights(method.teacher.network)
    method.train_step({"image": images(b)}, STEP)
    virtual = theta - rate * 1.5 * (theta - b)
    first = mu * phi + (1 - mu) * theta
    assert close(weights(method.student.network), virtual)
    assert close(weights(method.teacher.network), mu * first + (1 - mu) * virtual)


@few
@given(mu=shares, k=st.integers(0, 4))
def test_without_gradient_the_teacher_only_follows_faster(mu: float, k: int) -> None:
    """P4: phi' = mu^(K+1) phi + (1 - mu^(K+1)) theta."""
    method = parabola(rate=0.0, mu=mu, K=k)
    assert method.teacher is not None
    theta, phi = weights(method.student.network), weights(method.teacher.network)
    method.train_step({"image": images(0.3)}, STEP)
    share = mu ** (k + 1)
    assert close(weights(method.teacher.network), share * phi + (1 - share) * theta)


@few
@given(rate=rates, k=steps)
def test_momentum_at_its_ends(rate: float, k: int) -> None:
    """P7: at mu = 1 the teacher never moves, at mu = 0 it is the last virtual student."""
    still, running = (parabola(rate=rate, mu=mu, K=k) for mu in (1.0, 0.0))
    assert still.teacher is not None
    assert running.teacher is not None
    before, theta = weights(still.teacher.network), weights(running.student.network)
    for method in (still, running):
        method.train_step({"image": images(0.3)}, STEP)
    assert torch.equal(weights(still.teacher.network), before)
    assert close(weights(running.teacher.network), 0.3 + (1 - rate) ** k * (theta - 0.3))


@few
@given(mu=shares, rate=rates, means=st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=4))
def test_wide_follows_the_mean_of_the_branches(mu: float, rate: float, means: list[float]) -> None:
    """4.6: every branch starts from theta; the teacher follows their mean, then the real student. P6: an order of the
    branches changes the mean by rounding only."""
    n = len(means)
    teachers = []
    for order in (means, means[::-1]):
        method = parabola(rate=rate, mu=mu, variant="wide", N=n)
        assert method.teacher is not None
        theta, phi = weights(method.student.network), weights(method.teacher.network)
        future = {f"future_{name}": images(*order) for name in ("image", "label", "unlabelled_image")}
        method.train_step({"image": images(0.5), **future}, STEP)
        soup = theta - rate * (theta - sum(means) / n)
        real = theta - rate * (theta - 0.5)
        assert close(weights(method.student.network), real)
        assert close(weights(method.teacher.network), mu * (mu * phi + (1 - mu) * soup) + (1 - mu) * real)
        teachers.append(weights(method.teacher.network))
    assert close(*teachers)


@few
@given(mu=shares, rate=rates, n=steps)
def test_equal_branches_are_one_branch(mu: float, rate: float, n: int) -> None:
    """P6: N identical future batches and a loss without randomness."""
    methods = [parabola(rate=rate, mu=mu, variant="wide", N=branches, virtual_batch="same") for branches in (1, n)]
    for method in methods:
        method.train_step({"image": images(0.5)}, STEP)
    one, several = (method.teacher for method in methods)
    assert one is not None
    assert several is not None
    assert close(weights(one.network), weights(several.network))
    assert torch.equal(weights(methods[0].student.network), weights(methods[1].student.network))


@few
@given(mu=shares, rate=rates, variant=st.sampled_from(["deep", "wide"]), n=steps)
def test_the_teacher_stays_among_the_students(mu: float, rate: float, variant: str, n: int) -> None:
    """P8: every weight of it lies between the least and the greatest of the start and of the students, virtual or
    real. They all lie between theta, where they start, and b, where the loss pulls them."""
    method = parabola(rate=rate, mu=mu, variant=variant, K=n, N=n, virtual_batch="same")
    assert method.teacher is not None
    theta, phi = weights(method.student.network), weights(method.teacher.network)
    for step in range(STEP, 4):
        method.train_step({"image": images(0.5)}, step)
    candidates = torch.stack([theta, phi, torch.full_like(theta, 0.5)])
    teacher = weights(method.teacher.network)
    assert (teacher >= candidates.amin(0) - 1e-5).all()
    assert (teacher <= candidates.amax(0) + 1e-5).all()


@few
@given(mu=shares, rate=rates)
def test_switches_of_the_teacher(mu: float, rate: float) -> None:
    """A rolled-back teacher keeps the present student only; without the first update it follows virtual students only;
    ``mu_virtual`` is the momentum of virtual updates; ``last_update`` adds the real student."""
    cases: dict[str, dict[str, Any]] = {
        "teacher_rollback": {"teacher_rollback": True},
        "naive": {"teacher_init_update": False},
        "mu_virtual": {"mu_virtual": 0.25},
        "last_update": {"last_update": True},
    }
    for case, keys in cases.items():
        method = parabola(rate=rate, mu=mu, K=1, **keys)
        assert method.teacher is not None
        theta, phi = weights(method.student.network), weights(method.teacher.network)
        method.train_step({"image": images(0.5)}, STEP)
        virtual = theta - rate * (theta - 0.5)
        first = mu * phi + (1 - mu) * theta
        second = mu * first + (1 - mu) * virtual
        expected = {
            "teacher_rollback": first,
            "naive": mu * phi + (1 - mu) * virtual,
            "mu_virtual": 0.25 * first + 0.75 * virtual,
            "last_update": mu * second + (1 - mu) * virtual,
        }[case]
        assert close(weights(method.teacher.network), expected), case
