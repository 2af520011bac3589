"""How alike two sets of shapes are, each shape a set of points: matching, coverage, nearest-neighbour test, occupancy.

D_ij is the distance of the generated shape i to the true shape j. Definitions: Achlioptas et al. 2018 (mmd, cov, jsd),
Yang et al. 2019 (1-NNA). The values depend on the number of shapes, so both sets have the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from harness.metrics.card import Direction, Invariance, MetricCard
from harness.metrics.checks import Array
from harness.metrics.errors import CountMismatch, OutOfRange, ShapeMismatch, UnknownOption
from harness.metrics.neighbours import tree
from harness.metrics.samples import float_array

Kind = Literal["chamfer", "emd"]
KINDS: tuple[Kind, ...] = ("chamfer", "emd")
Float = NDArray[np.float64]
RADIUS = 0.5  # of the sphere whose cells are counted
SLACK = 1e-9


def _card(name: str, unit: str, better: Direction, top: float, bias: str, *invariances: Invariance) -> MetricCard:
    return MetricCard(
        name,
        unit=unit,
        better=better,
        range=(0.0, top),
        protocol=("kind", "n", "points", "unit", "ref"),
        invariances=frozenset({"permutation", *invariances}),
        bias=bias,
        floor="copies of the mean shape",
        oracle="a second sample of true shapes",
        identity=None if better == "none" else float(better == "higher"),
    )


_RIGID: tuple[Invariance, ...] = ("rotation", "shift")
MMD = _card("mmd", "length or squared length", "lower", math.inf, "falls with n", *_RIGID)
COV = _card("cov", "share", "higher", 1.0, "rises with n", *_RIGID)
ONE_NNA = _card("one_nna", "share", "none", 1.0, "0.5 is ideal", "symmetric", *_RIGID)
JSD = _card("jsd", "bits", "lower", 1.0, "falls with n and points", "symmetric")
CARDS: tuple[MetricCard, ...] = (MMD, COV, ONE_NNA, JSD)


def pairwise_shape_distance(fake: Array, real: Array, *, kind: Kind) -> Float:
    """Distances float64 [A,B] of every generated shape (rows) to every true one (columns).

    ``fake`` float [A,P,3], ``real`` float [B,P,3]. ``chamfer``: the sum of both mean squared distances to the nearest
    neighbour; ``emd``: the mean distance under the best one-to-one matching, by exact assignment (0.003 s a pair of 256
    points, 0.02 s of 512). Giving one array twice computes half of the pairs. Raises UnknownOption, ShapeMismatch,
    EmptyInput, NonFinite.
    """
    metric = "pairwise_shape_distance"
    if kind not in KINDS:
        raise UnknownOption(f"unknown distance {kind!r}", where=metric, nearest=KINDS)
    x, y = _clouds(fake, "fake", metric), _clouds(real, "real", metric)
    if x.shape[1] != y.shape[1]:
        raise ShapeMismatch(f"fake is {x.shape} and real is {y.shape}: shapes differ in their points", where=metric)
    same = fake is real
    rows, columns = [tree(s) for s in x], [tree(s) for s in y]
    distances = np.zeros((len(x), len(y)))
    for i, j in np.ndindex(*distances.shape):
        if not (same and i >= j):
            distances[i, j] = _chamfer(rows[i], columns[j]) if kind == "chamfer" else _matching(x[i], y[j])
    return distances + distances.T if same else distances


def _chamfer(x: KDTree, y: KDTree) -> float:
    there, _ = y.query(x.data)
    back, _ = x.query(y.data)
    return float((there**2).mean() + (back**2).mean())


def _matching(x: Float, y: Float) -> float:
    costs = cdist(x, y)
    return float(costs[linear_sum_assignment(costs)].mean())


def minimum_matching_distance(distances: Array) -> float:
    """MMD: the mean over true shapes of the distance to the generated shape nearest to them.

    ``distances`` float [A,A], generated shapes in rows: of the transposed matrix it is ``mmd_smp``, the mean over
    generated shapes. Raises CountMismatch (not square), OutOfRange (negative), ShapeMismatch, EmptyInput, NonFinite.
    """
    return float(_square(distances, "mmd").min(0).mean())


def coverage(distances: Array) -> float:
    """Share of the true shapes that are the nearest one of some generated shape; ties go to the lower index.

    ``distances`` float [A,A], generated shapes in rows. Raises CountMismatch, OutOfRange, ShapeMismatch, EmptyInput,
    NonFinite.
    """
    matrix = _square(distances, "cov")
    return len(np.unique(matrix.argmin(1))) / len(matrix)


@dataclass(frozen=True)
class OneNN:
    """Accuracy of the leave-one-out nearest-neighbour classifier, over both sets and over each; 0.5 is ideal."""

    accuracy: float
    fake: float
    real: float

    @property
    def deviation(self) -> float:
        """|accuracy - 0.5|."""
        return abs(self.accuracy - 0.5)


def one_nn_accuracy(fake_fake: Array, fake_real: Array, real_real: Array) -> OneNN:
    """Share of the shapes of both sets whose nearest other shape is of their own set (1-NNA).

    Three matrices float [A,A] of distances. Ties go to the lower index, generated shapes first, a shape's own index is
    left out; so two equal sets give 0, as does memorising the truth. Raises CountMismatch, OutOfRange, ShapeMismatch,
    EmptyInput, NonFinite.
    """
    ff, fr, rr = (_square(matrix, "one_nna") for matrix in (fake_fake, fake_real, real_real))
    if not ff.shape == fr.shape == rr.shape:
        raise CountMismatch(f"matrices are {ff.shape}, {fr.shape} and {rr.shape}", where="one_nna")
    n = len(ff)
    whole = np.block([[ff, fr], [fr.T, rr]])
    np.fill_diagonal(whole, np.inf)
    of_fake = whole.argmin(1) < n
    fake, real = float(of_fake[:n].mean()), float((~of_fake[n:]).mean())
    return OneNN(accuracy=(fake + real) / 2, fake=fake, real=real)


def jensen_shannon_divergence(fake: Array, real: Array, *, grid: int = 28, clip: bool = False) -> float:
    """Divergence in bits of where the points of two sets of shapes lie: H((p + q) / 2) - (H(p) + H(q)) / 2, in [0, 1].

    ``fake`` float [A,P,3], ``real`` float [B,Q,3]. p and q are histograms over the points of a regular ``grid`` cubed
    on [-0.5,0.5]^3 that lie in the sphere of radius 0.5; a point counts at the nearest. Points outside the sphere raise
    OutOfRange unless ``clip``. It does not see which points make one shape. Raises OutOfRange, ShapeMismatch,
    EmptyInput, NonFinite.
    """
    metric = "jsd"
    if grid < 2:
        raise OutOfRange(f"grid is {grid}, expected at least 2", where=metric)
    p, q = (_occupancy(_clouds(s, name, metric), name, grid, clip) for s, name in ((fake, "fake"), (real, "real")))
    value = _entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2
    return min(max(value, 0.0), 1.0)


def _occupancy(clouds: Float, name: str, grid: int, clip: bool) -> Float:
    points = clouds.reshape(-1, 3)
    outside = int((np.linalg.norm(points, axis=1) > RADIUS + SLACK).sum())
    if outside and not clip:
        raise OutOfRange(
            f"{name} has {outside} points outside the sphere of radius {RADIUS}",
            where="jsd",
            remedy="Scale the shapes, or count them at the nearest cell with clip=True.",
        )
    cells = _ball(grid)
    return np.bincount(cells.query(points)[1], minlength=cells.n) / len(points)


@lru_cache(maxsize=4)
def _ball(grid: int) -> KDTree:
    axis = np.linspace(-RADIUS, RADIUS, grid)
    cells = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return tree(cells[np.linalg.norm(cells, axis=1) <= RADIUS + SLACK])


def _entropy(p: Float) -> float:
    used = p[p > 0]
    return float(-(used * np.log2(used)).sum())


def _clouds(value: Array, name: str, metric: str) -> Float:
    return float_array(value, name, (None, None, 3), metric=metric).double().cpu().numpy()


def _square(value: Array, metric: str) -> Float:
    matrix = float_array(value, "distances", (None, None), metric=metric).double().cpu().numpy()
    if matrix.shape[0] != matrix.shape[1]:
        raise CountMismatch(
            f"distances is {matrix.shape}", where=metric, remedy="Use as many generated shapes as true ones."
        )
    if (matrix < 0).any():
        raise OutOfRange("distances holds negative numbers", where=metric)
    return matrix
