"""Small trees in the published layouts of segmentation sets, with the numbers, modes and quirks of their files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from harness.data.label_ids import TABLES, voc_palette

HEIGHT, WIDTH = 24, 48
TRAIN, VAL, SOURCE = 9, 3, 4


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Noise [H,W,3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def numbers(table: str, seed: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Blocks of 4x4 pixels with numbers that have a train-id in ``table``, and row 0 ignored where it can be."""
    rng = np.random.default_rng((seed, 1))
    ids = np.array(sorted(n for n, k in TABLES[table].train.items() if k in TABLES[table].classes))
    blocks = rng.choice(ids, (-(-height // 4), -(-width // 4)))
    values = blocks.repeat(4, 0).repeat(4, 1)[:height, :width].astype(np.uint8)
    values[0] = {"labelIds": 0, "gta5": 34, "synthia": 22}.get(table, 255)
    return values


def train_ids(values: NDArray[np.uint8], table: str) -> NDArray[np.uint8]:
    """What the reader should give, pixel by pixel."""
    return np.array([[TABLES[table].train.get(int(n), 255) for n in row] for row in values], np.uint8)


def put(path: Path, values: NDArray[np.uint8], palette: bool = False) -> Path:
    """Write a picture, a grey image, or an image with VOC's palette, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if palette:
        image.putpalette([level for colour in voc_palette() for level in colour])
    image.save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return path


def put_red16(path: Path, red: NDArray[np.integer], filters: tuple[int, ...] = (0,)) -> Path:
    """Write ``red`` and an instance number in green as a 16-bit PNG of three channels, which Pillow cannot write.

    ``filters`` are the row filters of the format, taken in turn.
    """
    high, wide = red.shape
    values = np.zeros((high, wide, 3), np.uint16)
    values[..., 0], values[..., 1] = red, np.arange(wide) * 777 % 65536
    size, step = wide * 6, 6
    rows, above = values.astype(">u2").tobytes(), bytes(size)
    body = bytearray()
    for y in range(high):
        row, kind = rows[y * size : (y + 1) * size], filters[y % len(filters)]
        body.append(kind)
        for i, value in enumerate(row):
            left, up = (row[i - step], above[i - step]) if i >= step else (0, 0)
            body.append((value - _predicted(kind, left, above[i], up)) % 256)
        above = row
    head = struct.pack(">IIBBBBB", wide, high, 16, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(body))), (b"IEND", b""))
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def _predicted(kind: int, left: int, above: int, corner: int) -> int:
    """The predictor of a PNG row filter: none, left, above, mean, Paeth."""
    nearest = min((left, above, corner), key=lambda value: abs(left + above - corner - value))
    return (0, left, above, (left + above) // 2, nearest)[kind]


def cityscapes(root: Path, kind: str = "labelIds") -> Path:
    """Two cities to train on, one to test on; grey label files of raw ids (or train-ids)."""
    seed = 0
    for part, city, count in (("train", "aachen", TRAIN - 4), ("train", "zurich", 4), ("val", "lindau", VAL)):
        for k in range(count):
            name, seed = f"{city}_{k:06d}_000019", seed + 1
            put(root / "leftImg8bit" / part / city / f"{name}_leftImg8bit.png", picture(seed))
            put(root / "gtFine" / part / city / f"{name}_gtFine_{kind}.png", numbers(kind, seed))
            put(root / "gtFine" / part / city / f"{name}_gtFine_color.png", picture(seed))
    return root


def gta(root: Path) -> Path:
    """GTA5 beside Cityscapes: palette labels, one image of another size than its label, a converted copy of a label."""
    cityscapes(root / "cityscapes")
    for k in range(1, SOURCE + 1):
        put(root / "gta" / "images" / f"{k:05d}.png", picture(100 + k, 30, 54))
        put(root / "gta" / "labels" / f"{k:05d}.png", numbers("gta5", 100 + k, 30, 54), palette=True)
    put(root / "gta" / "images" / "00005.png", picture(105, 30, 54))
    put(root / "gta" / "labels" / "00005.png", numbers("gta5", 105, 30, 50), palette=True)
    put(root / "gta" / "labels" / "00001_labelTrainIds.png", numbers("labelTrainIds", 1, 30, 54))
    return root


def synthia(root: Path) -> Path:
    """SYNTHIA beside Cityscapes: 16-bit labels of three channels, the class in red."""
    cityscapes(root / "cityscapes")
    for k in range(SOURCE):
        put(root / "synthia" / "RGB" / f"{k:07d}.png", picture(200 + k, 20, 40))
        put_red16(root / "synthia" / "GT" / "LABELS" / f"{k:07d}.png", numbers("synthia", 200 + k, 20, 40))
    return root


def voc(root: Path, further: str = "") -> Path:
    """VOC with palette labels, wide and high; ``further`` labels as ``aug`` or ``sbd`` (no 255; some in VOC val)."""
    base = root / "VOCdevkit" / "VOC2012"
    names = {"train": [f"2007_{k:06d}" for k in range(9)], "val": [f"2008_{k:06d}" for k in range(3)]}
    for part, listed in names.items():
        lists = base / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{part}.txt").write_text("".join(f"{name}\n" for name in listed))
    added = [f"2009_{k:06d}" for k in range(12)]
    for k, name in enumerate([*names["train"], *names["val"], *(added if further else [])]):
        high, wide = (20, 32) if k % 2 else (32, 20)
        put(base / "JPEGImages" / f"{name}.jpg", picture(300 + k, high, wide))
        values = numbers("voc", 300 + k, high, wide)
        plain = np.where(values == 255, 0, values).astype(np.uint8)
        if name not in added:
            put(base / "SegmentationClass" / f"{name}.png", values, palette=True)
        if further == "aug":
            put(base / "SegmentationClassAug" / f"{name}.png", plain)
        elif further == "sbd" and name not in names["train"][1:]:
            _put_sbd(root / "benchmark_RELEASE" / "dataset", name, plain)
    return root


def _put_sbd(release: Path, name: str, values: NDArray[np.uint8]) -> None:
    (release / "cls").mkdir(parents=True, exist_ok=True)
    savemat(release / "cls" / f"{name}.mat", {"GTcls": {"Segmentation": values, "Boundaries": np.zeros((2, 2))}})
    part = "val" if name.endswith("1") else "train"
    for other in ("train", "val"):
        (release / f"{other}.txt").touch()
    with (release / f"{part}.txt").open("a") as file:
        file.write(f"{name}\n")
