"""Where a result came from: code, packages, machine, seeds. Times and machine facts, so never part of result.json."""

from __future__ import annotations

import functools
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.running import hardware
from harness.running.settings import RunSettings
from harness.types import Cell

PACKAGES = (
    *("torch", "torchvision", "numpy", "scipy", "pandas", "safetensors", "open3d", "scikit-image", "pillow"),
    *("torch-fidelity", "clean-fid", "lpips"),
)


def environment(cell: Cell, settings: RunSettings, device: str, precision: str) -> dict[str, Any]:
    """What env.json holds about one session of work on a cell."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": ["harness", *sys.argv[1:]],
        "harness": _version("parallax-harness"),
        "code": cell.code,
        "data": cell.data.recipe_digest,
        "seed": cell.seed,
        "git": dict(git_state()),
        "packages": dict(packages()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": hardware.cpu_model(),
        "cores": hardware.cores(),
        "memory_gib": hardware.memory_gib(),
        "device": device,
        "precision": precision,
        "threads": settings.threads,
        "deterministic": settings.deterministic,
    }


@functools.cache
def git_state() -> Mapping[str, Any]:
    """Commit of the checkout the harness runs from and whether files differ from it; empty outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return {}
    commit, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "--untracked-files=no")
    return {} if commit is None else {"commit": commit, "changed": bool(changes)}


@functools.cache
def packages() -> Mapping[str, str]:
    """Versions of the installed packages that results depend on."""
    found = {name: _version(name) for name in PACKAGES}
    return {name: text for name, text in found.items() if text}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
