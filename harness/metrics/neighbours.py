"""Exact nearest neighbours of three-dimensional points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Float = NDArray[np.float64]
LEAF_SIZE = 16
CELLS = 32  # an axis: codes of 15 bits are sorted by radix
SORTED_FROM = 20_000  # points; below, the tree stays in cache in any order


def nearest(query: Float, data: Float) -> tuple[Float, NDArray[np.int64]]:
    """Distance float64 [n] of each point of ``query`` [n,3] to its nearest in ``data`` [m,3], and its index int64 [n].

    A k-d tree with midpoint splits. Large sets are first put in the order of a Morton curve, so that one query finds
    in the cache what the one before it touched.
    """
    if len(query) + len(data) < 2 * SORTED_FROM:
        distance, index = tree(data).query(query)
        return distance, index.astype(np.int64, copy=False)
    low = np.minimum(query.min(0), data.min(0))
    span = np.maximum(query.max(0), data.max(0)) - low
    order, data_order = _morton_order(query, low, span), _morton_order(data, low, span)
    found, row = tree(data[data_order]).query(query[order])
    distance, index = np.empty(len(query)), np.empty(len(query), np.int64)
    distance[order] = found
    index[order] = data_order[row]
    return distance, index


def tree(data: Float) -> KDTree:
    """A k-d tree of points [m,3] with midpoint splits, which is built and searched faster than a balanced one."""
    return KDTree(data, leafsize=LEAF_SIZE, balanced_tree=False)


def _morton_order(points: Float, low: Float, span: Float) -> NDArray[np.intp]:
    scale = np.divide(CELLS * (1 - 1e-9), span, out=np.zeros(3), where=span > 0)
    cell = ((points - low) * scale).astype(np.uint16)
    code = _SPREAD[cell[:, 0]] | _SPREAD[cell[:, 1]] << 1 | _SPREAD[cell[:, 2]] << 2
    return np.argsort(code, kind="stable")


def _spread(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Five bits moved apart, so that two others fit between neighbours."""
    bits = [(values >> k & 1) << 3 * k for k in range(5)]
    return np.bitwise_or.reduce(bits).astype(np.uint16)


_SPREAD = _spread(np.arange(CELLS, dtype=np.uint16))
