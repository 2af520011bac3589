"""What every phase of a training step costs per call and, spread over the steps between its calls, per step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from harness.metrics.flops import Work
from harness.running.profiling.phases import OTHER, Spent, StepRecord


@dataclass(frozen=True)
class PhaseCost:
    """A phase: how often it is ``calls_per_step`` (1/16 for every sixteenth), ``call`` the median of a call, ``step``
    its share of a mean step."""

    name: str
    calls_per_step: float
    call: Spent
    step: Spent


def phase_costs(
    timed: Sequence[StepRecord], counted: Sequence[StepRecord], rates: Mapping[str, float] | None = None
) -> list[PhaseCost]:
    """The phases in the order of their first call, ``other`` last; ``counted`` are the steps whose work was counted.

    Where neither covers whole periods, ``rates`` says how many calls a step has of each phase.
    """
    names = list(dict.fromkeys(name for record in (*counted, *timed) for name, _ in record.calls))
    made = []
    for name in names:
        calls = [spent for record in timed for other, spent in record.calls if other == name]
        works = [spent.work for record in counted for other, spent in record.calls if other == name]
        rate = rates[name] if rates is not None else len(calls) / len(timed)
        work = sum(works, Work()).scaled(1 / max(len(works), 1))
        seconds, cpu = _mean([c.seconds for c in calls]), _mean([c.cpu for c in calls])
        middle = [median(values) if values else 0.0 for values in ([c.seconds for c in calls], [c.cpu for c in calls])]
        step = Spent(rate * seconds, rate * cpu, work.scaled(rate))
        made.append(PhaseCost(name, rate, Spent(middle[0], middle[1], work), step))
    rest = [record.other for record in timed]
    work = sum((record.other.work for record in counted), Work()).scaled(1 / max(len(counted), 1))
    usual = Spent(_median([r.seconds for r in rest]), _median([r.cpu for r in rest]), work)
    made.append(
        PhaseCost(OTHER, 1.0, usual, Spent(_mean([r.seconds for r in rest]), _mean([r.cpu for r in rest]), work))
    )
    return made


def whole_step(phases: Sequence[PhaseCost]) -> Spent:
    """A mean step: the sum of its phases."""
    return Spent(
        sum(phase.step.seconds for phase in phases),
        sum(phase.step.cpu for phase in phases),
        sum((phase.step.work for phase in phases), Work()),
    )


def rates_of(
    lazy: StepRecord, plain: Sequence[StepRecord], intervals: Mapping[str, int], period: int
) -> dict[str, float]:
    """Calls per step of every phase, from one step in which all are due and others in which few are.

    The interval is the one the preset declares under the phase's name, else 1 for what plain steps have too, and the
    whole period for what they lack.
    """
    rates: dict[str, float] = {}
    for name in dict.fromkeys(name for name, _ in lazy.calls):
        count = sum(other == name for other, _ in lazy.calls)
        seen = [sum(other == name for other, _ in record.calls) for record in plain]
        declared = intervals.get(name.rsplit(".", 1)[-1])
        if declared is not None and period > 1:
            rates[name] = count / declared
        else:
            rates[name] = fmean(seen) if any(seen) else count / period
    for record in plain:
        for name, _ in record.calls:
            rates.setdefault(name, 1.0)
    return rates


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0


def _median(values: Sequence[float]) -> float:
    return median(values) if values else 0.0
