"""Family ``defects``: exact masks, twins, addresses and what the cache keeps of them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from harness.codedigest import imports
from harness.data import cache as caches
from harness.data import catalogue, defects, defects_source
from harness.data.defects_categories import CATEGORIES, DISC
from harness.data.defects_faults import KINDS, LEAST, MOST
from harness.data.defects_relief import lattice
from harness.data.fields import FIELDS
from harness.data.sheet import sheet
from harness.types import ConfigError, DataError, DataSpec

ROOT = Path(__file__).parents[2]
FIELDS_HELD_OUT = ("image", "twin", "mask", "foreground", "category", "defect", "factors")


def small(**options: object) -> DataSpec:
    return catalogue.spec("defects", tier="smoke", **options)


@pytest.fixture(scope="module")
def every() -> dict[str, np.ndarray]:
    """The smoke test split of all fifteen categories: four good images and one of each defect."""
    spec = small(categories=15)
    return defects.samples(spec, "test", 0, spec.splits["test"], FIELDS_HELD_OUT)


def test_a_row_is_the_same_alone_in_a_batch_and_in_another_process() -> None:
    spec, row = small(), 57
    batch = defects.samples(spec, "test", 50, 10, FIELDS_HELD_OUT)
    alone = defects.sample(spec, "test", row)
    for name in FIELDS_HELD_OUT:
        assert batch[name][row - 50].tobytes() == alone[name].tobytes(), name
    code = (
        "import hashlib; from harness.data import catalogue, defects; "
        f"record = defects.sample(catalogue.spec('defects', tier='smoke'), 'test', {row}); "
        f"print(hashlib.sha256(b''.join(record[n].tobytes() for n in {FIELDS_HELD_OUT})).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert other.strip() == hashlib.sha256(b"".join(alone[n].tobytes() for n in FIELDS_HELD_OUT)).hexdigest()


def test_a_defective_image_is_its_twin_outside_the_dilated_mask(every: dict[str, np.ndarray]) -> None:
    for image, twin, mask in zip(every["image"], every["twin"], every["mask"], strict=True):
        far = ~ndimage.binary_dilation(mask, np.ones((3, 3)))
        assert np.array_equal(image[far], twin[far])


def test_a_mask_holds_what_changed(every: dict[str, np.ndarray]) -> None:
    """Noise-free changes above the threshold are in the mask: bytes clip and round, hence a margin of one level."""
    change = np.abs(every["image"].astype(int) - every["twin"].astype(int)).max(-1)
    mask = every["mask"] > 0
    for one, inside in zip(change, mask, strict=True):
        lone = one * ~ndimage.binary_closing(np.pad(inside, 2), iterations=1)[2:-2, 2:-2] * ~inside
        labels, count = ndimage.label(lone > 0.03 * 255 + 1, np.ones((3, 3)))
        assert all((labels == k).sum() < 4 for k in range(1, count + 1))  # only specks were dropped
    defective = every["defect"] > 0
    assert change[defective][mask[defective]].mean() > 0.06 * 255
    assert change[mask].mean() > 10 * change[~mask].mean()


def test_masks_are_neither_tiny_nor_huge(every: dict[str, np.ndarray]) -> None:
    areas = every["mask"].sum((1, 2))[every["defect"] > 0]
    assert areas.min() >= LEAST
    assert areas.max() <= MOST * every["mask"][0].size


def test_good_images_have_no_mask_and_are_their_own_twins(every: dict[str, np.ndarray]) -> None:
    good = every["defect"] == 0
    assert not every["mask"][good].any()
    assert np.array_equal(every["image"][good], every["twin"][good])
    assert every["mask"][~good].any((1, 2)).all()
    assert (every["factors"][good, -2:] == 0).all()


def test_every_category_shows_every_defect(every: dict[str, np.ndarray]) -> None:
    for category in range(15):
        own = every["defect"][every["category"] == category]
        assert sorted(own.tolist()) == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6]


def test_defects_lie_on_the_object(every: dict[str, np.ndarray]) -> None:
    """Scratches, holes and stains stay on the object up to the soft edge."""
    bound = np.isin(every["defect"], [KINDS.index(kind) + 1 for kind in ("scratch", "hole", "colour")])
    for mask, foreground in zip(every["mask"][bound], every["foreground"][bound], strict=True):
        assert not mask[~ndimage.binary_dilation(foreground, np.ones((3, 3)), iterations=2)].any()


def test_textures_fill_the_picture_and_objects_do_not(every: dict[str, np.ndarray]) -> None:
    for category, foreground in zip(every["category"], every["foreground"], strict=True):
        texture = CATEGORIES[category].name.rstrip("2") in ("weave", "grid", "tile", "wood", "leather")
        assert foreground.all() if texture else 0.1 < foreground.mean() < 0.75


def test_a_category_looks_the_same_however_many_there_are() -> None:
    one, many = small(categories=1), small(categories=15)
    for split, rows in (("train", 3), ("test", 10)):
        for row in range(rows):
            left, right = defects.sample(one, split, row), defects.sample(many, split, 15 * row)
            assert all(np.array_equal(left[name], right[name]) for name in FIELDS_HELD_OUT)


def test_a_longer_split_begins_with_the_shorter() -> None:
    short, long = catalogue.spec("defects", tier="smoke"), catalogue.spec("defects", resolution=32)
    assert defects.address(short, "train", 40) == defects.address(long, "train", 40)


@pytest.mark.parametrize("contrast", [0.5, 0.25])
def test_contrast_blends_a_defect_with_its_twin(contrast: float) -> None:
    full, weak = small(), small(contrast=contrast)
    for row in range(24, 60, 5):
        strong, faint = defects.sample(full, "test", row), defects.sample(weak, "test", row)
        assert np.array_equal(strong["mask"], faint["mask"])
        assert np.array_equal(strong["twin"], faint["twin"])
        change, less = (record["image"].astype(float) - record["twin"] for record in (strong, faint))
        inner = (strong["image"] > 8) & (strong["image"] < 247) & (strong["twin"] > 8) & (strong["twin"] < 247)
        assert np.abs(less - contrast * change)[inner].max() <= 1.5


@pytest.mark.parametrize("half", [0, 1])
def test_semantic_task_trains_on_one_half_and_marks_the_other(half: int) -> None:
    spec = small(task="semantic", half=half)
    train = defects.samples(spec, "train", 0, spec.splits["train"], ("category",))
    assert sorted(np.bincount(train["category"], minlength=6).tolist()) == [0, 0, 0, 8, 8, 8]
    assert set(train["category"] % 2) == {half}
    test = defects.samples(spec, "test", 0, spec.splits["test"], FIELDS_HELD_OUT)
    other = test["category"] % 2 != half
    assert defects.defect_names(spec)[test["defect"][other][0]] == "other"
    assert (test["defect"][other] == 7).all()
    assert test["mask"][other].all()
    assert (test["defect"][~other] == 0).all()
    assert not test["mask"][~other].any()
    assert np.array_equal(test["image"], test["twin"])


def test_held_out_sizes_are_those_of_the_tiers() -> None:
    expected = {"smoke": (8, 2, 6, 4, 6), "micro": (150, 10, 12, 20, 36), "small": (200, 15, 18, 30, 60)}
    for tier, (train, val_good, val_bad, test_good, test_bad) in expected.items():
        spec = catalogue.spec("defects", tier=tier)
        assert dict(spec.splits) == {
            "train": 6 * train,
            "val": 6 * (val_good + val_bad),
            "test": 6 * (test_good + test_bad),
        }
        labels = [defects.address(spec, "test", row).label for row in range(spec.splits["test"])]
        assert np.bincount(labels).tolist() == [6 * test_good, *[test_bad] * 6]


@pytest.mark.parametrize(
    "options",
    [
        {"categories": 0},
        {"categories": 16},
        {"categories": 2.5},
        {"contrast": 0},
        {"contrast": 1.5},
        {"contrast": "low"},
        {"task": "guess"},
        {"task": "semantic", "categories": 1},
        {"half": 2},
        {"light": "camera"},
        {"resolution": 48},
        {"prior": "ring"},
        {"splits": {"oracle": 3}},
        {"splits": {"train": 0}},
    ],
)
def test_what_cannot_be_drawn_is_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        small(**options)


def test_a_row_outside_its_split_is_refused() -> None:
    with pytest.raises(DataError):
        defects.sample(small(), "train", 48)
    with pytest.raises(DataError):
        defects.sample(small(), "oracle", 0)


def test_reliefs_are_single_precision() -> None:
    x, y = lattice(16)
    for category in CATEGORIES:
        faults = [fault for fault in category.faults if fault not in DISC]
        for extra in ({}, *({"fault": fault, "draws": (0.3, 0.4, 0.6)} for fault in faults)):
            relief = category.paint(np.random.default_rng(0), x, y, **extra)
            assert {a.dtype for a in vars(relief).values()} == {np.dtype(np.float32)}, (category.name, extra)


def test_identities_of_categories_are_frozen() -> None:
    assert [(category.name, category.number) for category in CATEGORIES[:10]] == [
        ("weave", 1), ("transistor", 2), ("grid", 3), ("cable", 4), ("bottle", 5), ("nut", 6), ("tile", 7),
        ("pill", 8), ("wood", 9), ("leather", 10),
    ]  # fmt: skip
    assert [category.number for category in CATEGORIES] == list(range(1, 16))
    assert [category.name for category in CATEGORIES if category.stochastic] == ["tile", "pill", "wood", "leather"]


def test_the_cache_keeps_fields_and_schema(cache: Path) -> None:
    spec = small(categories=7)
    data = caches.build(spec, cache)
    test = data.split("test")
    assert test.index["categories"] == [category.name for category in CATEGORIES[:7]]
    assert test.index["stochastic"] == [False] * 6 + [True]
    assert test.index["defects"] == ["good", *KINDS]
    assert test.factor_names[-2:] == ("defect_x", "defect_y")
    view = test.view(FIELDS_HELD_OUT)
    for name in FIELDS_HELD_OUT:
        assert view[name].dtype == FIELDS[name].dtype
        assert np.array_equal(view[name][41], defects.sample(spec, "test", 41)[name])
    assert set(data.split("train").fields) == {"image", "category", "factors"}
    assert not caches.verify(spec, cache, full=True).problems


def test_every_module_that_draws_is_in_the_digest_of_the_cache() -> None:
    pending, found = ["harness.data.defects"], set[str]()
    while pending:
        module = pending.pop()
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        if module.startswith("harness.data.") and module not in found and path.is_file():
            found.add(module)
            pending += imports(path, module)
    drawing = {name.rpartition(".")[2] for name in found} - {"fields", "factors"}  # these two only describe
    assert drawing == set(defects_source._CODE)


def test_the_contact_sheet_has_a_row_per_category() -> None:
    picture = sheet(small(categories=2), scale=1)
    assert picture.shape == (2 * 34 + 2, 15 * 34 + 2, 3)
    assert sheet(small(categories=2, task="semantic"), scale=1).shape[0] == 2 * 34 + 2
