"""Devices: what names resolve to, what a cell's surroundings are and that they are given back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harness.priors import PRIORS
from harness.running import devices, hardware
from harness.running.settings import RunSettings
from harness.types import ConfigError, DataError
from tests.unit.tiny_cells import tiny_cell

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:1", ""])
def test_unknown_devices_name_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="Did you mean auto"):
        devices.resolve_device(name)


def test_a_missing_gpu_is_said_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.resolve_device("auto") == CPU
    with pytest.raises(ConfigError, match=r"no CUDA device.*device=cpu"):
        devices.resolve_device("cuda")


@pytest.mark.parametrize(("flags", "expected"), [({"avx2"}, "fp32"), ({"avx512_bf16"}, "bf16"), ({"amx_bf16"}, "bf16")])
def test_auto_precision_follows_the_cpu(monkeypatch: pytest.MonkeyPatch, flags: set[str], expected: str) -> None:
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(flags))
    assert devices.resolve_precision("auto", CPU) == expected
    assert devices.resolve_precision("fp32", CPU) == "fp32"
    with pytest.raises(ConfigError, match="not a precision"):
        devices.resolve_precision("fp8", CPU)


def test_surroundings_are_given_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    tiny = torch.tensor(1e-40)
    with devices.configured(CPU, RunSettings(device="cpu", cache=tmp_path, threads=1)):
        assert torch.get_num_threads() == 1
        assert (tiny * 0.5).item() == 0.0
    assert torch.get_num_threads() == before
    assert (tiny * 0.5).item() > 0.0


def test_seeds_differ_by_purpose_and_by_cell() -> None:
    seeds = {devices.derived_seed(seed, purpose) for seed in range(10) for purpose in ("init", "data", "train")}
    assert len(seeds) == 30
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_context_draws_cameras_from_the_prior_or_says_there_is_none() -> None:
    cell = tiny_cell()
    context = devices.make_context(cell, CPU, "train", 10)
    with pytest.raises(DataError, match="no pose prior"):
        context.sample_cameras(3, context.generator)
    assert len(context.sample_cameras(3, context.generator, PRIORS["ring"])) == 3
    posed = replace(cell, data=replace(cell.data, prior=PRIORS["wide60"]))
    assert len(devices.make_context(posed, CPU, "train", 10).sample_cameras(4, context.generator)) == 4


@pytest.mark.parametrize("size", [None, 0, -1, 2.5, True, "8"])
def test_a_batch_size_is_a_positive_integer(size: object) -> None:
    with pytest.raises(ConfigError, match="batch_size must be a positive integer"):
        devices.batch_size(replace(tiny_cell(), config={"batch_size": size}))
