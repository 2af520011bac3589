"""Image files: defined conversions, and one clear error for everything else."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.pictures import load_folder, load_picture
from harness.types import DataError


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)


def write_png16(path: Path, channels: int) -> None:
    """A 16-bit PNG, gray or RGB, written chunk by chunk (Pillow cannot write 16-bit RGB)."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 4, 4, 16, 0 if channels == 1 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(range(8 * channels)) for _ in range(4))
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def test_rgb_is_read_as_it_is(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(tmp_path / "a.png")
    assert np.array_equal(load_picture(tmp_path / "a.png"), picture)


def test_gray_and_bilevel_become_three_equal_channels(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture[..., 0]).save(tmp_path / "l.png")
    Image.fromarray(picture[..., 0] > 127).save(tmp_path / "1.png")
    assert np.array_equal(load_picture(tmp_path / "l.png"), np.repeat(picture[..., :1], 3, -1))
    assert set(np.unique(load_picture(tmp_path / "1.png"))) == {0, 255}


def test_palette_images_become_their_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([1, 0])
    image.save(tmp_path / "p.png")
    assert load_picture(tmp_path / "p.png").tolist() == [[[40, 50, 60], [10, 20, 30]]]


def test_an_opaque_alpha_channel_is_dropped(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(np.dstack([picture, np.full((6, 5), 255, np.uint8)])).save(tmp_path / "a.png")
    assert np.array_equal(load_picture(tmp_path / "a.png"), picture)


def test_transparency_is_refused(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(np.dstack([picture, np.full((6, 5), 254, np.uint8)])).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: has transparent pixels"):
        load_picture(tmp_path / "a.png")


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_refused(tmp_path: Path, channels: int) -> None:
    write_png16(tmp_path / "deep.png", channels)
    with pytest.raises(DataError, match=r"deep\.png: has more than 8 bits per channel"):
        load_picture(tmp_path / "deep.png")


def test_cmyk_is_refused(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "c.jpg")
    with pytest.raises(DataError, match="colour mode CMYK"):
        load_picture(tmp_path / "c.jpg")


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_animations_are_refused(tmp_path: Path, picture: np.ndarray, ending: str) -> None:
    frames = [Image.fromarray(picture), Image.fromarray(255 - picture)]
    frames[0].save(tmp_path / f"move.{ending}", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="is an animation"):
        load_picture(tmp_path / f"move.{ending}")


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp"])
def test_truncated_files_are_refused(tmp_path: Path, ending: str) -> None:
    large = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / f"cut.{ending}"
    Image.fromarray(large).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"cut\.{ending}: "):
        load_picture(path)


@pytest.mark.parametrize("content", [b"", b"this is text", b"\x89PNG\r\n\x1a\n"])
def test_unreadable_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.png: "):
        load_picture(tmp_path / "bad.png")


def test_a_damaged_checksum_is_refused(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "crc.png"
    Image.fromarray(picture).save(path)
    content = bytearray(path.read_bytes())
    content[50] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"crc\.png: "):
        load_picture(path)


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path, picture: np.ndarray) -> None:
    (tmp_path / "sub").mkdir()
    for number, name in enumerate(("b.png", "a.png", "sub/c.png", ".hidden.png")):
        Image.fromarray(picture + np.uint8(number)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    images = load_folder(tmp_path)
    assert images.shape == (3, 6, 5, 3)
    assert np.array_equal(images[0], picture + np.uint8(1))
    assert np.array_equal(load_folder(tmp_path, limit=2), images[:2])


def test_images_of_different_sizes_are_refused_unless_resized(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(picture[:-1]).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"b\.png: is 5x5 px, but a\.png is 5x6 px"):
        load_folder(tmp_path)
    assert load_folder(tmp_path, resolution=2).shape == (2, 2, 2, 3)


def test_empty_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        load_folder(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        load_folder(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is not a folder"):
        load_folder(tmp_path / "file")


def test_a_decompression_bomb_is_refused(tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(picture).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(DataError, match="too large"):
        load_picture(tmp_path / "a.png")
