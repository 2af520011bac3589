"""Reading a materialised data set: dataset -> split -> view of named fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.atomic import sha256_of
from harness.data.factors import Factor
from harness.data.fields import Array, unpack
from harness.types import DataError, DataSpec, digest_of

INDEX = "index.json"


@lru_cache(maxsize=256)
def _digest_of_state(path: Path, size: int, modified: int) -> str:
    return sha256_of(path)


class View(Mapping[str, Array]):
    """The named fields of a split and nothing else: arrays of one row per sample, memory-mapped where possible.

    ``len(view)`` is the number of samples; iterating gives field names.
    """

    def __init__(self, split: Split, fields: Sequence[str]) -> None:
        self._split, self.fields = split, tuple(fields)
        self._arrays: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        if name not in self.fields:
            raise DataError(
                f"field '{name}' is outside this view ({', '.join(self.fields)})",
                where=self._split.where,
                nearest=get_close_matches(name, self.fields, n=1),
                remedy="Ask for a view that names it; a training view hands out only what the task allows.",
            )
        if name not in self._arrays:
            self._arrays[name] = self._split.array(name)
        return self._arrays[name]

    def __len__(self) -> int:
        return len(self._split)

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __contains__(self, name: object) -> bool:
        return name in self.fields


class Split:
    """One split on disk; ``index`` is the content of its index.json."""

    def __init__(self, spec: DataSpec, name: str, folder: Path) -> None:
        self.spec, self.name, self.folder = spec, name, folder
        self.index: dict[str, Any] = json.loads((folder / INDEX).read_text())
        self.where = f"{spec.name} {name}"

    def __len__(self) -> int:
        return int(self.index["rows"])

    @property
    def digest(self) -> str:
        """Content digest: SHA-256 over the digests of all files."""
        return str(self.index["content"])

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields with one row per sample that this split keeps."""
        return tuple(self.index["storage"])

    @property
    def factors(self) -> tuple[Factor, ...]:
        """Schema of the columns of field ``factors``."""
        return tuple(Factor(**{**entry, "weights": tuple(entry["weights"])}) for entry in self.index["factors"])

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of the columns of field ``factors``."""
        return tuple(entry["name"] for entry in self.index["factors"])

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the part labels, by id."""
        return tuple(self.index["parts"])

    @property
    def keypoints(self) -> tuple[str, ...]:
        """Names of the keypoints."""
        return tuple(self.index["keypoints"])

    @property
    def keypoint_mirror(self) -> tuple[int, ...]:
        """Each keypoint's id after a left-right flip."""
        return tuple(self.index["keypoint_mirror"])

    def view(self, fields: Sequence[str]) -> View:
        """A view of ``fields``; raises DataError for a field that this split does not keep."""
        for name in fields:
            if name not in self.index["storage"]:
                raise DataError(
                    f"field '{name}' is not kept in this split",
                    where=self.where,
                    nearest=get_close_matches(name, self.fields, n=2),
                    remedy=f"Kept: {', '.join(self.fields)}.",
                )
        return View(self, fields)

    def array(self, name: str) -> Array:
        """A field in its declared type, checked against its digest when it is first opened."""
        storage = self.index["storage"][name]
        radius = self._file("pose")[:, 2].astype(np.float32) if storage == "half" else None
        return unpack(self._file(name), storage, radius)

    def mesh(self, identity: int) -> dict[str, Array]:
        """Mesh of one identity of ``multiview``: ``vertices``, ``normals`` [V,3], ``faces`` [F,3], ``parts`` [F],
        texture coordinates ``uv`` of face corners [F,3,2] (v down), ``texture`` uint8 [128,128,3] (255 x linear).
        """
        if "mesh_counts" not in self.index["files"]:
            raise DataError("no meshes are kept in this split", where=self.where, remedy="Use split 'multiview'.")
        if not 0 <= identity < len(self._mesh_starts) - 1:
            raise DataError(f"no identity {identity}", where=self.where, remedy=f"0 to {len(self._mesh_starts) - 2}.")
        (v, f), (v_end, f_end) = self._mesh_starts[identity], self._mesh_starts[identity + 1]
        vertices, faces = slice(v, v_end), slice(f, f_end)
        return {
            "vertices": self._file("mesh_vertices")[vertices],
            "normals": self._file("mesh_normals")[vertices],
            "faces": self._file("mesh_faces")[faces],
            "parts": self._file("mesh_parts")[faces],
            "uv": self._file("mesh_uv")[faces],
            "texture": self._file("mesh_textures")[identity],
        }

    @cached_property
    def _mesh_starts(self) -> Array:
        return np.concatenate([[[0, 0]], np.cumsum(self._file("mesh_counts"), axis=0)])

    def _file(self, name: str) -> Array:
        entry, path = self.index["files"][name], self.folder / f"{name}.npy"
        check_file(path, entry, self.where)
        return np.load(path, mmap_mode="r", allow_pickle=False)


def check_file(path: Path, entry: Mapping[str, Any], where: str) -> None:
    """Raise DataError if the file is missing or its bytes are not those of its index entry."""
    try:
        state = path.stat()
    except OSError:
        problem = "is missing"
    else:
        if (
            state.st_size == entry["bytes"]
            and _digest_of_state(path, state.st_size, state.st_mtime_ns) == entry["sha256"]
        ):
            return
        problem = "is damaged: its SHA-256 is not the one written in index.json"
    raise DataError(
        f"{path.name} {problem}",
        where=f"{where} ({path.parent})",
        remedy="Delete that folder and run the command again: the split is rebuilt with the same content.",
    )


class Dataset:
    """A data set whose splits are opened by name and built on first use by ``opener``."""

    def __init__(self, spec: DataSpec, opener: Callable[[str], Split]) -> None:
        self.spec, self._opener = spec, opener
        self._splits: dict[str, Split] = {}

    def split(self, name: str) -> Split:
        """The split ``name``; built first if it is not in the cache."""
        if name not in self._splits:
            self._splits[name] = self._opener(name)
        return self._splits[name]

    @property
    def opened(self) -> tuple[str, ...]:
        """Names of the splits that have been opened so far."""
        return tuple(self._splits)

    def digest(self, names: Sequence[str]) -> str:
        """Content digest of several splits together."""
        return digest_of({name: self.split(name).digest for name in names})
