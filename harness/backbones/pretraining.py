"""Training on the pretext task: one deterministic loop on one thread."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.backbones import pretext
from harness.backbones.convnet import WIDTHS, ConvFeatures

RESOLUTION = 64
"""Pixels on a side of the pool's pictures; other resolutions are averages of them."""


@dataclass(frozen=True)
class Phase:
    """``steps`` of ``batch`` pictures at ``resolution`` pixels, a divisor of ``RESOLUTION``."""

    resolution: int
    batch: int
    steps: int


@dataclass(frozen=True)
class Recipe:
    """Phases of one one-cycle schedule of AdamW over a pool with ``pool`` pictures of each class.

    Small pictures come first: their steps are cheap, and at equal time the result is better. Every batch is turned and
    mirrored as a whole, which leaves the classes alone. ``held_out`` pictures of each class judge the result.
    """

    phases: tuple[Phase, ...]
    pool: int
    held_out: int
    rate: float = 1e-2
    weight_decay: float = 1e-2
    smoothing: float = 0.05
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0


@dataclass(frozen=True)
class Report:
    """How the training went: ``accuracy`` on ``held_out`` fresh pictures (chance 1/24), duration in CPU-seconds."""

    accuracy: float
    held_out: int
    steps: int
    seconds: float


def native_precision() -> Literal["fp32", "bf16"]:
    """bf16 where this CPU multiplies it in hardware, else fp32; part of the recipe, since it changes the weights."""
    fast = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return "bf16" if fast else "fp32"


def train(recipe: Recipe) -> tuple[ConvFeatures, Report]:
    """The trained network in eval mode and its report; one machine always gives the same weights."""
    started = time.process_time()
    with _one_thread():
        generator = torch.Generator().manual_seed(recipe.seed)
        net = ConvFeatures(generator).to(memory_format=torch.channels_last)
        head = _head(generator)
        _fit(net, head, recipe, generator)
        accuracy = _accuracy(net, head, recipe)
    steps = sum(phase.steps for phase in recipe.phases)
    held_out = pretext.CLASSES * recipe.held_out
    return net, Report(accuracy, held_out, steps, time.process_time() - started)


def _fit(net: ConvFeatures, head: nn.Linear, recipe: Recipe, generator: torch.Generator) -> None:
    images, labels = _pool(recipe.pool, generator)
    parameters = [*net.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(
        parameters, lr=recipe.rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.99), foreach=True
    )
    steps = sum(phase.steps for phase in recipe.phases)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=recipe.rate, total_steps=steps, pct_start=0.2, cycle_momentum=False
    )
    net.train()
    for phase in recipe.phases:
        pool = _averaged(images, RESOLUTION // phase.resolution)
        for _ in range(phase.steps):
            index = torch.randint(len(pool), (phase.batch,), generator=generator)
            mirrored, turns = divmod(int(torch.randint(8, (), generator=generator)), 4)
            batch = _floats(pool[index].rot90(turns, (1, 2)).flip((1,) * mirrored))
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
                logits = _logits(net, head, batch)
            optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(logits.float(), labels[index], label_smoothing=recipe.smoothing).backward()
            optimiser.step()
            schedule.step()
    net.eval()


@torch.no_grad()
def _accuracy(net: ConvFeatures, head: nn.Linear, recipe: Recipe) -> float:
    images, labels = _pool(recipe.held_out, torch.Generator().manual_seed(recipe.seed + 1))
    guesses = torch.cat([_logits(net, head, _floats(part)).argmax(1) for part in images.split(128)])
    return float((guesses == labels).double().mean())


def _logits(net: ConvFeatures, head: nn.Linear, images: Tensor) -> Tensor:
    return head(deque(net(images), maxlen=1)[0].mean((2, 3)))


def _head(generator: torch.Generator) -> nn.Linear:
    head = nn.utils.skip_init(nn.Linear, WIDTHS[-1], pretext.CLASSES)
    nn.init.normal_(head.weight, std=0.05, generator=generator)
    nn.init.zeros_(head.bias)
    return head


def _pool(repeats: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``repeats`` pictures of each class as uint8 [N,s,s,3] with labels [N], made in parts that fit a CPU cache."""
    parts = [pretext.pictures(min(4, repeats - i), RESOLUTION, generator) for i in range(0, repeats, 4)]
    images = torch.cat([(part * 127.5 + 128).to(torch.uint8).permute(0, 2, 3, 1) for part, _ in parts])
    return images.contiguous(), torch.cat([labels for _, labels in parts])


def _averaged(images: Tensor, factor: int) -> Tensor:
    """uint8 [N,s,s,3] -> uint8 [N,s/f,s/f,3], means over squares of ``factor`` pixels."""
    if factor == 1:
        return images
    parts = [
        part.unflatten(1, (-1, factor)).unflatten(3, (-1, factor)).float().mean((2, 4)).round_().to(torch.uint8)
        for part in images.split(256)
    ]
    return torch.cat(parts)


def _floats(images: Tensor) -> Tensor:
    """uint8 [B,s,s,3] -> float32 [B,3,s,s] in [-1,1], channels last in memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32).mul_(1 / 127.5).sub_(1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run on one intra-operator thread: sums are then taken in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
