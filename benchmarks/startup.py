"""Time of ``--help`` and ``list``, interpreter included (goal: under 0.5 s). ``python benchmarks/startup.py``."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 7


def main() -> None:
    for words in (["--help"], ["list"], ["run", "--help"], ["--version"]):
        times = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "harness", *words], check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        print(f"{' '.join(words):<12} median {statistics.median(times):.3f} s, worst {max(times):.3f} s")


if __name__ == "__main__":
    main()
