"""Rates, counted work, peaks and memory: known answers, and clocks and devices that the tests hold in their hands."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.metrics import throughput
from harness.metrics.energy import trapezoid
from harness.metrics.errors import OutOfRange
from harness.metrics.flops import Work, count_work
from harness.metrics.kernel_time import busy_seconds, busy_share
from harness.metrics.machine_load import Load
from harness.metrics.memory_use import PeakMemory
from harness.metrics.peaks import CHIPS, dense_peak_flops, peak_bandwidth, utilisation
from harness.metrics.throughput import Throughput, enough_calls, launch_share, measure_throughput

CPU = torch.device("cpu")


# ------------------------------------------------------------------------------------------------------ counted work
def test_three_known_layers() -> None:
    linear = nn.Linear(64, 32)
    convolution = nn.Conv2d(3, 16, 3, padding=1)
    transposed = nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1)
    assert count_work(lambda: linear(torch.zeros(8, 64))).flops == 2 * 8 * 64 * 32 == 32_768
    assert count_work(lambda: convolution(torch.zeros(2, 3, 8, 8))).flops == 2 * 2 * 64 * 16 * 27 == 110_592
    assert count_work(lambda: transposed(torch.zeros(3, 8, 5, 5))).flops == 2 * 3 * 25 * 8 * 4 * 16 == 76_800


def test_torch_counts_the_same_for_a_network_forward_and_backward() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3, stride=2), nn.Flatten(), nn.Linear(36, 5))
    images = torch.randn(2, 3, 9, 9, requires_grad=True)
    with FlopCounterMode(display=False) as usual:
        net(images).sum().backward()
    assert count_work(lambda: net(images).sum().backward()).flops == usual.get_total_flops()


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_backward_pass_of_a_convolution_costs_two_forward_passes(kind: Any, groups: int) -> None:
    layer = kind(8, 16, 3, stride=2, padding=1, groups=groups)
    images = torch.randn(3, 8, 10, 10, requires_grad=True)
    forward = count_work(lambda: layer(images)).flops
    assert count_work(lambda: layer(images).sum().backward()).flops == 3 * forward


def test_traffic_is_what_operators_read_and_write() -> None:
    a, b = torch.zeros(10, 10), torch.zeros(10, 10)
    assert count_work(lambda: a + b).traffic == 3 * 400
    assert count_work(lambda: a.add_(b)).traffic == 3 * 400
    assert count_work(lambda: a.t()).traffic == 0
    assert count_work(lambda: torch.empty(100)).traffic == 0
    assert count_work(lambda: a.flatten()[3:5]).flops == 0


def test_work_adds_up_and_scales() -> None:
    assert Work(1, 2) + Work(3, 4) == Work(4, 6)
    assert Work(3, 4) - Work(1, 2) == Work(2, 2)
    assert Work(3, 4).scaled(0.5) == Work(1.5, 2)


# -------------------------------------------------------------------------------------------------------------- peaks
@pytest.mark.parametrize(
    ("name", "dtype", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989.4),
        ("NVIDIA H100 80GB HBM3", "torch.bfloat16", 989.4),
        ("NVIDIA H100 80GB HBM3", "tf32", 494.7),
        ("NVIDIA H100 80GB HBM3", "fp32", 66.9),
        ("NVIDIA H100 PCIe", "bf16", 756.5),
        ("NVIDIA A100-SXM4-80GB", "bfloat16", 312),
        ("NVIDIA GeForce RTX 4090", "bfloat16", 165.2),
        ("Tesla V100-SXM2-16GB", "float16", 125),
    ],
)
def test_published_dense_peaks(name: str, dtype: str, teraflops: float) -> None:
    assert dense_peak_flops(name, dtype) == pytest.approx(teraflops * 1e12)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("cpu", "float32"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bfloat16"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "float32"),
        ("NVIDIA GeForce RTX 4090 D", "float32"),
        ("", "float32"),
        ("Tesla V100-SXM2-16GB", "bfloat16"),  # it has no such arithmetic
        ("NVIDIA H100 80GB HBM3", "int7"),
    ],
)
def test_what_is_not_published_is_never_guessed(name: str, dtype: str) -> None:
    assert math.isnan(dense_peak_flops(name, dtype))


def test_every_row_has_a_source_and_plausible_figures() -> None:
    for chip in CHIPS:
        assert "NVIDIA" in chip.source
        assert 100 <= chip.bandwidth <= 10_000
        rates = [chip.tflops[dtype] for dtype in ("float32", "tf32", "float16") if dtype in chip.tflops]
        assert rates == sorted(rates)
        assert "bfloat16" not in chip.tflops or chip.tflops["bfloat16"] == chip.tflops["float16"]
    assert math.isnan(peak_bandwidth("cpu"))
    assert peak_bandwidth("NVIDIA H200") == 4.8e12


def test_a_utilisation_above_one_is_an_error() -> None:
    assert utilisation(50.0, 100.0) == 0.5
    assert utilisation(100.0, 100.0) == 1.0
    assert math.isnan(utilisation(1e20, math.nan))
    with pytest.raises(OutOfRange, match="mfu"):
        utilisation(100.1, 100.0)


# -------------------------------------------------------------------------------------------------------------- rates
class Hand:
    """A stopwatch that moves by ``step`` seconds whenever a call is made."""

    resolution = 1e-9

    def __init__(self, steps: Iterator[float]) -> None:
        self.now, self.steps, self.waits = 0.0, steps, 0

    def mark(self) -> float:
        return self.now

    def wait(self) -> None:
        self.waits += 1

    def between(self, first: float, second: float) -> float:
        return second - first

    def tick(self) -> None:
        self.now += next(self.steps)


def timed(monkeypatch: pytest.MonkeyPatch, steps: Iterator[float], **more: Any) -> tuple[Throughput, Hand]:
    hand = Hand(steps)
    monkeypatch.setattr(throughput, "stopwatch", lambda device: hand)
    usual: dict[str, Any] = {"images_per_step": 4, "device": "cpu", "explain": False}
    return measure_throughput(hand.tick, **{**usual, **more}), hand


def test_the_rate_is_that_of_the_median_block(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ten warm-ups of 100 s do not count; 20 blocks of 1 to 20 s do.
    found, hand = timed(monkeypatch, itertools.chain([100.0] * 10, map(float, range(1, 21))))
    assert found.block_seconds == tuple(range(1, 21))
    assert found.images_s == pytest.approx(4 / 10.5)
    assert found.images_s_quartiles == pytest.approx((4 / 15.25, 4 / 5.75))
    assert found.latency is None
    assert found.warmup == 10
    assert hand.waits >= 30


def test_a_block_may_hold_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every fourth call is slow: blocks of four always hold one, wherever they begin.
    found, _ = timed(monkeypatch, itertools.cycle([1.0, 1.0, 1.0, 5.0]), calls=4, warmup=3)
    assert set(found.block_seconds) == {8.0}
    assert found.step_seconds == 2.0
    assert found.images_s == 2.0


@pytest.mark.parametrize(("blocks", "quartiles"), [(19, False), (20, True)])
def test_quartiles_need_twenty_blocks(monkeypatch: pytest.MonkeyPatch, blocks: int, quartiles: bool) -> None:
    found, _ = timed(monkeypatch, itertools.repeat(1.0), blocks=blocks)
    assert (found.images_s_quartiles is not None) is quartiles


@pytest.mark.parametrize(
    ("blocks", "names"), [(199, None), (200, {"p50", "p90"}), (499, {"p50", "p90"}), (500, {"p50", "p90", "p99"})]
)
def test_latency_quantiles_need_many_calls(
    monkeypatch: pytest.MonkeyPatch, blocks: int, names: set[str] | None
) -> None:
    values = [1.0] * 10 + [float(i) for i in range(blocks)]
    found, _ = timed(monkeypatch, iter(values), blocks=blocks)
    assert (None if found.latency is None else set(found.latency)) == names
    if found.latency is not None:
        assert found.latency["p50"] == pytest.approx((blocks - 1) / 2)
        assert found.latency["p90"] == pytest.approx(0.9 * (blocks - 1))


def test_a_time_limit_ends_early_but_never_without_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = timed(monkeypatch, itertools.repeat(1.0), seconds=0.0)
    assert len(found.block_seconds) == 1
    assert found.warmup == 1
    assert found.images_s == 4.0


def test_blocks_are_lengthened_for_a_coarse_clock() -> None:
    assert enough_calls(1, call_seconds=1.0, resolution=1e-9) == 1
    assert enough_calls(1, call_seconds=1e-3, resolution=1e-3) == 100
    assert enough_calls(16, call_seconds=1e-3, resolution=1e-3) == 112  # whole periods of 16
    assert enough_calls(1, call_seconds=0.0, resolution=1e-9) == 10_000


@pytest.mark.parametrize("name", ["images_per_step", "warmup", "blocks", "calls"])
def test_numbers_below_one_are_refused(name: str) -> None:
    words: dict[str, Any] = {"images_per_step": 1, "device": "cpu", name: 0}
    with pytest.raises(OutOfRange):
        measure_throughput(lambda: None, **words)


def test_everything_together_on_a_cpu() -> None:
    layer, images = nn.Conv2d(3, 16, 3, padding=1), torch.randn(2, 3, 8, 8)
    found = measure_throughput(lambda: layer(images), images_per_step=2, device="cpu")
    assert found.work is not None
    assert found.work.flops == 110_592
    assert math.isnan(found.mfu)
    assert math.isnan(found.bandwidth_share)
    assert found.launch_share is not None
    assert 0 <= found.launch_share <= 1
    assert found.images_s > 0
    assert found.load.threads == torch.get_num_threads()
    assert found.cpu_seconds >= 0
    assert found.energy.joules is not None or found.energy.reason


def test_a_work_that_beats_the_peak_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "dense_peak_flops", lambda name, dtype: 10.0)
    with pytest.raises(OutOfRange, match="mfu"):
        timed(monkeypatch, itertools.repeat(1.0), work=Work(11.0, 0.0))
    found, _ = timed(monkeypatch, itertools.repeat(1.0), work=Work(5.0, 0.0))
    assert found.mfu == 0.5


# ----------------------------------------------------------------------------------------------------- where time goes
def test_overlapping_spans_count_once() -> None:
    assert busy_seconds([(0, 2), (1, 3), (5, 6), (5.2, 5.4)]) == pytest.approx(4)
    assert busy_seconds([]) == 0


def test_time_outside_operators_is_the_launch_share_of_a_cpu() -> None:
    def idle() -> None:
        torch.zeros(1).add_(1)
        deadline = torch.tensor(0.0)
        for _ in range(20_000):  # Python at work, no operator
            pass
        del deadline

    assert launch_share(idle, CPU, None, steps=2) > 0.5
    big = torch.zeros(400, 400)
    assert launch_share(lambda: big @ big @ big, CPU, None, steps=2) < 0.5


def test_the_share_of_a_gpu_is_of_the_undisturbed_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "busy_share", lambda *_: (0.25, 4.0))
    cuda = torch.device("cuda")
    assert launch_share(lambda: None, cuda, 1.0) == 0.75
    assert launch_share(lambda: None, cuda, None) == pytest.approx(1 - 0.25 / 4)
    assert launch_share(lambda: None, cuda, 0.2) == 0.0


def test_a_chrome_trace_on_request(tmp_path: Any) -> None:
    file = tmp_path / "traces" / "step.json"
    busy, whole = busy_share(lambda: torch.zeros(10).sum(), CPU, 2, file)
    assert 0 < busy <= whole
    assert "aten::sum" in file.read_text()


def test_a_loaded_machine_is_known_by_the_work_of_others() -> None:
    assert Load(0.0, 0.2, 1.0, 1).loaded
    assert not Load(9.0, 0.05, 1.0, 1).loaded  # what ran before the measurement does not count
    assert Load(9.0, None, 1.0, 1).loaded
    assert not Load(1.2, None, 1.0, 1).loaded


def test_energy_is_the_integral_of_power() -> None:
    assert trapezoid([(0.0, 100.0), (1.0, 200.0), (3.0, 200.0)]) == 150.0 + 400.0
    assert trapezoid([(0.0, 100.0)]) == 0.0


def test_resident_peak_sees_a_large_tensor() -> None:
    memory = PeakMemory(CPU)
    if memory.read().allocated is None:
        pytest.skip("this system does not tell resident memory")
    block = torch.ones(64 << 20, dtype=torch.uint8)
    del block
    allocated = memory.read().allocated
    assert allocated is not None
    assert allocated >= 60 << 20
    memory.restart()
    again = memory.read().allocated
    assert again is not None
    assert again < 40 << 20


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_large_product_on_a_gpu() -> None:
    a = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    found = measure_throughput(lambda: a @ a, images_per_step=1, device="cuda", dtype="bfloat16", calls=10)
    assert found.work is not None
    assert found.work.flops == 2 * 4096**3
    assert math.isnan(found.mfu) or 0.2 < found.mfu <= 1
    assert found.launch_share is not None
    assert found.launch_share < 0.5
    assert found.peak.allocated is not None
    assert found.peak.allocated >= 2 * 4096 * 4096 * 2
    assert found.energy.joules is None or found.energy.joules > 0
