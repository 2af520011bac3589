"""What a reader of a published layout finds in a folder of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from harness.types import ConfigError

Options = Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class Listing:
    """What a layout found: per split the files in order; by file ``categories`` (int), ``attributes`` (-1 or 1),
    ``landmarks`` (x, y in pixels of the file) and ``poses`` (azimuth, elevation, radius); ``notes`` for the user."""

    splits: dict[str, tuple[Path, ...]]
    category_names: tuple[str, ...] = ()
    categories: dict[Path, int] = field(default_factory=dict)
    attribute_names: tuple[str, ...] = ()
    attributes: dict[Path, tuple[int, ...]] = field(default_factory=dict)
    landmark_names: tuple[str, ...] = ()
    landmarks: dict[Path, tuple[float, ...]] = field(default_factory=dict)
    poses: dict[Path, tuple[float, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def labels(self) -> list[tuple[object, ...]]:
        """All that is said of each file, in the order of the splits; nothing where nothing is said of any."""
        said = [kind for kind in (self.categories, self.attributes, self.landmarks, self.poses) if kind]
        return [tuple(kind.get(path) for kind in said) for files in self.splits.values() for path in files if said]


def given_root(root: str | Path | None, where: str) -> str:
    """The folder of the user's images; raises ConfigError where none was given."""
    if root is None:
        raise ConfigError("no folder given", where=where, remedy="Say where the images are with root=PATH.")
    return str(root)


def one_of(options: Options, key: str, known: Sequence[str], where: str = "") -> None:
    """Raise ConfigError, with the nearest, unless the option ``key`` is one of the ``known`` words."""
    if options[key] not in known:
        near = get_close_matches(str(options[key]), known, n=1)
        raise ConfigError(
            f"unknown {key} '{options[key]}'", where=where, nearest=near, remedy=f"Known: {', '.join(known)}."
        )


def count_note(name: str, found: int, official: int) -> tuple[str, ...]:
    """A note where a set has another number of images than the published one."""
    return () if found == official else (f"{found} images found, {name} has {official}",)
