"""Shared by all tests: thread caps, one place for data, and the method folder that plays a user's plug-in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

TESTS = Path(__file__).parent


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of data sets and judges for the whole session; PARALLAX_TEST_CACHE keeps it between sessions."""
    if kept := os.environ.get("PARALLAX_TEST_CACHE"):
        return Path(kept)
    # Parallel workers have a folder each below the session's.
    folder = tmp_path_factory.getbasetemp()
    return (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "cache"


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    """A user's method folder outside the checkout."""
    from harness import registry

    folder = tmp_path / "somewhere" / "tiny_vae"
    shutil.copytree(TESTS / "e2e" / "tiny_vae", folder, ignore=shutil.ignore_patterns("__pycache__"))
    yield folder
    registry.scan.cache_clear()
