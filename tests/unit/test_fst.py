"""FST on its smoke network: what equals self-training, what is taken back, how often what is computed, resuming."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import registry
from harness.running import checkpoint
from harness.specimen import build, tensors
from harness.types import ConfigError
from methods.blocks.self_training import Mixed
from methods.fst.method import FST
from tests.fst_bench import fresh, pictures, same, specimen, trained

SETTINGS = ("", "ssl")
VARIANTS: dict[str, dict[str, Any]] = {
    "deep 1": {"K": 1},
    "deep 3": {"K": 3},
    "deep 2, future": {"K": 2, "virtual_batch": "future"},
    "wide 1": {"variant": "wide", "N": 1},
    "wide 3": {"variant": "wide", "N": 3},
}


class Watched:
    """What a method's state was at the start of every loss, the rate at its end, the clock after every update of the
    teacher."""

    def __init__(self, method: FST) -> None:
        self.starts: list[dict[str, Any]] = []
        self.rates: list[list[float]] = []
        self.clock: list[int] = []
        self.method = method
        assert method.teacher is not None
        self.teacher = method.teacher
        loss, update = method.loss_step, self.teacher.update

        def loss_step(*args: Any, **keys: Any) -> Mapping[str, Tensor]:
            self.starts.append(self._now())
            losses = loss(*args, **keys)
            self.rates.append([group["lr"] for group in method.optimiser.param_groups])
            return losses

        def updating(times: int = 1) -> None:
            update(times)
            self.clock.append(self.teacher.updates)

        method.loss_step = loss_step  # type: ignore[method-assign]
        self.teacher.update = updating  # type: ignore[method-assign]

    def _now(self) -> dict[str, Any]:
        student = self.method.student.network
        state = {
            "parameters": list(student.parameters()),
            "buffers": list(student.buffers()),
            "moments": tensors(self.method.optimiser.state_dict()["state"]),
            "teacher": list(self.teacher.network.parameters()),
        }
        return copy.deepcopy(state)


def watched(steps: int, setting: str = "", **overrides: Any) -> Watched:
    """``steps`` iterations, of which the last one is recorded."""
    method = fresh("fst", setting, **overrides)
    samples = pictures(ahead=method.future_batches)
    trained(method, steps - 1, samples)
    watch = Watched(method)
    method.train_step(samples, steps - 1)
    return watch


def counted(owner: Any, name: str) -> list[str]:
    """A list that grows with every call of ``owner.name``."""
    calls: list[str] = []
    original = getattr(owner, name)

    def counting(*args: Any, **keys: Any) -> Any:
        calls.append(name)
        return original(*args, **keys)

    setattr(owner, name, counting)
    return calls


# ---------------------------------------------------------------------------------------------- self-training
@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_without_virtual_steps_it_is_self_training_bit_for_bit(setting: str, norm: str) -> None:
    """P1, in the adaptation presets and, without the extra update there, in the semi-supervised ones."""
    warm = {"supervised_warmup": 0.02, "norm": norm, "teacher_eval": False}
    fst = fresh("fst", setting, K=0, last_update=False, **warm)
    ordinary = fresh("self_training", setting, **warm)
    samples = pictures(setting=setting)
    assert same(trained(fst, 5, samples), trained(ordinary, 5, samples))
    assert torch.equal(fst.context.generator.get_state(), ordinary.context.generator.get_state())


def test_the_released_update_of_the_first_iteration_is_all_that_differs() -> None:
    fst, ordinary = fresh("fst", K=0, first_update=True), fresh("self_training")
    before = copy.deepcopy(list(ordinary.student.network.parameters()))
    trained(fst, 1)
    trained(ordinary, 1)
    assert same(list(fst.student.network.parameters()), list(ordinary.student.network.parameters()))
    assert same(list(ordinary.teacher.network.parameters()), before)
    for moved, start, now in zip(
        fst.teacher.network.parameters(), before, fst.student.network.parameters(), strict=True
    ):
        assert torch.allclose(moved, (start + now) / 2, atol=1e-7)


def test_one_branch_on_the_present_batch_is_one_deep_step() -> None:
    """FST-W with N = 1 is FST-D with K = 1, bit for bit, where the future batch is the present one and the wide variant
    moves its teacher after the first iteration (``first_update``) while the deep one does not.

    Both then do the same in the same order: teacher to present student, virtual step, teacher to virtual student, real
    step. Only, the wide variant counts the update with the present student to the end of the iteration before. So the
    students agree after every iteration and the teachers at every labelling; a soup of one is its ingredient without
    rounding. Between iterations the wide teacher is ahead by that one update.
    """
    for restore in ("parameters", "all"):
        wide = fresh("fst", variant="wide", N=1, first_update=True, restore=restore)
        deep = fresh("fst", variant="deep", K=1, first_update=False, restore=restore)
        labelled: dict[str, list[Tensor]] = {"wide": [], "deep": []}
        samples = pictures(ahead=1)
        for name, method in (("wide", wide), ("deep", deep)):
            method.label = spied(method.label, method, labelled[name])
            trained(method, 4, samples)
        assert len(labelled["wide"]) == 7 * len(list(wide.teacher.network.parameters()))
        assert same(labelled["wide"], labelled["deep"])
        assert same(tensors(wide.student.state_dict()), tensors(deep.student.state_dict()))
        deep.move_teacher(4)
        assert same(tensors(wide.teacher.state_dict()), tensors(deep.teacher.state_dict()))


def spied(label: Callable[..., Any], method: FST, seen: list[Tensor]) -> Callable[..., Any]:
    def spy(*args: Any, **keys: Any) -> Any:
        seen.extend(parameter.clone() for parameter in method.labeller.parameters())
        return label(*args, **keys)

    return spy


# ---------------------------------------------------------------------------------------------- taking back
@pytest.mark.parametrize("restore", ["parameters", "all"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_real_step_starts_where_the_virtual_ones_did(variant: str, restore: str) -> None:
    """P2 and P3: parameters always; with ``restore: all`` also running statistics and the optimiser's state."""
    watch = watched(3, norm="batch", restore=restore, **VARIANTS[variant])
    first, last = watch.starts[0], watch.starts[-1]
    assert same(first["parameters"], last["parameters"])
    for part in ("buffers", "moments"):
        assert same(first[part], last[part]) == (restore == "all"), part
    if variant == "wide 3":
        assert all(same(first["parameters"], branch["parameters"]) for branch in watch.starts)
        assert all(same(first["teacher"], branch["teacher"]) for branch in watch.starts[:-1])


@pytest.mark.parametrize("variant", VARIANTS)
def test_losses_are_counted_and_schedules_stand_still(variant: str) -> None:
    """P11: K + 1 or N + 1 losses at one learning rate, each with a teacher that has moved; no gradient reaches it."""
    watch = watched(3, **VARIANTS[variant])
    o = watch.method.fst
    assert len(watch.starts) == o.steps + 1
    assert len({tuple(rates) for rates in watch.rates}) == 1
    assert watch.method.passes == 1 + 2 * (o.steps + 1)
    if o.variant == "deep":
        pairs = zip(watch.starts, watch.starts[1:], strict=False)
        assert not any(same(a["teacher"], b["teacher"]) for a, b in pairs)
    else:
        assert not same(watch.starts[0]["teacher"], watch.starts[-1]["teacher"])
    assert all(p.grad is None and not p.requires_grad for p in watch.teacher.network.parameters())


def test_every_loss_draws_its_own_augmentation_and_labels() -> None:
    """T2 and T5."""
    method = fresh("fst", K=2)
    seen: list[Tensor] = []
    original = method.unlabelled_loss

    def noted(mixed: Mixed, *arguments: Any) -> Tensor:
        seen.append(mixed.images.clone())
        return original(mixed, *arguments)

    method.unlabelled_loss = noted
    trained(method, 2)
    assert len(seen) == 1 + 3
    assert not any(a.equal(b) for i, a in enumerate(seen) for b in seen[:i])


@pytest.mark.parametrize(
    ("keys", "clock"),
    [
        ({"K": 2}, [1, 2, 3, 4, 5, 6]),
        ({"K": 2, "first_update": True}, [1, 1, 2, 3, 4, 5, 6]),
        ({"K": 1, "teacher_init_update": False}, [2, 4]),
        ({"K": 1, "last_update": True, "momentum_clock": "iterations"}, [1, 1, 1, 2, 2, 2]),
        ({"variant": "wide", "N": 2, "first_update": True}, [1, 3, 4, 6, 7]),
    ],
)
def test_the_warm_up_of_the_momentum_counts_losses_or_iterations(keys: dict[str, Any], clock: list[int]) -> None:
    """4.1, 4.4 to 4.6: the t of mu_t = min(1 - 1/(t + 1), mu) at every update of three iterations."""
    method = fresh("fst", **keys)
    watch = Watched(method)
    trained(method, 3)
    assert watch.clock == clock


def test_the_first_semi_supervised_iterations_are_ordinary() -> None:
    method = fresh("fst", "ssl", K=2, supervised_warmup=0.02)
    assert method.start == 2
    trained(method, 3)
    assert method.passes == 3


@pytest.mark.parametrize(("part", "labellings"), [("full", 2), ("labelled", 1), ("unlabelled", 2)])
def test_a_virtual_loss_can_be_a_part_of_the_whole(part: str, labellings: int) -> None:
    method = fresh("fst", K=1, virtual_loss=part)
    samples = pictures()
    method.train_step(samples, 0)
    seen: list[Tensor] = []
    method.label = spied(method.label, method, seen)
    true = counted(method, "labelled_losses")
    losses = method.train_step(samples, 1)
    assert set(losses) == {"labelled_loss", "unlabelled_loss"}
    assert len(seen) == labellings * len(list(method.labeller.parameters()))
    assert len(true) == (1 if part == "unlabelled" else 2)


def test_future_batches_are_asked_for_where_they_are_used() -> None:
    """P12: FST-D reads what self-training reads, FST-W N batches more."""
    expected = {"deep 1": 0, "deep 3": 0, "deep 2, future": 2, "wide 1": 1, "wide 3": 3}
    assert {name: fresh("fst", **keys).future_batches for name, keys in VARIANTS.items()} == expected
    assert fresh("fst", variant="wide", N=3, virtual_batch="same").future_batches == 0


def test_branches_use_their_own_future_batches() -> None:
    method = fresh("fst", variant="wide", N=2)
    samples = pictures(ahead=2)
    n = len(samples["image"])
    samples["future_image"] = torch.arange(2.0 * n).view(-1, 1, 1, 1).expand_as(samples["future_image"]).contiguous()
    seen: list[Tensor] = []

    def note(batch: Mapping[str, Tensor], step: int, **parts: bool) -> Mapping[str, Tensor]:
        seen.append(batch["image"])
        return {}

    method.loss_step = note
    method.train_step(samples, 1)
    assert [float(images[0, 0, 0, 0]) for images in seen[:2]] == [0.0, n]
    assert seen[2] is samples["image"]


# ---------------------------------------------------------------------------------------------- shared gradient
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_reused_labelled_gradients_change_nothing(norm: str) -> None:
    keys: dict[str, Any] = {"K": 1, "restore": "all", "norm": norm, "teacher_eval": False}
    reused, plain = (fresh("fst", reuse_labelled_grad=reuse, **keys) for reuse in (True, False))
    forwards = {}
    for method in (reused, plain):
        calls = counted(method.student, "forward")
        state = trained(method, 4)
        forwards[method.fst.reuse_labelled_grad] = (len(calls), state)
    assert same(forwards[True][1], forwards[False][1])
    gradients = [[p.grad for p in method.student.network.parameters()] for method in (reused, plain)]
    assert same(*gradients)
    assert (forwards[True][0], forwards[False][0]) == (2 + 3 * 3, 2 + 3 * 4)


REUSE = {"reuse_labelled_grad": True, "restore": "all"}


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"K": 5}, "fst.K"),
        ({"K": -1}, "fst.K"),
        ({"N": 0}, "fst.N"),
        ({"mu_virtual": 1.5}, "fst.mu_virtual"),
        ({"variant": "broad"}, "fst.variant"),
        ({"restore": "optimiser"}, "fst.restore"),
        ({"K": 0, "teacher_init_update": False}, "fst.teacher_init_update"),
        ({"teacher": "self"}, "fst.teacher"),
        ({"teacher_speed": 2}, "fst.teacher_speed"),
        ({"repeats": 2}, "fst.repeats"),
        ({"reuse_labelled_grad": True}, "fst.restore"),
        ({**REUSE, "K": 2}, "fst.K"),
        ({**REUSE, "variant": "wide"}, "fst.variant"),
        ({**REUSE, "virtual_loss": "labelled"}, "fst.virtual_loss"),
        ({**REUSE, "virtual_batch": "future"}, "fst.virtual_batch"),
        ({**REUSE, "flip": 0.5}, "fst.flip"),
        ({**REUSE, "scale": [0.5, 2.0]}, "fst.scale"),
        ({**REUSE, "dropout": 0.1}, "fst.dropout"),
        ({**REUSE, "joint_forward": True}, "fst.joint_forward"),
        ({**REUSE, "network": "daformer"}, "fst.network"),
    ],
)
def test_what_cannot_be_combined_names_its_key(keys: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fresh("fst", **keys)
    assert caught.value.where == named


# ---------------------------------------------------------------------------------------------- resuming, presets
RESUMED: dict[str, dict[str, Any]] = VARIANTS | {
    "batch norm, all": {"K": 2, "norm": "batch", "restore": "all", "teacher_eval": False},
    "rollback": {"K": 1, "teacher_rollback": True, "mu_virtual": 0.5},
    "shared gradient": {"K": 1, "restore": "all", "reuse_labelled_grad": True},
}


@pytest.mark.parametrize(
    ("variant", "setting"), [*((variant, "") for variant in RESUMED), ("deep 1", "ssl"), ("wide 3", "ssl")]
)
def test_a_resumed_training_goes_on_bit_for_bit(variant: str, setting: str, tmp_path: Path) -> None:
    """T10: a checkpoint between two iterations holds everything that the next one depends on."""
    state = specimen("fst", setting, **RESUMED[variant], **({"supervised_warmup": 0.02} if setting else {}))
    whole, context = build(state)
    samples = pictures(setting=setting, ahead=whole.future_batches)
    trained(whole, 4, samples)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(checkpoint.to_bytes({"method": whole.state_dict(), "generator": context.generator.get_state()}))
    restored = checkpoint.load(path)
    resumed, other = build(state)
    resumed.load_state_dict(restored["method"])
    other.generator.set_state(restored["generator"])
    for method in (whole, resumed):
        for step in (4, 5):
            method.train_step(samples, step)
    assert same(tensors(whole.state_dict()), tensors(resumed.state_dict()))
    assert whole.state_dict()["passes"] == resumed.state_dict()["passes"]


OWN = {"st_fast": {"teacher_speed"}, "st_repeat": {"repeats"}, "fst": set[str]()}


@pytest.mark.parametrize("setting", ["uda", "ssl"])
@pytest.mark.parametrize("tier", ["smoke", "micro", "small", "paper"])
def test_presets_differ_from_those_of_self_training_in_the_method_only(tier: Any, setting: str) -> None:
    base = registry.find("self_training").preset(tier, setting)
    for name, own in OWN.items():
        preset = registry.find(name).preset(tier, setting)
        assert set(base) <= set(preset), name
        assert {key for key in base if preset[key] != base[key]} == own, name
