"""Words that no run can mean are refused before anything is built: one line, exit code 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import cli

SUITE = ["run", "suite=3d_aware", "tier=smoke"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set")
    for k in range(6):
        Image.fromarray(np.full((16, 16, 3), 40 * k, np.uint8)).save(root / f"{k}.png")
    return root


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main([*SUITE, *words]) == 2
    said = capsys.readouterr()
    lines = said.err.strip().splitlines()
    assert len(lines) == 1
    assert not said.out
    return lines[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("methods=[stylegan2] stylegan2.train_images=-1", "train_images=-1 must be a whole number, 0 for all images"),
        ("methods=[stylegan2] stylegan2.train_images=1.5", "train_images=1.5 must be a whole number"),
        ("methods=[stylegan2] stylegan2.train_images=65", "train_images=65, but objects/head has 64 to train on"),
        ("methods=[dynamicd] dynamicd.train_images=8,65", "dynamicd: train_images=65, but objects/head has 64"),
        ("methods=[stylegan2] data.options.splits.train=4 stylegan2.train_images=5", "objects/head has 4 to train on"),
        ("methods=[stylegan2] stylegan2.conditional=true", "objects/head has no classes"),
        ("methods=[stylegan2] stylegan2.augmentation=foo", "unknown value for stylegan2.augmentation: 'foo'"),
        ("methods=[dynamicd] dynamicd.scheme=shrink", "unknown value for dynamicd.scheme: 'shrink'"),
        ("methods=[stylegan2] stylegan2.lr=nan", "stylegan2.lr=nan is not a finite number"),
        ("methods=[stylegan2] stylegan2.r1_gamma=0,inf", "stylegan2.r1_gamma=inf is not a finite number"),
        ("data.options.resolution=48", "resolution 48 is not supported"),
        ("data.options.resolution=0", "resolution 0 is not supported"),
        ("data.options.seed=abc", "seed=abc is no seed"),
        ("data.options.tier=micro", "data.options.tier is no option. Write tier=..."),
        ("data.options.name=rooms", "data.options.name is no option. Write data=..."),
        ("data.options.splits=4", "splits=4 says no numbers of rows"),
        ("data.options.splits.train=0", "says no numbers of rows"),
        ("part=kitchens", "unknown part 'kitchens'"),
        ("part=rooms data.options.coding=metric", "coding 'metric'"),
        ("data=folder/rgbd", "Say where the images are with root=PATH"),
        ("part=rooms methods=[depthgan] data=folder/flat root={root}", "depthgan needs a pose prior"),
        ("part=rooms data=folder/rgbd root={root}", "rgb/ is missing"),
        ("data=folder/flat root={root} data.options.subset=7", "subset=7, but there are 5 training images"),
        ("data=folder/flat root={root} data.options.subset=-1", "subset=-1 is no number of images"),
        ("data=folder/flat root={root} data.options.resolution=48", "resolution 48 is not supported"),
        ("data=folder/flat root={root} data.options.splits.train=9", "9 rows of split train, which has 5"),
        ("data=folder/flat root={root} stylegan2.conditional=true methods=[stylegan2]", "has no classes"),
        ("data=folder/afhq root={root}", "folder train is missing"),
        ("data=folder/ffhq root={root} data.options.use=half", "unknown use 'half'"),
    ],
)
def test_one_line_and_exit_code_2(words: str, message: str, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refused(capsys, *words.replace("{root}", str(pictures)).split())
