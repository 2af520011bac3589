"""The data cache: resumption, concurrent writers, damage, full disks and views."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import cache, catalogue, shards
from harness.data.cache import build, make_shard, open_dataset, split_folder, verify
from harness.types import DataError, StoreError
from tests.unit.counting_source import ROWS, SPEC, CountingSource, install

ROOT = Path(__file__).resolve().parents[2]


def writers(folder: Path, *pauses: float) -> list[subprocess.Popen[str]]:
    """Processes that build the counting data set, all of them ready to begin."""
    command = [sys.executable, "-m", "tests.unit.counting_source", str(folder)]
    found = [subprocess.Popen([*command, str(p)], stdout=subprocess.PIPE, text=True, cwd=ROOT) for p in pauses]
    for process in found:
        assert process.stdout is not None
        process.stdout.readline()
    return found


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "open_source", cache.open_source)
    monkeypatch.setattr(cache, "POLL_SECONDS", 0.02)
    install()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    real = cache.open_source
    install()
    try:
        return build(SPEC, tmp_path_factory.mktemp("undisturbed"), ["train"]).split("train").digest
    finally:
        cache.open_source = real


def test_rows_come_back_in_order_and_in_their_declared_types(tmp_path: Path) -> None:
    view = open_dataset(SPEC, tmp_path).split("train").view(("image", "depth", "normal", "identity"))
    expected = CountingSource().produce("train", 0, ROWS)
    assert len(view) == ROWS
    assert np.array_equal(view["image"], expected["image"])
    assert isinstance(view["image"], np.memmap)
    assert np.array_equal(view["identity"], np.arange(ROWS))
    assert view["depth"].dtype == np.float32
    assert np.array_equal(view["depth"] == 0, expected["depth"] == 0)
    np.testing.assert_allclose(view["depth"], expected["depth"], atol=6e-4)
    np.testing.assert_allclose(view["normal"], expected["normal"], atol=0.005)


def test_only_the_finished_files_stay(tmp_path: Path, undisturbed: str) -> None:
    split = build(SPEC, tmp_path, ["train"]).split("train")
    names = sorted(path.name for path in split.folder.iterdir())
    assert names == ["depth.npy", "identity.npy", "image.npy", "index.json", "normal.npy", "pose.npy"]
    assert split.digest == undisturbed


def test_a_second_opening_builds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(SPEC, tmp_path, ["train"])
    monkeypatch.setattr(CountingSource, "produce", lambda *_: pytest.fail("rendered again"))
    assert len(open_dataset(SPEC, tmp_path).split("train")) == ROWS


def test_shard_size_and_worker_order_do_not_change_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: str
) -> None:
    folder = split_folder(SPEC, tmp_path, "train")
    for number in (7, 2, 11):
        assert make_shard(SPEC, "train", folder, number)
    assert build(SPEC, tmp_path, ["train"]).split("train").digest == undisturbed
    monkeypatch.setattr(CountingSource, "shard_rows", lambda *_: 7)
    assert build(SPEC, tmp_path / "other", ["train"]).split("train").digest == undisturbed


def test_progress_reaches_the_number_of_rows(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    build(SPEC, tmp_path, ["train"], progress=lambda *step: seen.append(step))
    assert seen[0] == ("train", 0, ROWS)
    assert seen[-1] == ("train", ROWS, ROWS)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_killed_writers_leave_nothing_that_matters(tmp_path: Path, undisturbed: str) -> None:
    """Two processes fill one cache; both are killed at different moments; the third ends with the same content."""
    for delay in (0.03, 0.2):
        pair = writers(tmp_path, 0.1, 0.1)
        time.sleep(delay)
        for process in pair:
            process.kill()
            process.communicate()
    assert build(SPEC, tmp_path, ["train"]).split("train").digest == undisturbed


def test_the_survivor_of_two_writers_finishes(tmp_path: Path, undisturbed: str) -> None:
    victim, survivor = writers(tmp_path, 0.1, 0.02)
    victim.kill()
    victim.communicate()
    assert survivor.stdout is not None  # read on as begun: communicate() would lose what readline() has read ahead
    assert survivor.stdout.read().split()[-1] == undisturbed
    assert survivor.wait(timeout=60) == 0


def test_a_damaged_shard_is_made_again(tmp_path: Path, undisturbed: str) -> None:
    folder = split_folder(SPEC, tmp_path, "train")
    for number in range(5):
        make_shard(SPEC, "train", folder, number)
    place = shards.shard_folder(folder / cache.SHARDS, 1)
    content = bytearray((place / "image.npy").read_bytes())
    content[-1] ^= 1
    (place / "image.npy").write_bytes(content)
    (shards.shard_folder(folder / cache.SHARDS, 3) / "depth.npy").unlink()
    assert build(SPEC, tmp_path, ["train"]).split("train").digest == undisturbed


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_file_is_refused_with_a_remedy(tmp_path: Path, damage: str) -> None:
    folder = build(SPEC, tmp_path, ["train"]).split("train").folder
    path = folder / "image.npy"
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-5])
    else:
        path.unlink()
    with pytest.raises(DataError, match=r"image\.npy.*Delete that folder"):
        open_dataset(SPEC, tmp_path).split("train").view(("image",))["image"]
    report = verify(SPEC, tmp_path)
    assert len(report.problems) == 1
    assert "image.npy" in report.problems[0]


@pytest.mark.parametrize("content", ["", "{", "{}", '{"format": 1, "files": {}, "content": "0"}'])
def test_a_damaged_index_means_building_again(tmp_path: Path, content: str, undisturbed: str) -> None:
    folder = build(SPEC, tmp_path, ["train"]).split("train").folder
    (folder / "index.json").write_text(content)
    assert build(SPEC, tmp_path, ["train"]).split("train").digest == undisturbed


def test_verify_reports_unfinished_splits_and_passes_good_ones(tmp_path: Path) -> None:
    build(SPEC, tmp_path, ["test"])
    make_shard(SPEC, "train", split_folder(SPEC, tmp_path, "train"), 0)
    report = verify(SPEC, tmp_path, full=True)
    assert report.checked == 5
    assert len(report.problems) == 1
    assert "unfinished" in report.problems[0]
    assert list(report.digests) == ["test"]


def test_full_verification_compares_with_fresh_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(SPEC, tmp_path, ["test"])
    produce = CountingSource.produce

    def darker(self: CountingSource, split: str, first: int, count: int) -> dict[str, np.ndarray]:
        record = produce(self, split, first, count)
        return {**record, "image": record["image"] // 2}

    monkeypatch.setattr(CountingSource, "produce", darker)
    assert not verify(SPEC, tmp_path).problems
    assert "'image' differ" in verify(SPEC, tmp_path, full=True).problems[0]


def test_a_full_disk_is_one_clear_error_and_keeps_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: str
) -> None:
    save, calls = np.save, []

    def full(*args: Any, **kwargs: Any) -> None:
        calls.append(args)
        if len(calls) > 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(*args, **kwargs)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(StoreError, match="disk is full"):
        build(SPEC, tmp_path, ["train"])
    place = split_folder(SPEC, tmp_path, "train") / cache.SHARDS
    assert [shards.read_stamp(place, number) is not None for number in range(3)] == [True, True, False]
    assert not [path for path in place.iterdir() if path.is_dir() and path.name.startswith(".")]
    monkeypatch.setattr(np, "save", save)
    assert build(SPEC, tmp_path, ["train"]).split("train").digest == undisturbed


def test_nan_is_refused_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    produce = CountingSource.produce

    def broken(self: CountingSource, split: str, first: int, count: int) -> dict[str, np.ndarray]:
        record = produce(self, split, first, count)
        record["pose"][0, 1] = np.nan
        return record

    monkeypatch.setattr(CountingSource, "produce", broken)
    with pytest.raises(DataError, match="NaN or infinity in pose"):
        build(SPEC, tmp_path, ["train"])


def test_views_hand_out_only_what_they_name(tmp_path: Path) -> None:
    split = open_dataset(SPEC, tmp_path).split("test")
    view = split.view(("image",))
    assert list(view) == ["image"]
    with pytest.raises(DataError, match=r"'depth' is outside this view \(image\)"):
        view["depth"]
    with pytest.raises(DataError, match=r"'depht' is not kept.*Did you mean depth"):
        split.view(("depht",))


def test_unknown_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split 'tset'"):
        open_dataset(SPEC, tmp_path).split("tset")


def test_an_unwritable_cache_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "counting").write_text("a file where a folder is needed")
    with pytest.raises(StoreError, match="cannot be written"):
        build(SPEC, tmp_path, ["train"])


def test_worker_processes_build_the_same_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    spec = catalogue.spec("objects/head", tier="smoke", splits={"train": 6}, background="sky", prior="wide60")
    here = build(spec, tmp_path / "one", ["train"]).split("train").digest
    with cache._maker(2) as make:
        assert list(make(spec, "train", split_folder(spec, tmp_path / "two", "train"), [0])) == [True]
    assert build(spec, tmp_path / "two", ["train"], workers=2).split("train").digest == here
    longer = catalogue.spec("objects/head", tier="smoke", splits={"train": 9}, background="sky", prior="wide60")
    image, more = (
        build(s, tmp_path / "one", ["train"]).split("train").view(("image",))["image"] for s in (spec, longer)
    )
    assert np.array_equal(more[:6], image), "a longer split begins with the shorter one"
