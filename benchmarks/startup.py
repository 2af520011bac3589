"""Time of ``--help`` and ``list``, interpreter included (goal: under 0.5 s). ``python benchmarks/startup.py``."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

REPEATS = 7


def main() -> None:
    for words in (["--help"], ["list"], ["run", "--help"], ["--version"]):
        walls, cpus = [], []
        for _ in range(REPEATS):
            wall, cpu = time.perf_counter(), _children()
            subprocess.run([sys.executable, "-m", "harness", *words], check=True, capture_output=True)
            walls.append(time.perf_counter() - wall)
            cpus.append(_children() - cpu)
        print(f"{' '.join(words):<12} {statistics.median(walls):.3f} s, {statistics.median(cpus):.3f} s of CPU time")


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
