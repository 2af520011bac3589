"""What every ``score`` verb does with its scores: show a table and, where asked, keep two files."""

from __future__ import annotations

from pathlib import Path

from harness.atomic import write_bytes


def deliver(shown: str, csv: bytes, json: bytes, out: str | Path | None) -> int:
    """Print the table ``shown``, write scores.csv and scores.json below ``out`` if it is given; the exit code 0."""
    print(shown)
    if out is not None:
        folder = Path(out).expanduser()
        write_bytes(folder / "scores.csv", csv)
        write_bytes(folder / "scores.json", json)
        print(f"\n{folder / 'scores.csv'}\n{folder / 'scores.json'}")
    return 0
