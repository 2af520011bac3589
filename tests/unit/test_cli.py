"""Verbs, help, messages and exit codes, without training."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli


@pytest.mark.parametrize("verb", ["run", "plan", "leaderboard", "claims", "list", "data", "check", "score", "replay"])
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([verb, "--help"])
    assert caught.value.code == 0
    assert f"python -m harness {verb}" in capsys.readouterr().out


def test_help_names_every_verb_and_no_verb_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    shown = capsys.readouterr().out
    assert all(
        verb in shown for verb in ("run", "plan", "leaderboard", "claims", "list", "data", "check", "score", "replay")
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "unknown command 'rnu'. Did you mean run"),
        (["run", "suite=3d_aware", "methods=[hologn]"], "Did you mean hologan"),
        (["run", "suite=3d_aware", "--dry"], "--dry"),
        (["run"], "suite=... is missing. Did you mean suite=3d_aware"),
        (["list", "method"], "Did you mean methods"),
        (["leaderboard"], "suite=... is missing"),
        (["leaderboard", "suite=3d_aware", "teir=micro"], "Did you mean tier"),
        (["leaderboard", "suite=3d_aware", "tier=mikro"], "Did you mean micro"),
        (["data", "biuld"], "Did you mean build"),
        (["data"], "action"),
        (["check"], "no method folder given"),
        (["score", "generatoin"], "Did you mean generation"),
        (["score", "generation", "real=a"], "fake=... is missing"),
        (["score", "generation", "real=a", "fake=b", "feature=pixels"], "Did you mean features"),
        (["replay"], "failure bundle"),
        (["replay", "no/such/folder"], "no/such/folder"),
    ],
)
def test_a_wrong_command_is_one_message_and_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert len(shown.err.strip().splitlines()) <= 2


def test_list_shows_methods_suites_and_protocols(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("hologan", "pigan", "dcgan", "3d_aware", "generation_3d", "arXiv 1904.01326"))
    assert cli.main(["list", "suites"]) == 0
    shown = capsys.readouterr().out
    assert "hologan  HoloGAN" not in shown
    assert all(word in shown for word in ("part=regimes: objects/head", "part=rooms: rooms", "depthgan hologan"))


@pytest.mark.parametrize("words", [["plan"], ["run", "--dry-run"]])
def test_a_plan_shows_cells_cost_and_state(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [f"store={tmp_path}", f"cache={tmp_path / 'cache'}"]
    assert cli.main([*words, "suite=3d_aware", "tier=smoke", "seeds=2", *places]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("hologan", "part regimes", "part rooms", "to do"))
    assert "33 of 33 cells to run" in shown
    assert "expected" in shown
    assert str(tmp_path) in shown
    for data, pictures in (("objects/head", 200), ("rooms", 196)):  # two parts share the first
        assert shown.count(f"before that {pictures} pictures of {data} are built and judges trained on them") == 1
    assert not list(tmp_path.iterdir())


def test_a_long_plan_is_shown_by_variant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "suite=3d_aware", "methods=[pigan]", "seeds=100", f"store={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    assert "100 to do" in shown
    assert len(shown.splitlines()) < 20


def test_the_leaderboard_of_an_empty_store_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["leaderboard", "suite=3d_aware", f"store={tmp_path}"]) == 2
    assert "python -m harness run suite=3d_aware" in capsys.readouterr().err


def test_what_this_machine_lacks_is_said_before_any_cell(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    words = [
        "run",
        "suite=3d_aware",
        f"methods=[{plugin}]",
        f"store={tmp_path / 'runs'}",
        f"cache={tmp_path / 'cache'}",
    ]
    if importlib.util.find_spec("submitit") is None:
        assert cli.main([*words, "executor=slurm"]) == 2
        assert "parallax-harness[slurm]" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert cli.main([*words, "device=cuda"]) == 2
        shown = capsys.readouterr()
        assert "no CUDA device" in shown.err
        assert "tiny_vae has no micro.yaml: its smoke preset is used" in shown.out
    assert not (tmp_path / "runs").exists()


def test_a_store_that_cannot_be_written(plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "run",
        "suite=3d_aware",
        "tier=smoke",
        f"methods=[{plugin}]",
        "store=/dev/null/runs",
        "cache=/dev/null/cache",
    ]
    assert cli.main(words) in (2, 3)
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert "/dev/null" in shown.err + shown.out


def test_an_interruption_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(words: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.verbs.listing", stop)
    assert cli.main(["list"]) == 130
    assert "the same command continues" in capsys.readouterr().err


def test_as_a_module_with_a_closed_pipe() -> None:
    done = subprocess.run(
        f"{sys.executable} -m harness list | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "methods"
    assert "Traceback" not in done.stderr
    version = subprocess.run([sys.executable, "-m", "harness", "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.startswith("parallax-harness ")
