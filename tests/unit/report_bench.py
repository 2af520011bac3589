"""Report pages of made-up results, and a reader that sees a page as a browser does: elements, attributes, texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.store import StoredResult
from harness.tables import report
from harness.types import Budget, StoreError
from tests.unit.stored_results import result

CLAIMS = Budget("claims", 48_000)
QUICK = Budget("quick", 24_000)
FID, POSE, RANK = "fid[proc-v1|n=2048]", "pose_corr", "pose_rank_corr"
ENV = {
    "git": {"commit": "4" * 40, "changed": True},
    "cpu": "a processor",
    "packages": {"torch": "2.15.0"},
    "python": "3.11.7",
}


@dataclass(frozen=True)
class Rack:
    """Stands in for a Store: lists results, and reports folders that cannot be read."""

    listed: Sequence[StoredResult]
    root: Path = Path("nowhere")
    damaged: Sequence[str] = ()

    def results(self, report: Callable[[StoreError], None] | None = None) -> Iterator[StoredResult]:
        """The results in the order in which they were given."""
        for what in self.damaged:
            assert report is not None
            report(StoreError(what))
        return iter(self.listed)


@dataclass
class Page(HTMLParser):
    """What a page holds: ``tags`` counts (element, names of its attributes), ``attributes`` lists every value by
    (element, attribute), ``texts`` what a reader sees, ``raw`` the content of style and script."""

    content: str
    tags: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    attributes: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    raw: dict[str, str] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count an element and keep its attributes."""
        self.tags[tag, tuple(sorted(name for name, _ in attrs))] += 1
        for name, value in attrs:
            self.attributes.setdefault((tag, name), []).append(value or "")
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Leave an element, and those inside it that need no end."""
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Keep a text, or the content of style and script."""
        if self.open and self.open[-1] in ("style", "script"):
            self.raw[self.open[-1]] = self.raw.get(self.open[-1], "") + data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All texts in one."""
        return " ".join("".join(self.texts).split())


def written(results: Sequence[StoredResult], folder: Path, **more: Any) -> str:
    """The page of these results."""
    damaged = more.pop("damaged", ())
    report.write(Rack(results, folder, damaged), folder / "page.html", **more)
    return (folder / "page.html").read_text(encoding="utf-8")


def arm(
    folder: Path, method: str, values: Sequence[float], budget: Budget = CLAIMS, **more: Any
) -> Iterator[StoredResult]:
    """A seed per value: scores, cost, environment, a training log and a picture of enlarged pixels."""
    for seed, value in enumerate(values):
        made = result(
            method, seed, {FID: 20 - 10 * value, POSE: value, RANK: value}, budget=budget, folder=folder, **more
        )
        place = folder / made.key
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng([seed, len(method)]).integers(0, 256, (16, 32, 3), np.uint8)
        Image.fromarray(pixels.repeat(2, 0).repeat(2, 1)).save(place / "samples.png")
        log = [f'{{"step": {10 * step}, "losses": {{"loss_d": {1 / step + 0.1 * seed}}}}}' for step in range(1, 41)]
        (place / "train.jsonl").write_text("\n".join(log), encoding="utf-8")
        cost = {"fit_seconds": 90.0, "fit_cpu_seconds": 60.0 + 10 * seed}
        yield changed(made, folder=place, cost=cost, env=ENV, picture_files={"samples": "samples.png"})


def changed(made: StoredResult, **parts: Any) -> StoredResult:
    """The same result with other parts, its arrays kept."""
    known = {name: getattr(made, name) for name in made.__dataclass_fields__}
    other = StoredResult(**{**known, **parts})
    vars(other)["per_sample"] = made.per_sample
    return other


def heads(folder: Path) -> list[StoredResult]:
    """HoloGAN with and without random rotation and a 2D control over five seeds, a quick row, floor and oracle."""
    high, low = [0.9, 0.85, 0.95, 0.88, 0.9], [0.1, 0.3, 0.2, 0.15, 0.4]
    return [
        *arm(folder, "hologan", high),
        *arm(folder, "hologan", low, overrides={"train_rotation": "none"}),
        *arm(folder, "dcgan", [value / 2 for value in low]),
        *arm(folder, "dcgan", [0.3], QUICK),
        result("floor:noise", 0, {FID: 100.0, POSE: 0.0}),
        result("oracle:held_out", 0, {FID: 0.5, POSE: 0.99}),
    ]


def endings() -> list[StoredResult]:
    """One cell of every way not to end well."""
    return [
        result("pigan", 0, {}, status="failed", reason="StepNotFinite: loss_d is NaN at step 7"),
        result("pigan", 1, {}, status="skipped", reason="weights are not here: inception.pt"),
        result("pigan", 2, {}, status="corrupt", reason="result.json is damaged"),
        result("pigan", 3, {}, status="partial"),
        result("pigan", 4, {}, status="running"),
    ]
