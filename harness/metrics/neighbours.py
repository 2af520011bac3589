"""Exact nearest neighbours of three-dimensional points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Float = NDArray[np.float64]
LEAF_SIZE = 20
CELLS = 32  # an axis: codes of 15 bits, which NumPy sorts by radix
SMALL = 8192  # points of both sets: below, sorting costs more than it saves


def nearest(query: Float, data: Float) -> tuple[Float, NDArray[np.int64]]:
    """Distance float64 [n] of each point of ``query`` [n,3] to its nearest in ``data`` [m,3], and its index int64 [n].

    Large sets are first put in the order of a Morton curve, so that one query finds in the cache what the one before
    it touched.
    """
    if len(query) + len(data) < SMALL:
        near, which = tree(data).query(query)
        return near, which.astype(np.int64, copy=False)
    columns = [np.ascontiguousarray(points.T) for points in (query, data)]  # reductions along them are fast
    low = np.minimum(*(c.min(1) for c in columns))
    span = np.maximum(*(c.max(1) for c in columns)) - low
    order, data_order = (_morton_order(c, low, span) for c in columns)
    found, row = tree(data.take(data_order, axis=0)).query(query.take(order, axis=0))
    distance, index = np.empty(len(query)), np.empty(len(query), np.int64)
    distance[order] = found
    index[order] = data_order[row]
    return distance, index


def tree(data: Float) -> KDTree:
    """A k-d tree of points [m,3] with midpoint splits, which is built and searched faster than a balanced one."""
    return KDTree(data, leafsize=LEAF_SIZE, balanced_tree=False)


def _morton_order(columns: Float, low: Float, span: Float) -> NDArray[np.intp]:
    """Order of points, given as columns [3,n], along the curve through the cells of their box."""
    scale = np.divide(CELLS * (1 - 1e-9), span, out=np.zeros(3), where=span > 0)
    code = np.zeros(columns.shape[1], np.uint16)
    for axis in range(3):
        cell = ((columns[axis] - low[axis]) * scale[axis]).astype(np.intp)
        code |= _SPREAD[axis].take(cell)
    return np.argsort(code, kind="stable")


def _spread() -> NDArray[np.uint16]:
    """Codes [3,CELLS] of each axis: the five bits of a cell moved apart, so that two others fit between neighbours."""
    cells = np.arange(CELLS)
    code = np.bitwise_or.reduce([(cells >> bit & 1) << 3 * bit for bit in range(5)])
    return np.stack([code << axis for axis in range(3)]).astype(np.uint16)


_SPREAD = _spread()
