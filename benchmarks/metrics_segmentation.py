"""Confusion matrices of label maps against their peers: CPU seconds side by side in one process, one thread.

Usage: python benchmarks/metrics_segmentation.py [--maps 500]. Prints the tables of benchmarks/README.md. The input is
synthetic and of the size of Cityscapes' validation set: 500 maps of 1024 x 2048 in bytes, 19 classes, 10 % ignored;
"pieces" has regions with ragged borders and 0.5 % stray pixels, "noise" independent labels. Four maps are made and
used again. Ours runs on all maps; a peer on a few, and is multiplied up. The fastest of three rounds counts, with the
conversions that a call needs. Peers are called where they are installed: torchmetrics, scikit-learn (neither is a
dependency); mmsegmentation's float histograms and the masked bincount that most scripts copy are written here.
"""

from __future__ import annotations

import argparse
import platform
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from harness.metrics.segmentation import ConfusionMatrix, confusion_matrix

HEIGHT, WIDTH, CLASSES, IGNORED, KINDS = 1024, 2048, 19, 255, ("pieces", "noise")
ROUNDS = 3
Maps = tuple[np.ndarray, np.ndarray]
Count = Callable[[np.ndarray, np.ndarray], np.ndarray]


def label_maps(seed: int, kind: str) -> Maps:
    """Return predictions and truth, uint8 [1024,2048]."""
    rng = np.random.default_rng(seed)
    if kind == "noise":
        preds, target = rng.integers(0, CLASSES, (2, HEIGHT, WIDTH), np.uint8)
        target[rng.random(target.shape) < 0.1] = IGNORED
        return preds, target
    coarse = rng.integers(0, CLASSES, (32, 32), np.uint8)
    grown = np.ones((HEIGHT // 32, WIDTH // 32), np.uint8)
    truth = np.kron(coarse, grown)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    shift = rng.integers(-3, 4, (2, HEIGHT, 1))
    preds = truth[(rows + shift[0]) % HEIGHT, (columns + shift[1]) % WIDTH]
    stray = rng.random(preds.shape) < 0.005
    preds[stray] = rng.integers(0, CLASSES, stray.sum(), np.uint8)
    truth[np.kron(rng.random(coarse.shape) < 0.1, grown) > 0] = IGNORED
    return preds, truth


# ------------------------------------------------------------------------------------------------------- peers
def masked_bincount(preds: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Count what most scripts count: valid pixels gathered, one int64 code each."""
    valid = target != IGNORED
    codes = CLASSES * target[valid].astype(np.int64) + preds[valid]
    return np.bincount(codes, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def float_histograms(preds: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Count three float32 histograms in mmsegmentation's manner: intersection, predictions, truth. No matrix."""
    found, truth = (torch.from_numpy(labels) for labels in (preds, target))
    found, truth = found[truth != IGNORED], truth[truth != IGNORED]
    parts = (found[found == truth], found, truth)
    return np.stack([torch.histc(a.float(), CLASSES, 0, CLASSES - 1).numpy() for a in parts])


def torchmetrics_matrix(validate: bool) -> Count:
    matrix = import_module("torchmetrics.functional.classification").multiclass_confusion_matrix

    def count(preds: np.ndarray, target: np.ndarray) -> np.ndarray:
        found, truth = (torch.from_numpy(labels).long() for labels in (preds, target))  # bytes would overflow
        return matrix(found, truth, CLASSES, ignore_index=IGNORED, validate_args=validate).numpy()

    return count


def scikit_learn(preds: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Count with scikit-learn, which drops truth outside ``labels``."""
    return import_module("sklearn.metrics").confusion_matrix(target.ravel(), preds.ravel(), labels=range(CLASSES))


def peers() -> Iterator[tuple[str, Count, int, float | None]]:
    """Yield name, call, how many maps it runs on and the gain aimed at."""
    yield "masked int64 bincount", masked_bincount, 20, 2
    yield "three float32 histograms, as mmsegmentation", float_histograms, 4, None
    if installed("torchmetrics"):
        yield "torchmetrics, no validation", torchmetrics_matrix(False), 4, 15
        yield "torchmetrics", torchmetrics_matrix(True), 1, None
    if installed("sklearn.metrics"):
        yield "scikit-learn", scikit_learn, 1, None


def installed(module: str) -> Any:
    """Return the module, or None where it cannot be imported."""
    try:
        return import_module(module)
    except ImportError:
        return None


# ------------------------------------------------------------------------------------------------------ timing
def cpu_seconds(run: Callable[[np.ndarray, np.ndarray], object], pairs: Sequence[Maps]) -> float:
    start = time.process_time()
    for preds, target in pairs:
        run(preds, target)
    return time.process_time() - start


def compare(kind: str, maps: int) -> None:
    """Print one kind's rows."""
    pairs = [label_maps(seed, kind) for seed in range(4)]
    matrix = ConfusionMatrix(CLASSES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours = min(cpu_seconds(matrix.update, list(islice(cycle(pairs), maps))) for _ in range(ROUNDS))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    pixels = matrix.matrix.sum() / ROUNDS
    print(f"\n{kind}: ours {ours:.2f} s for {maps} maps, {pixels:.3g} pixels, memory +{grown:.0f} MB\n")
    print("| peer | peer, s | gain | aim | equal |\n|---|---|---|---|---|")
    expected = confusion_matrix(*pairs[0], num_classes=CLASSES)
    for name, count, shown, aim in peers():
        peer = min(cpu_seconds(count, list(islice(cycle(pairs), shown))) for _ in range(ROUNDS)) * maps / shown
        found, wanted = count(*pairs[0]), expected
        if found.shape != expected.shape:
            wanted = np.stack([np.diagonal(expected), expected.sum(0), expected.sum(1)])
        equal = "yes" if np.array_equal(found, wanted) else "NO"
        print(f"| {name} | {peer:.3g} | {peer / ours:.3g} | {aim or ''} | {equal} |", flush=True)


def main() -> None:
    """Print versions and the tables."""
    parser = argparse.ArgumentParser(description="Benchmark the confusion matrix against its peers.")
    parser.add_argument("--maps", type=int, default=500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        for kind in KINDS:
            compare(kind, options.maps)
    found = {"Python": platform.python_version(), "torch": torch.__version__, "NumPy": np.__version__}
    for package in ("torchmetrics", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    print("\n" + ", ".join(f"{name} {number}" for name, number in found.items()))


if __name__ == "__main__":
    main()
