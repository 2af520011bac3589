"""Learning curves: when a probe is due, and how its points and the log's losses become arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.running.probes import Probe, curves


@pytest.mark.parametrize(("count", "total"), [(1, 7), (4, 100), (8, 5000), (8, 1250), (5, 3)])
def test_a_probe_is_due_at_even_steps_and_at_the_end(count: int, total: int) -> None:
    probe = Probe(count, lambda method: {})
    due = [step for step in range(1, total + 1) if probe.due(step, total)]
    assert due[-1] == total
    assert len(due) == min(count, total)
    assert np.ptp(np.diff([0, *due])) <= 1


def test_curves_hold_a_loss_as_its_mean_since_the_point_before() -> None:
    probes = [{"step": 20, "auroc": 0.5}, {"step": 40, "auroc": None, "error": 2.0}]
    log = [{"step": step, "losses": {"loss": float(step)}} for step in (10, 20, 30, 40)]
    found = curves(probes, log)
    assert found["probe_step"].tolist() == [20, 40]
    assert found["probe_loss"].tolist() == [15, 35]
    assert found["probe_auroc"][0] == 0.5
    assert math.isnan(found["probe_auroc"][1])
    assert math.isnan(found["probe_error"][0])


def test_no_points_no_curves() -> None:
    assert curves([], [{"step": 1, "losses": {"loss": 1.0}}]) == {}
