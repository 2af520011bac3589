"""Self-training as a whole: who learns from what, what is paired between methods, and that it can be resumed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import registry
from harness.types import ConfigError, LabelsPixels, Segments
from methods.blocks.options import parse_options
from methods.blocks.pseudo_labels import QualityOptions
from methods.blocks.segmentation_networks import NetworkOptions, check_network
from methods.blocks.segmentation_optimiser import OptimiserOptions
from methods.blocks.segmenter import LabelOptions
from methods.blocks.self_training import SelfTraining, SelfTrainingOptions
from methods.blocks.weak_augmentation import WeakOptions
from tests.fst_bench import fresh, pictures, same, specimen, trained, weights

STUDENTS = ("self_training", "st_fast", "st_repeat", "mean_teacher", "cutmix_mt", "fixmatch")
LEARNERS = ("supervised", "fully_supervised")
STREAMS = {"batch_size", "unlabelled_batch_size"}
TIERS = ("smoke", "micro", "small", "paper")
TRAINING = frozenset(["batch_size", "pixels", "lr", "head_lr", "optimiser", "warmup", "power", "weight_decay", "flip"])
TRAINING |= {"scale", "crop", "network", "width", "norm", "dropout", "rare_class_temperature", "rare_class_pixels"}


@pytest.mark.parametrize("setting", ["uda", "ssl"])
@pytest.mark.parametrize("name", [*STUDENTS, "fully_supervised"])
def test_all_methods_learn_from_labels_alike(name: str, setting: str) -> None:
    for tier in TIERS:
        own, base = (registry.methods()[n].preset(tier, setting) for n in (name, "supervised"))
        assert {key: own[key] for key in TRAINING} == {key: base[key] for key in TRAINING}


@pytest.mark.parametrize("setting", ["uda", "ssl"])
@pytest.mark.parametrize("name", [*STUDENTS, *LEARNERS])
def test_every_preset_holds_valid_options_and_no_key_in_vain(name: str, setting: str) -> None:
    kinds: list[Any] = [LabelOptions, OptimiserOptions, WeakOptions, NetworkOptions]
    kinds += [SelfTrainingOptions, QualityOptions] if name in STUDENTS else []
    for tier in TIERS:
        preset = registry.methods()[name].preset(tier, setting)
        parsed = [parse_options(kind, preset, name) for kind in kinds]
        check_network(parsed[3])
        assert set(preset) == {key for kind in kinds for key in kind.__dataclass_fields__} | STREAMS
        assert bool(preset["unlabelled_batch_size"]) == (name != "supervised")


@pytest.mark.parametrize("name", STUDENTS)
def test_all_methods_start_alike_and_take_the_same_first_loss(name: str) -> None:
    first, other = fresh("supervised"), fresh(name)
    assert weights(first.network).equal(weights(other.student.network))
    batch = pictures()
    assert first.train_step(batch, 0)["labelled_loss"] == other.train_step(batch, 0)["labelled_loss"]
    assert isinstance(other, LabelsPixels)
    assert isinstance(other, Segments)


def test_controls_without_their_change_are_self_training_bit_for_bit() -> None:
    plain = trained(fresh("self_training"), 4)
    assert same(plain, trained(fresh("st_fast", teacher_speed=1), 4))
    assert same(plain, trained(fresh("st_repeat", repeats=1), 4))
    assert not same(plain, trained(fresh("st_fast"), 4))
    assert not same(plain, trained(fresh("st_repeat"), 4))


def test_a_repeated_step_repeats_the_update_and_keeps_the_rate() -> None:
    method = fresh("st_repeat", repeats=3)
    batch, rates = pictures(), []
    step = method.optimiser.step
    method.optimiser.step = lambda: (rates.append(method.optimiser.param_groups[0]["lr"]), step())[1]
    method.train_step(batch, 0)
    method.train_step(batch, 1)
    assert len(rates) == 4  # the first iteration has no teacher to speak of
    assert rates[1] == rates[2] == rates[3]
    assert method.passes == 4
    assert method.iterations == 2


def test_the_teacher_learns_nothing_by_gradient() -> None:
    method = fresh("self_training")
    batch = pictures()
    for step in range(3):
        method.train_step(batch, step)
    before = weights(method.teacher.network)
    method.loss_step(batch, 3)
    assert weights(method.teacher.network).equal(before)
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.network.parameters())
    method.move_teacher(3)
    assert not weights(method.teacher.network).equal(before)


def test_until_the_warm_up_ends_only_labels_count_and_the_teacher_is_the_student() -> None:
    supervised, method = fresh("supervised", "ssl"), fresh("cutmix_mt", "ssl")
    assert method.start == 50  # half of the specimen's 100 steps
    batch = pictures("cutmix_mt", "ssl")
    for step in range(3):
        supervised.train_step(batch, step)
        before = weights(method.student.network)
        assert set(method.train_step(batch, step)) == {"labelled_loss"}
        assert weights(method.teacher.network).equal(before)
    assert weights(supervised.network).equal(weights(method.student.network))
    assert "unlabelled_loss" in method.train_step(batch, method.start)
    assert method.teacher.updates == 0
    method.train_step(batch, method.start + 1)
    assert method.teacher.updates == 1


def test_the_unlabelled_loss_rises_over_its_ramp() -> None:
    method = fresh("cutmix_mt", "ssl", lambda_u=2.0)  # ramp over 25 of 100 steps from step 50
    assert [method.unlabelled_weight(step) for step in (50, 62, 74, 90)] == pytest.approx([0.08, 1.04, 2.0, 2.0])
    assert fresh("self_training").unlabelled_weight(0) == 1.0


def test_one_forward_pass_or_two_have_the_same_gradient_under_group_norm() -> None:
    apart, joint = (fresh("self_training", joint_forward=flag, optimiser="sgd", lr=1.0) for flag in (False, True))
    batch = pictures()
    for step in range(3):
        one, other = apart.train_step(batch, step), joint.train_step(batch, step)
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_parts_of_the_loss_add_up() -> None:
    whole, first, second = (fresh("self_training") for _ in range(3))
    batch = pictures()
    both = whole.loss_step(batch, 0)
    labelled = first.loss_step(batch, 0, unlabelled=False)
    unlabelled = second.loss_step(batch, 0, labelled=False)
    assert both == {**labelled, **unlabelled}
    gradients = [[p.grad.clone() for p in m.student.network.parameters()] for m in (whole, first, second)]
    for together, one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(together, one + other, rtol=1e-4, atol=1e-6)


def test_pixels_of_the_source_weigh_one_and_of_the_target_the_share_of_confident_ones() -> None:
    method = fresh("self_training", tau=0.25, ignored_rows=[2, 1], jitter=0.0, blur=0.0)
    batch = pictures()
    found = method.label(batch["unlabelled_image"])
    share = float((found.confidence >= 0.25).float().mean())
    assert 0 < share < 1
    mixed = method.mix(batch["image"], batch["label"], batch)
    assert mixed.weights is not None
    source = mixed.weights == 1
    assert torch.where(source, batch["label"], mixed.labels).equal(mixed.labels)
    torch.testing.assert_close(mixed.weights[~source], torch.full_like(mixed.weights[~source], share))
    rest = mixed.labels[:, 2:-1][~source[:, 2:-1]]
    assert rest.equal(found.labels[:, 2:-1][~source[:, 2:-1]])
    assert (mixed.labels[:, :2][~source[:, :2]] == 255).all()
    assert (mixed.labels[:, -1:][~source[:, -1:]] == 255).all()
    picture = torch.where(source[:, None], batch["image"], batch["unlabelled_image"])
    assert mixed.images.equal(picture)


@pytest.mark.parametrize("mix", ["cut", "cutout", "classmix", "none"])
def test_other_mixes_use_unlabelled_images_only(mix: str) -> None:
    method = fresh("self_training", mix=mix, jitter=0.0, blur=0.0, quality="none")
    batch = pictures()
    clean = batch["unlabelled_image"]
    mixed = method.mix(torch.full_like(batch["image"], 0.123), batch["label"], batch)
    own = (mixed.images == clean).all(1)
    next_one = (mixed.images == clean.roll(-1, 0)).all(1)
    if mix == "none":
        assert own.all()
    elif mix == "cutout":
        assert (own == (mixed.labels != 255)).all()
        assert not mixed.images[(~own)[:, None].expand_as(mixed.images)].any()
    else:
        assert (own | next_one).all()
        assert 0.1 < own.float().mean() < 1.0
        labels = method.label(clean).labels
        assert torch.where(own & ~next_one, labels, mixed.labels).equal(mixed.labels)
        assert torch.where(next_one & ~own, labels.roll(-1, 0), mixed.labels).equal(mixed.labels)


def test_fixmatch_has_no_teacher_and_learns_confident_pixels() -> None:
    method = fresh("fixmatch", tau=0.0)
    assert method.networks == ("student",)
    assert float(method.train_step(pictures(), 0)["unlabelled_loss"]) > 0
    assert float(fresh("fixmatch", tau=1.0).train_step(pictures(), 0)["unlabelled_loss"]) == 0


def test_what_is_scored_first() -> None:
    assert tuple(fresh("self_training").networks) == ("student", "teacher")
    assert tuple(fresh("cutmix_mt", "ssl").networks) == ("teacher", "student")


def test_the_oracle_sees_the_target_alone_or_the_whole_domain() -> None:
    state = specimen("fully_supervised")
    method = fresh("fully_supervised")
    batch: dict[str, Tensor] = pictures("fully_supervised")
    assert "unlabelled_label" in batch
    assert method.both
    seen: list[int] = []
    learn = method.learn
    method.learn = lambda images, labels, step: (seen.append(len(images)), learn(images, labels, step))[1]
    method.train_step(batch, 0)
    method.both = False
    changed = copy.copy(batch) | {"image": torch.zeros_like(batch["image"])}
    method.train_step(changed, 1)
    sizes = state.preset
    assert seen == [sizes["batch_size"] + sizes["unlabelled_batch_size"], sizes["unlabelled_batch_size"]]


@pytest.mark.parametrize("name", [*LEARNERS, "self_training"])
def test_rare_classes_weigh_rows_where_asked(name: str) -> None:
    stream = "unlabelled" if name == "fully_supervised" else "labelled"
    assert set(fresh(name).row_weights) == {stream}
    assert not hasattr(fresh(name, "ssl"), "row_weights")


@pytest.mark.parametrize("name", ["cutmix_mt", "fixmatch"])
def test_a_restored_method_goes_on_alike_after_the_warm_up(name: str) -> None:
    method, batch = fresh(name, "ssl", supervised_warmup=0.02), pictures(name, "ssl")
    for step in range(4):
        method.train_step(batch, step)
    twin = fresh(name, "ssl", supervised_warmup=0.02)
    twin.load_state_dict(copy.deepcopy(method.state_dict()))
    twin.context.generator.set_state(method.context.generator.get_state())
    for step in range(4, 6):
        assert method.train_step(batch, step) == twin.train_step(batch, step)
    assert weights(method.labeller).equal(weights(twin.labeller))


@pytest.mark.parametrize("change", [{"repeats": 0}, {"teacher_speed": 0}, {"feature_distance": 0.1}, {"mix": "cutmx"}])
def test_impossible_presets_are_named(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        fresh("self_training", **change)


def test_thin_methods_add_nothing_but_their_presets() -> None:
    for name in STUDENTS:
        made = registry.load(name)
        assert made.__bases__ == (SelfTraining,)
        assert not [member for member in vars(made) if not member.startswith("__")]
