"""Time to plan 10,000 cells (goal: under 2 s). ``python benchmarks/planning.py``; needs no torch."""

from __future__ import annotations

import time

from harness import config
from harness.running import plan
from harness.store import Store


def main() -> None:
    start = time.perf_counter()
    words = ["suite=3d_aware", "methods=[hologan]", "hologan.identity_weight=0,0.5,1,2,4", "seeds=2000"]
    made = config.parse([*words, "references=[]"])
    parsed = time.perf_counter()
    store = Store(made.store)
    whole = plan.build(made, state=lambda cell: store.status(cell.key))
    end = time.perf_counter()
    print(f"{len(whole.cells)} cells: command line {parsed - start:.2f} s, plan {end - parsed:.2f} s")


if __name__ == "__main__":
    main()
