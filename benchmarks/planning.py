"""Time to plan 10,000 cells (goal: under 2 s). ``python benchmarks/planning.py``; loads no torch."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from harness import config
from harness.running import session
from harness.store import Store


def main() -> None:
    words = ["suite=3d_aware", "methods=[hologan]", "hologan.identity_weight=0,0.5,1,2,4", "seeds=2000"]
    with tempfile.TemporaryDirectory() as store:
        wall, cpu = time.perf_counter(), time.process_time()
        plan = session.make_plan(config.parse([*words, "references=[]"]), Store(Path(store)))
        spent = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{len(plan.cells)} cells: {spent[0]:.2f} s, {spent[1]:.2f} s of CPU time, imports included")


if __name__ == "__main__":
    main()
