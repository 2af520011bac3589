"""The reader of CIFAR-10's binary version on files that the test writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import catalogue
from harness.data.cache import open_dataset
from harness.data.views import Split
from harness.types import ConfigError, DataError

LABELS = np.tile(np.arange(10, dtype=np.uint8), 2)  # of every file


def write(path: Path, seed: int, labels: np.ndarray = LABELS) -> np.ndarray:
    """One file of records; returns the images [n,32,32,3]."""
    planes = np.random.default_rng(seed).integers(0, 256, (len(labels), 3, 32, 32), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.concatenate([labels[:, None], planes.reshape(len(labels), -1)], axis=1).tobytes())
    return planes.transpose(0, 2, 3, 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "cifar-10-batches-bin"
    for k in range(1, 6):
        write(folder / f"data_batch_{k}.bin", k)
    write(folder / "test_batch.bin", 6)
    (folder / "batches.meta.txt").write_text("airplane\nautomobile\n")
    return tmp_path / "data"


def opened(root: Path, split: str, **options: str | int) -> Split:
    spec = catalogue.spec("folder/cifar10", root=root, resolution=options.pop("resolution", None), **options)
    return open_dataset(spec, root.parent / "cache").split(split)


@pytest.mark.parametrize("normal", ["01234", "56789", "02468", "13579"])
def test_five_versus_five(root: Path, normal: str) -> None:
    digits = [int(digit) for digit in normal]
    spec = catalogue.spec("folder/cifar10", root=root, normal=normal)
    assert dict(spec.splits) == {"train": 50, "test": 20}
    assert spec.options["categories"] == 5
    assert spec.resolution == 32
    train, test = opened(root, "train", normal=normal), opened(root, "test", normal=normal)
    kept = np.isin(LABELS, digits)
    images = np.concatenate([write(root.parent / "again", k)[kept] for k in range(1, 6)])
    assert np.array_equal(train.array("image"), images)
    assert train.array("category").tolist() == [digits.index(label) for label in LABELS[kept]] * 5
    assert train.index["categories"][1] == ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog")[digits[1]]
    # All test images are one group.
    assert np.array_equal(test.array("image"), write(root.parent / "again", 6))
    assert test.index["categories"] == [f"classes-{normal}"]
    assert not test.array("category").any()
    defect, mask = test.array("defect"), test.array("mask")
    assert np.array_equal(defect == 0, kept)
    assert np.array_equal(mask.all((1, 2)), defect > 0)
    assert np.array_equal(mask.any((1, 2)), defect > 0)
    others = [label for label in range(10) if label not in digits]
    assert defect[~kept].tolist() == [1 + others.index(label) for label in LABELS[~kept]]


def test_one_versus_rest_draws_as_many_anomalous_images_as_normal_ones(root: Path) -> None:
    spec = catalogue.spec("folder/cifar10", root=root, normal=3)
    assert dict(spec.splits) == {"train": 10, "test": 4}
    assert spec.options["categories"] == 1
    test = opened(root, "test", normal=3)
    assert test.index["categories"] == opened(root, "train", normal=3).index["categories"] == ["cat"]
    assert test.index["defects"][:4] == ["good", "airplane", "automobile", "bird"]
    assert (test.array("defect") == 0).sum() == 2
    everything = catalogue.spec("folder/cifar10", root=root, normal=3, anomalies="all")
    assert everything.splits["test"] == 20


def test_the_draw_follows_the_seed(root: Path) -> None:
    def drawn(seed: int) -> list[int]:
        spec = catalogue.spec("folder/cifar10", root=root, normal=3, seed=seed)
        return list(open_dataset(spec, root.parent / "cache").split("test").array("defect"))

    assert drawn(0) == drawn(0)
    assert len({tuple(drawn(seed)) for seed in range(4)}) > 1


def test_other_sizes_are_resized_with_lanczos(root: Path) -> None:
    train = opened(root, "train", resolution=64)
    first = Image.fromarray(write(root.parent / "again", 1)[0]).resize((64, 64), Image.Resampling.LANCZOS)
    assert np.array_equal(train.array("image")[0], np.asarray(first))
    assert opened(root, "test", resolution=16).array("mask").shape == (20, 16, 16)


def test_the_root_may_be_the_folder_itself(root: Path) -> None:
    inside = catalogue.spec("folder/cifar10", root=root / "cifar-10-batches-bin")
    assert dict(inside.splits) == {"train": 50, "test": 20}


def test_other_counts_than_the_official_ones_are_noted(root: Path) -> None:
    assert opened(root, "train").index["notes"] == [
        "the files have 20, 20, 20, 20, 20, 20 records, those of CIFAR-10 have 10000 each"
    ]


def cut(folder: Path) -> None:
    path = folder / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-100])


def empty(folder: Path) -> None:
    (folder / "data_batch_3.bin").write_bytes(b"")


def missing(folder: Path) -> None:
    (folder / "data_batch_3.bin").unlink()
    (folder / "test_batch.bin").unlink()


def wrong_label(folder: Path) -> None:
    write(folder / "data_batch_3.bin", 0, np.array([3, 11], np.uint8))


def one_sided(folder: Path) -> None:
    write(folder / "test_batch.bin", 0, np.array([0, 1], np.uint8))


def no_normal_training(folder: Path) -> None:
    for k in range(1, 6):
        write(folder / f"data_batch_{k}.bin", k, np.array([7, 8], np.uint8))


def python_version(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    other = folder.parent / "cifar-10-batches-py"
    other.mkdir()
    (other / "data_batch_1").write_bytes(b"\x80\x02}q\x01.")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, r"data_batch_3\.bin: 61,360 bytes are not a whole number of records.*truncated.*30,730,000"),
        (empty, r"data_batch_3\.bin: 0 bytes"),
        (missing, r"data_batch_3\.bin, test_batch\.bin are missing"),
        (wrong_label, r"data_batch_3\.bin: label 11 is above 9"),
        (one_sided, r"split test has no anomalous images"),
        (no_normal_training, r"split train has no normal images"),
        (python_version, r"Python version of CIFAR-10.*pickles.*cifar-10-binary"),
    ],
)
def test_broken_files_are_refused(root: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(root / "cifar-10-batches-bin")
    with pytest.raises(DataError, match=message):
        catalogue.spec("folder/cifar10", root=root)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: does not exist"):
        catalogue.spec("folder/cifar10", root=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normal": "012"}, r"normal=012.*01234, 56789"),
        ({"normal": "x"}, r"normal=x"),
        ({"anomalies": "some"}, r"anomalies=some"),
        ({"nromal": 1}, r"Did you mean normal"),
    ],
)
def test_wrong_options_are_refused(root: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        catalogue.spec("folder/cifar10", root=root, **options)


@pytest.mark.parametrize("word", ["01234", "1", "13579"])
def test_the_command_line_keeps_a_leading_zero(root: Path, word: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    value = OverridesParser.create().parse_override(f"data.options.normal={word}").value()
    assert catalogue.spec("folder/cifar10", root=root, normal=value).options["normal"] == word
