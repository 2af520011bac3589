"""Label files of every published kind give the numbers that were written, and the tables their train-ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from harness.data.label_files import read_numbers, read_red16
from harness.data.label_ids import CITYSCAPES, CITYSCAPES_PALETTE, TABLES, VOC, to_train_ids, voc_palette
from harness.metrics.segmentation import SYNTHIA_16
from harness.types import DataError
from tests.cityscapes_tree import numbers, picture, put, put_red16


def test_sixteen_bits_are_read_whatever_the_row_filters(tmp_path: Path) -> None:
    red = np.random.default_rng(0).integers(0, 65536, (11, 13)).astype(np.uint16)
    red[:3] = np.arange(13)
    for filters in ((0,), (1,), (2,), (3,), (4,), (0, 1, 2, 3, 4)):
        assert np.array_equal(read_red16(put_red16(tmp_path / "a.png", red, filters)), red)


def test_an_eight_bit_decoder_would_lose_all_classes(tmp_path: Path) -> None:
    path = put_red16(tmp_path / "a.png", numbers("synthia", 1))
    with Image.open(path) as file:
        assert not np.asarray(file)[..., 0].any()  # why read_red16 exists
    assert read_red16(path).max() == 22


@pytest.mark.parametrize("damage", [b"", b"text", "cut", "flip", "missing"])
def test_damaged_sixteen_bit_files_are_named(tmp_path: Path, damage: bytes | str) -> None:
    path = put_red16(tmp_path / "a.png", numbers("synthia", 1))
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = content[:60] + bytes([content[60] ^ 255]) + content[61:]
        path.write_bytes({"cut": content[:90], "flip": flipped}[damage] if isinstance(damage, str) else damage)
    with pytest.raises(DataError, match=r"a\.png: "):
        read_red16(path)


def test_converted_copies_of_synthia_are_refused(tmp_path: Path) -> None:
    for name, values in (("grey", numbers("synthia", 1)), ("colour", picture(1))):
        with pytest.raises(DataError, match=r"not a PNG of three channels of 16 bits.*GT/LABELS"):
            read_red16(put(tmp_path / f"{name}.png", values))


def test_palettes_give_places_and_not_colours(tmp_path: Path) -> None:
    values = numbers("voc", 1)
    grey, painted = put(tmp_path / "grey.png", values), put(tmp_path / "painted.png", values, palette=True)
    assert np.array_equal(read_numbers(grey), values)
    assert np.array_equal(read_numbers(painted), values)
    few = Image.fromarray(values % 2).convert("1", dither=Image.Dither.NONE)
    few.save(tmp_path / "bits.png")
    assert read_numbers(tmp_path / "bits.png").dtype == np.uint8


def test_mat_files_give_their_segmentation(tmp_path: Path) -> None:
    values = numbers("voc", 2)
    savemat(tmp_path / "a.mat", {"GTcls": {"Segmentation": values, "Boundaries": np.zeros(3)}}, do_compression=True)
    assert np.array_equal(read_numbers(tmp_path / "a.mat"), values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as labels of SBD"),
        (b"MATLAB 7.3 MAT-file" + bytes(600), "cannot be read as labels of SBD"),
        ({"other": np.zeros((2, 2), np.uint8)}, "KeyError.*GTcls"),
        ({"GTcls": np.zeros((2, 2), np.uint8)}, "cannot be read as labels of SBD"),
        ({"GTcls": {"Segmentation": np.zeros((2, 2))}}, r"is float64 \[2, 2\], not integers"),
        ({"GTcls": {"Segmentation": np.zeros((2, 2, 2), np.uint8)}}, r"is uint8 \[2, 2, 2\], not integers"),
    ],
)
def test_other_mat_files_are_refused(tmp_path: Path, content: bytes | dict, message: str) -> None:
    path = tmp_path / "a.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        savemat(path, content)
    with pytest.raises(DataError, match=message):
        read_numbers(path)


def test_files_without_one_number_per_pixel_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a picture of mode RGB and not one number.*classes' colours"):
        read_numbers(put(tmp_path / "a.png", picture(1)))
    with pytest.raises(DataError, match="lossy format"):
        read_numbers(put(tmp_path / "a.jpg", numbers("voc", 1)))
    (tmp_path / "b.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"b\.png: is not a label image that can be read"):
        read_numbers(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"c\.png: "):
        read_numbers(tmp_path / "c.png")


def test_tables_are_the_published_ones() -> None:
    official = "7:0 8:1 11:2 12:3 13:4 17:5 19:6 20:7 21:8 22:9 23:10 24:11 25:12 26:13 27:14 28:15 31:16 32:17 33:18"
    synthia = "3:0 4:1 2:2 21:3 5:4 7:5 15:6 9:7 6:8 16:9 1:10 10:11 17:12 8:13 18:14 19:15 20:16 12:17 11:18"
    for name, text in (("labelIds", official), ("gta5", official), ("synthia", synthia)):
        assert dict(TABLES[name].train) == {int(a): int(b) for a, b in (pair.split(":") for pair in text.split())}
    assert dict(TABLES["voc"].train) == dict(zip(range(21), range(21), strict=True))
    assert TABLES["synthia"].classes == SYNTHIA_16
    named = {0: "road", 3: "wall", 5: "pole", 7: "traffic sign", 9: "terrain", 11: "person", 14: "truck", 16: "train"}
    assert {k: CITYSCAPES[k] for k in named} == named
    assert (len(VOC), len(CITYSCAPES), len(CITYSCAPES_PALETTE)) == (21, 19, 19)


def test_every_number_has_a_train_id_is_ignored_or_is_an_error() -> None:
    path = Path("a.png")
    for table in TABLES.values():
        for number in range(256):
            value = np.full((1, 1), number, np.uint8)
            if number in table.known:
                assert to_train_ids(value, table, path).item() == table.train.get(number, 255)
            else:
                with pytest.raises(DataError, match=rf"a\.png: label {number} is no number of table {table.name}"):
                    to_train_ids(value, table, path)
    for number in (-1, 256, 65535):
        with pytest.raises(DataError, match=f"label {number} is no number"):
            to_train_ids(np.full((1, 1), number, np.int32), TABLES["synthia"], path)


def test_the_palette_of_voc_is_the_published_one() -> None:
    colours = voc_palette()
    assert colours[:5] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
    assert colours[20] == (0, 64, 128)
    assert colours[255] == (224, 224, 192)
    assert len(set(colours)) == 256
