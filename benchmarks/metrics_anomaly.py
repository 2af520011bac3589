"""Pixel metrics of anomaly maps against their peers: CPU seconds side by side in one process, one thread.

Usage: python benchmarks/metrics_anomaly.py [--categories 15]. Prints the table of benchmarks/README.md. The input is
synthetic and of the size of MVTec-AD's test set: 15 categories of 115 float32 maps of 256 x 256, heavy-tailed scores,
2 % anomalous pixels. Ours runs on all categories; a peer runs on one (the region loop on a few maps) and is multiplied
up. Peers are called where they are installed: scikit-learn, torchmetrics, adeval (none is a dependency). anomalib's
AUPRO (a sort of all pixels and cumulative sums in float32) and the 200-threshold loop are written here from their
definitions.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import scipy
import torch
from skimage.measure import label, regionprops
from threadpoolctl import threadpool_limits

from harness.metrics import anomaly

MAPS, SIDE, GOOD, LOOP_MAPS = 115, 256, 35, 5
Maps = tuple[np.ndarray, np.ndarray]
Run = Callable[[np.ndarray, np.ndarray], float]


def category(seed: int) -> Maps:
    """Return scores float32 and masks bool [115,256,256]: 80 defective maps with one or two ellipses each."""
    rng = np.random.default_rng(seed)
    scores = np.exp(rng.standard_normal((MAPS, SIDE, SIDE), np.float32) / 2)
    masks = np.zeros(scores.shape, bool)
    rows, columns = np.ogrid[:SIDE, :SIDE]
    for image in range(GOOD, MAPS):
        for _ in range(1 + (image % 2)):
            (y, x), (a, b) = rng.uniform(0, SIDE, 2), np.exp(rng.normal(2.9, 0.5, 2))
            inside = ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 <= 1
            scores[image][inside & ~masks[image]] *= np.float32(np.exp(rng.normal(1.3, 0.5)))
            masks[image] |= inside
    return scores, masks


# ------------------------------------------------------------------------------------------------------- peers
def sorted_aupro(scores: np.ndarray, masks: np.ndarray, limit: float = 0.3) -> float:
    """AUPRO in anomalib's manner: one sort of all pixels, float32 cumulative sums, divided by where they end."""
    structure = np.zeros((3, 3, 3))
    structure[1] = 1
    regions = torch.from_numpy(scipy.ndimage.label(masks, structure)[0]).reshape(-1).long()
    values = torch.from_numpy(scores).reshape(-1)
    normal, sizes = (regions == 0).float(), regions.bincount().float()
    gain = torch.zeros_like(values)
    gain[regions > 0] = 1 / sizes[regions[regions > 0]]
    order = values.argsort(descending=True)
    fpr, pro = normal[order].cumsum(0) / normal.sum(), gain[order].cumsum(0) / (len(sizes) - 1)
    ordered = values[order]
    keep = torch.ones_like(ordered, dtype=torch.bool)
    keep[:-1] = ordered[:-1] != ordered[1:]
    fpr, pro = fpr[keep], pro[keep]
    inside = fpr <= limit
    return float(torch.trapezoid(pro[inside], fpr[inside]) / fpr[inside][-1])


def swept_aupro(scores: np.ndarray, masks: np.ndarray, steps: int = 200, limit: float = 0.3) -> float:
    """AUPRO by equidistant thresholds and a loop over regions, kept rates rescaled to [0, 1]: copied in many places."""
    fprs, pros = [], []
    for threshold in np.linspace(scores.min(), scores.max(), steps, endpoint=False):
        flagged, overlaps = scores > threshold, []
        for image, mask in zip(flagged, masks, strict=True):
            overlaps += [image[tuple(region.coords.T)].mean() for region in regionprops(label(mask))]
        pros.append(np.mean(overlaps))
        fprs.append((flagged & ~masks).sum() / (~masks).sum())
    x, y = np.array(fprs), np.array(pros)
    x, y = x[x < limit], y[x < limit]
    x = (x - x.min()) / (x.max() - x.min())
    return float(np.trapezoid(y[::-1], x[::-1]))


def installed(module: str) -> Any:
    """Return the module, or None where it cannot be imported."""
    try:
        return import_module(module)
    except ImportError:
        return None


def adeval_aupro(bins: int) -> Run:
    def run(scores: np.ndarray, masks: np.ndarray) -> float:
        peer = installed("adeval").EvalAccumulator(0.0, 1.0, float(scores.min()), float(scores.max()), nstrips=bins)
        peer.add_anomap_batch(scores, masks.astype(np.uint8))
        for image, mask in zip(scores, masks, strict=True):
            peer.add_image(float(image.max() / scores.max()), int(mask.any()))
        return float(peer.summary()["p_aupro"])

    return run


def torchmetrics_value(name: str) -> Run:
    metric = getattr(installed("torchmetrics.functional.classification"), name)
    return lambda scores, masks: float(metric(torch.from_numpy(scores).flatten(), torch.from_numpy(masks).flatten()))


def peers() -> Iterator[tuple[str, str, Run, int, float | None]]:
    """Yield name, what of ours it is compared with, its call, how many maps it runs on and the gain aimed at."""
    yield "sort and cumulative sums, as anomalib 2.3 and later", "AUPRO", sorted_aupro, MAPS, 20
    yield "200 thresholds, loop over regions", "AUPRO", swept_aupro, LOOP_MAPS, None
    if hasattr(installed("adeval"), "EvalAccumulator"):
        yield "ADEval, histogram of 1000 bins, no F1-max", "all", adeval_aupro(1000), MAPS, None
    if metrics := installed("sklearn.metrics"):
        yield "scikit-learn", "AUROC", lambda s, m: metrics.roc_auc_score(m.ravel(), s.ravel()), MAPS, 25
        yield "scikit-learn", "AP", lambda s, m: metrics.average_precision_score(m.ravel(), s.ravel()), MAPS, None
    if installed("torchmetrics.functional.classification"):
        yield "torchmetrics", "AUROC", torchmetrics_value("binary_auroc"), MAPS, None
        yield "torchmetrics", "AP", torchmetrics_value("binary_average_precision"), MAPS, None


OURS: dict[str, Run] = {
    "AUPRO": lambda scores, masks: anomaly.per_region_overlap_auc(scores, masks)[0],
    "AUROC": lambda scores, masks: anomaly.roc_auc_score(scores.ravel(), masks.ravel()),
    "AP": lambda scores, masks: anomaly.average_precision_score(scores.ravel(), masks.ravel()),
    "all": lambda scores, masks: anomaly.pixel_scores(scores, masks)["aupro[limit=0.3]"],
}


# ------------------------------------------------------------------------------------------------------ timing
def cpu_seconds(run: Run, scores: np.ndarray, masks: np.ndarray, repeats: int) -> tuple[float, float]:
    """Return the smallest CPU seconds of some calls, and the value."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        value = run(scores, masks)
        best = min(best, time.process_time() - start)
    return best, value


def main() -> None:
    """Print versions and the table."""
    parser = argparse.ArgumentParser(description="Benchmark the pixel metrics of anomaly maps against their peers.")
    parser.add_argument("--categories", type=int, default=15)
    options = parser.parse_args()
    vars(np).setdefault("trapz", np.trapezoid)  # gone in NumPy 2.4, called by adeval 1.1.0
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        seconds, values, regions = dict.fromkeys(OURS, 0.0), dict.fromkeys(OURS, 0.0), 0
        for seed in reversed(range(options.categories)):
            scores, masks = category(seed)
            regions += anomaly.label_regions(masks)[1]
            for name, run in OURS.items():
                took, values[name] = cpu_seconds(run, scores, masks, 2)
                seconds[name] += took
        print(f"{options.categories} categories, {regions} regions, {masks.mean():.1%} anomalous in the first")
        print(", ".join(f"{name} {value:.4f}" for name, value in values.items()) + " in the first\n")
        print(
            "| work | peer | peer, CPU s | ours, CPU s | gain | aim | values differ by |\n|---|---|---|---|---|---|---|"
        )
        for peer, work, run, maps, aim in peers():
            part = slice(GOOD, GOOD + maps) if maps < MAPS else slice(None)
            took, value = cpu_seconds(run, scores[part], masks[part], 1 if maps < MAPS else 2)
            took *= options.categories * MAPS / maps
            exact = values[work] if maps == MAPS else OURS[work](scores[part], masks[part])
            row = f"{took:.3g} | {seconds[work]:.3g} | {took / seconds[work]:.3g} | {aim or ''} | {value - exact:.0e}"
            print(f"| {work} | {peer} | {row} |", flush=True)
    packages = {name: found for name in ("scikit-learn", "torchmetrics", "ADEval") if (found := version_of(name))}
    base = {"Python": platform.python_version(), "torch": torch.__version__, "NumPy": np.__version__}
    print("\n" + ", ".join(f"{name} {found}" for name, found in (base | packages).items()))


def version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main()
