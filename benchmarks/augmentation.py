"""What an augmentation of a discriminator's input costs: milliseconds per batch of 16 images.

    python benchmarks/augmentation.py

CPU time, best of five repetitions of 20 calls, one thread. "With gradients" is forward and backward to the images, as
in the generator's step; "second order" is the gradient of a squared image gradient, as in R1.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from methods.blocks.augmentation import Augmentation, build_augmentation

BATCH, CALLS, REPETITIONS = 16, 20, 5
ROWS = {
    "diffaug": {"kind": "diffaug"},
    "ada, p = 0, whole pipe": {"kind": "fixed", "probability": 1e-12},
    "ada, p = 0.2": {"kind": "fixed", "probability": 0.2},
    "ada, p = 0.6": {"kind": "fixed", "probability": 0.6},
    "blit alone, p = 0.6": {"kind": "fixed", "probability": 0.6, "pipe": "blit"},
}


def milliseconds(work: Callable[[], object]) -> float:
    """Best mean CPU time of a call over the repetitions."""
    work()
    times = []
    for _ in range(REPETITIONS):
        start = time.process_time()
        for _ in range(CALLS):
            work()
        times.append((time.process_time() - start) / CALLS * 1e3)
    return min(times)


def forward(augmentation: Augmentation, images: Tensor, generator: Generator) -> None:
    """As for a batch of real images."""
    with torch.no_grad():
        augmentation(images, generator)


def with_gradients(augmentation: Augmentation, images: Tensor, generator: Generator) -> None:
    """As for fake images in the generator's step."""
    points = images.detach().requires_grad_()
    augmentation(points, generator).sum().backward()


def second_order(augmentation: Augmentation, images: Tensor, generator: Generator) -> None:
    """As for R1: the squared gradient of a judge (here a sum of squares), differentiated by a weight of the judge."""
    points, weight = images.detach().requires_grad_(), torch.ones((), requires_grad=True)
    logits = weight * augmentation(points, generator).square().sum()
    (slope,) = torch.autograd.grad(logits, points, create_graph=True)
    slope.square().sum().backward(inputs=[weight])


def main() -> None:
    torch.set_num_threads(1)
    generator = Generator().manual_seed(0)
    print("| augmentation | size | forward, ms | with gradients, ms | second order, ms |\n|---|---|---|---|---|")
    for name, options in ROWS.items():
        for size in (32, 64):
            augmentation = build_augmentation(**options, device="cpu")  # type: ignore[arg-type]
            images = torch.rand(BATCH, 3, size, size, generator=generator) * 2 - 1
            times = [
                milliseconds(lambda work=work, a=augmentation, x=images: work(a, x, generator))  # type: ignore[misc]
                for work in (forward, with_gradients, second_order)
            ]
            print(f"| {name} | {size} | " + " | ".join(f"{t:.2f}" for t in times) + " |")


if __name__ == "__main__":
    main()
