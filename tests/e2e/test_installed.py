"""The three packages away from the checkout, as a wheel installs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with what the wheel holds (pyproject: the folders harness, methods, suites)."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("harness", "methods", "suites"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def call(site: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *words]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_cards_suites_and_plans_are_found_from_any_folder(site: Path, tmp_path: Path) -> None:
    listed = call(site, tmp_path, "list")
    assert listed.returncode == 0, listed.stderr
    assert all(name in listed.stdout for name in ("hologan", "pigan", "dcgan", "3d_aware", "generation_3d"))
    planned = call(site, tmp_path, "plan", "suite=3d_aware", "seeds=2")
    assert planned.returncode == 0, planned.stderr
    assert f"results: {tmp_path / 'results' / 'runs'}" in planned.stdout
    where = call(site, tmp_path, "run", "suite=3d_aware", "methods=[hologn]")
    assert where.returncode == 2
    assert where.stderr.startswith("error: unknown method 'hologn'")
