"""The conformance checks accept a good method and name what is wrong with a bad one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import cli, conformance, registry


def broken(plugin: Path, old: str, new: str) -> conformance.Finding:
    """The failing check of the plug-in after one change to its code or card."""
    changed = 0
    for path in (plugin / "method.py", plugin / "card.yaml", plugin / "smoke.yaml"):
        text = path.read_text()
        changed += text.count(old)
        path.write_text(text.replace(old, new))
    assert changed, f"nothing to replace: {old}"
    findings = conformance.examine(str(plugin))
    assert not findings[-1].ok, "every check passed"
    return findings[-1]


def test_a_good_method_passes_every_check(plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sum(len(path.read_text().splitlines()) for path in plugin.iterdir()) <= 60
    assert cli.main(["check", str(plugin)]) == 0
    shown = capsys.readouterr().out
    assert "passes all 11 checks" in shown


@pytest.mark.parametrize("name", sorted(registry.methods()))
def test_every_method_of_the_checkout_conforms(name: str) -> None:
    findings = conformance.examine(name)
    assert [f for f in findings if not f.ok] == []
    own = sum(len(conformance.CAPABILITY_CHECKS[capability]) for capability in registry.find(name).card.capabilities)
    assert len(findings) == len(conformance.CHECKS) + own


@pytest.mark.parametrize(
    ("old", "new", "check", "message"),
    [
        ("title: ", "titel: ", "card", "unknown field 'titel'"),
        ("beta: 0.1", "alpha: 0.1", "presets", "switches of the card that are no keys of the presets: beta"),
        ("def sample(", "def draw(", "class", "lacks sample"),
        ("(Stage(),)", "(Stage('a', 0.3), Stage('b', 0.3))", "class", "add up to 0.6"),
        ("[generates]", "[levitates]", "class", "unknown capability"),
        ("    stages", "    reveals = ('label',)\n    stages", "class", "its card needs 'oracle: true'"),
        ("config.z_dim", "config.zdim", "construction", "zdim"),
        ('"divergence": divergence.detach()', '"divergence": divergence', "training", "detached scalar"),
        ("loss.backward()", "(loss * float('nan')).backward()", "training", "loss is nan"),
        ('return {"loss": loss.detach()', 'return {"loss": loss.detach() / 0', "training", "loss is inf"),
        ("self.optimiser.step()", "pass", "training", "changed nothing"),
        (", generator=self.context.generator,", ",", "training", "global random generator"),
        ('"optimiser": self.optimiser.state_dict()', '"optimiser": self', "state", "cannot be stored"),
        ('self.optimiser.load_state_dict(state["optimiser"])', "pass", "state", "goes on differently"),
        ("self.decoder(latents).tanh()", "self.decoder(latents).tanh().mul(2)", "sampling", r"in \[-1,1\]"),
        ("self.decoder(latents).tanh()", "self.decoder(latents * 0).tanh()", "sampling", "the same picture"),
        ("@torch.no_grad()\n", "\n", "sampling", "no_grad"),
        ("self.decoder(latents).tanh()", "(self.decoder(latents) + latents.sum()).tanh()", "batching", "of its batch"),
        ("entry:", "controls_pose: true\nentry:", "geometry", "does not change the picture"),
        ("entry:", "has_depth: true\nentry:", "geometry", "depth is missing"),
    ],
)
def test_what_is_wrong_is_named(plugin: Path, old: str, new: str, check: str, message: str) -> None:
    finding = broken(plugin, old, new)
    assert finding.check == check, finding
    assert re.search(message, finding.detail), finding


def test_the_report_ends_with_code_2_and_names_what_was_not_run(
    plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (plugin / "method.py").write_text("class TinyVAE: ...\n")
    assert cli.main(["check", str(plugin)]) == 2
    shown = capsys.readouterr().out
    assert "lacks train_step, state_dict, load_state_dict, stages, latents, sample" in shown
    assert "not run" in shown
    assert "fails at 'class'" in shown
