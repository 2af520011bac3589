"""The training loop: budgets, stages, log, resumption to the bit, interruption, the guard against NaN."""

from __future__ import annotations

import functools
import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.data.batches import ResidentBatches
from harness.running import checkpoint, devices
from harness.running.optimisers import optimisers
from harness.running.training import (
    MethodConfig,
    Trainer,
    build_method,
    gradient_norms,
    parameter_count,
    schedule,
    train,
)
from harness.running.trainlog import StepNotFinite, TrainLog, records
from harness.types import Cell, ConfigError, Stage
from tests.unit.tiny_cells import SIZE, Tiny, tiny_cell


def made(cell: Cell) -> Trainer:
    plan = schedule(cell.budget.images, 8, Tiny.stages)
    context = devices.make_context(cell, torch.device("cpu"), "train", plan.steps)
    images = np.random.default_rng(0).integers(0, 256, (40, SIZE, SIZE, 3), dtype=np.uint8)
    batches = ResidentBatches(images, 8, devices.generator(cell.seed, "data"), channels_last=True)
    return Trainer(build_method(cell, Tiny, context), batches, context, plan)


def bits(trainer: Trainer) -> bytes:
    return checkpoint.to_bytes(trainer.state_dict())


def run(trainer: Trainer, folder: Path, save: Any = lambda: None, state: Any = None, **options: Any) -> TrainLog:
    log = TrainLog(folder / "train.jsonl", 8, trainer.step, state and state["pending"])
    train(trainer, log, save, **{"every": 7, **options})
    return log


# -------------------------------------------------------------------------------------------------- schedules
@pytest.mark.parametrize(("images", "batch", "steps"), [(1, 8, 1), (8, 8, 1), (9, 8, 2), (24000, 32, 750)])
def test_a_budget_in_images_is_rounded_up_to_steps(images: int, batch: int, steps: int) -> None:
    assert schedule(images, batch, (Stage(),)).steps == steps


def test_stages_share_the_steps() -> None:
    plan = schedule(100, 1, (Stage("a", 1), Stage("b", 2), Stage("c", 1)))
    assert plan.starts == (0, 25, 75)
    assert [plan.stage(step).name for step in (0, 24, 25, 74, 75, 99)] == ["a", "a", "b", "b", "c", "c"]


@pytest.mark.parametrize(("images", "shares"), [(0, (1.0,)), (10, ()), (10, (0.0,)), (10, (1.0, math.nan))])
def test_impossible_schedules_are_refused(images: int, shares: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError):
        schedule(images, 8, [Stage("s", share) for share in shares])


def test_a_preset_is_read_by_attribute_and_item_and_names_what_is_missing() -> None:
    config = MethodConfig({"width": 3}, "preset")
    assert config.width == config["width"] == 3
    assert config.get("depth", 2) == 2
    assert not hasattr(config, "depth")
    with pytest.raises(ConfigError, match=r"'widht'.*Did you mean width"):
        _ = config.widht


# ------------------------------------------------------------------------------------------------ the loop
def test_two_runs_are_equal_to_the_bit_and_another_seed_is_not(tmp_path: Path) -> None:
    ends = []
    for seed in (0, 0, 1):
        trainer = made(tiny_cell(seed=seed))
        run(trainer, tmp_path)
        ends.append(bits(trainer))
    assert ends[0] == ends[1] != ends[2]


@pytest.mark.parametrize("stop", [1, 7, 8, 13, 29])
def test_a_resumed_training_equals_an_undisturbed_one(tmp_path: Path, stop: int) -> None:
    whole = made(tiny_cell())
    run(whole, tmp_path)
    end = bits(whole)
    expected = [{k: v for k, v in r.items() if "seconds" not in k} for r in records(tmp_path / "train.jsonl")]

    folder, kept = tmp_path / "cut", tmp_path / "state"
    folder.mkdir()
    broken = made(tiny_cell())
    log = TrainLog(folder / "train.jsonl", 8)

    class Cut(Exception):
        pass

    def advance() -> Any:
        if broken.step == stop:
            kept.write_bytes(checkpoint.to_bytes({**broken.state_dict(), "pending": log.pending()}))
            raise Cut
        return Trainer.advance(broken)

    broken.advance = advance  # type: ignore[method-assign]
    with pytest.raises(Cut):
        train(broken, log, lambda: None, every=7)
    with open(folder / "train.jsonl", "ab") as file:
        file.write(b'{"step": 30, "torn')

    torch.manual_seed(99)
    resumed, state = made(tiny_cell()), checkpoint.load(kept)
    resumed.load_state_dict(state)
    run(resumed, folder, state=state)
    assert bits(resumed) == end
    assert [{k: v for k, v in r.items() if "seconds" not in k} for r in records(folder / "train.jsonl")] == expected


def test_the_log_holds_means_norms_stages_and_images(tmp_path: Path) -> None:
    trainer = made(tiny_cell())
    seen: list[tuple[int, dict[str, float]]] = []
    run(trainer, tmp_path, notify=lambda step, losses, seconds: seen.append((step, dict(losses))))
    lines = records(tmp_path / "train.jsonl")
    assert [line["step"] for line in lines] == [7, 14, 21, 28, 30] == [step for step, _ in seen]
    assert [line["stage"] for line in lines] == ["warm", "main", "main", "main", "main"]
    assert lines[-1]["images"] == 240
    assert set(lines[0]["losses"]) == {"loss", "odd"}
    assert set(lines[-1]["gradient_norms"]) == {"optimiser", "second"}
    assert all(value > 0 for value in lines[-1]["gradient_norms"].values())


def test_gradient_norms_and_parameters_are_those_of_the_optimisers(tmp_path: Path) -> None:
    trainer = made(tiny_cell())
    trainer.advance()
    method = trainer.method
    assert isinstance(method, Tiny)
    assert list(optimisers(method)) == ["optimiser"]
    flat = torch.cat([p.grad.flatten() for p in method.net.parameters() if p.grad is not None])
    assert gradient_norms(method)["optimiser"].item() == pytest.approx(flat.norm().item())
    assert parameter_count(method) == sum(p.numel() for p in method.net.parameters())


def test_what_is_plugged_into_a_base_counts_its_weights_too(tmp_path: Path) -> None:
    class Plug:
        def __init__(self, base: Any) -> None:
            self.base, self.head = base, torch.nn.Linear(3, 2)
            self.head_optimiser = torch.optim.Adam(self.head.parameters())

    class Helper:
        def __init__(self) -> None:
            self.net = torch.nn.Linear(2, 1)
            self._optimiser = torch.optim.Adam(self.net.parameters())

    base = made(tiny_cell()).method
    plug: Any = Plug(base)
    assert set(optimisers(plug)) == {"base.optimiser", "head_optimiser"}
    assert parameter_count(plug) == parameter_count(base) + 8
    plug.views, plug._head_optimiser = Helper(), torch.optim.Adam(Helper().net.parameters())
    assert {"base.optimiser", "head_optimiser", "views.optimiser"} < set(optimisers(plug))
    assert len(optimisers(plug)) == 4, "two paths that read alike are two optimisers"


def test_checkpoints_follow_the_clock_and_the_end(tmp_path: Path) -> None:
    saves: list[int] = []
    for seconds, expected in ((0.0, [7, 14, 21, 28, 30]), (1e9, [30])):
        saves.clear()
        trainer = made(tiny_cell())
        run(trainer, tmp_path, functools.partial(lambda t: saves.append(t.step), trainer), checkpoint_seconds=seconds)
        assert saves == expected


@pytest.mark.parametrize(
    ("number", "ending"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)], ids=["ctrl-c", "term"]
)
def test_a_signal_finishes_the_step_and_saves(tmp_path: Path, number: int, ending: type[BaseException]) -> None:
    trainer, saves = made(tiny_cell()), []
    step = trainer.method.train_step

    def interrupted(batch: Any, number_of_step: int) -> Any:
        if number_of_step == 10:
            os.kill(os.getpid(), number)
        return step(batch, number_of_step)

    trainer.method.train_step = interrupted  # type: ignore[method-assign]
    before = signal.getsignal(number)
    with pytest.raises(ending):
        run(trainer, tmp_path, lambda: saves.append(trainer.step))
    assert saves == [11]
    assert signal.getsignal(number) is before


def test_stages_that_start_together_are_all_entered(tmp_path: Path) -> None:
    trainer = made(tiny_cell(images=8))
    trainer.advance()
    assert isinstance(trainer.method, Tiny)
    assert trainer.method.second is not None


# -------------------------------------------------------------------------------------------- the NaN guard
def test_nan_is_caught_within_one_interval_and_nothing_bad_is_saved(tmp_path: Path) -> None:
    trainer, saves = made(tiny_cell(poison_step=9)), []
    with pytest.raises(StepNotFinite, match="loss loss is nan at step 9") as caught:
        run(trainer, tmp_path, lambda: saves.append(trainer.step), checkpoint_seconds=0.0)
    assert caught.value.step == 9
    assert trainer.step == 14
    assert saves == [7]


def test_a_nan_between_records_stops_a_checkpoint(tmp_path: Path) -> None:
    log = TrainLog(tmp_path / "train.jsonl", 8, 5)
    log.add({"loss": torch.tensor(1.0)})
    log.add({"loss": torch.tensor(math.inf)})
    with pytest.raises(StepNotFinite, match="inf at step 6"):
        log.pending()


@pytest.mark.parametrize(("losses", "message"), [(None, "NoneType"), ({"loss": torch.ones(2)}, "scalars.*loss")])
def test_a_method_that_returns_no_scalars_is_told_so(tmp_path: Path, losses: Any, message: str) -> None:
    trainer = made(tiny_cell())
    trainer.method.train_step = lambda batch, step: losses  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=message):
        run(trainer, tmp_path)


def test_the_log_mixes_dtypes_and_plain_numbers(tmp_path: Path) -> None:
    log = TrainLog(tmp_path / "train.jsonl", 2)
    log.add({"a": torch.tensor(1.0, dtype=torch.bfloat16), "b": 2})
    log.add({"a": torch.tensor([3.0], dtype=torch.float64)})
    assert log.write(2, "train", {"g": torch.tensor(math.inf)}) == {"a": 2.0, "b": 2.0}
    assert json.loads((tmp_path / "train.jsonl").read_text())["gradient_norms"] == {"g": None}
