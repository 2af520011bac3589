"""U2PL as a whole: which draws it makes, where its gradients go, its teacher, its switches and degenerate batches."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

import methods.u2pl
from harness.running.training import MethodConfig
from harness.types import ConfigError, Context, DataSpec
from methods.blocks.entropy_partition import entropy
from methods.u2pl.method import U2PL

CLASSES, HEIGHT, WIDTH = 8, 24, 48
FOLDER = Path(methods.u2pl.__file__).parent
TIERS = ("smoke", "micro", "small", "paper")


def preset(tier: str = "smoke") -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / f"{tier}.yaml").read_text())
    return loaded


def no_cameras(*_: Any) -> Any:
    raise AssertionError


def make(steps: int = 20, classes: int = CLASSES, seed: int = 0, **changes: Any) -> U2PL:
    splits = {"labelled": 8, "unlabelled": 12, "val": 4, "test": 4}
    data = DataSpec("streets", HEIGHT, splits, options={"setting": "ssl", "classes": classes})
    generator = torch.Generator().manual_seed(seed)
    context = Context(
        torch.device("cpu"), "fp32", seed, steps, 4, generator, autocast=nullcontext, sample_cameras=no_cameras
    )
    return U2PL(MethodConfig({**preset(), **changes}), data, context)


def make_batch(seed: int, classes: int = CLASSES) -> dict[str, Tensor]:
    """Patches of classes in noisy colours of their own, so that there is something to learn."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, classes, (8, 4, 8), generator=g)
    labels = coarse.repeat_interleave(6, 1).repeat_interleave(6, 2)
    colours = torch.rand(classes, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images = colours[labels].permute(0, 3, 1, 2) + 0.2 * torch.randn(8, 3, HEIGHT, WIDTH, generator=g)
    return {"image": images[:4], "label": labels[:4], "unlabelled_image": images[4:].contiguous()}


def train(method: U2PL, steps: range) -> dict[str, float]:
    losses: dict[str, float] = {}
    for step in steps:
        losses = {name: float(value) for name, value in method.train_step(make_batch(step), step).items()}
    return losses


def weights(method: U2PL) -> dict[str, Tensor]:
    return {k: v for k, v in method.student.network.state_dict().items() if not k.startswith("represent.")}


def classifier(network: nn.Module) -> Tensor:
    return network.get_parameter("classifier.weight")


# ------------------------------------------------------------------------------------------ randomness and gradients
def test_a_contrast_of_weight_0_is_the_pipeline_without_one_bit_for_bit() -> None:
    drop, silent = make(lambda_c=0.0), make(lambda_c=0.0)
    assert not drop.contrast.active
    silent.contrast.active = True
    one, two = train(drop, range(6)), train(silent, range(6))
    assert two["contrastive_loss"] == 0.0
    assert "contrastive_loss" not in one
    assert silent.contrast.queues.count.any()
    assert all(torch.equal(a, b) for a, b in zip(weights(drop).values(), weights(silent).values(), strict=True))


def test_the_contrast_leaves_all_other_draws_alone() -> None:
    drop, full = make(lambda_c=0.0), make()
    one, two = train(drop, range(1)), train(full, range(1))
    assert one["unlabelled_loss"] == two["unlabelled_loss"]
    assert one["labelled_loss"] == two["labelled_loss"]
    train(drop, range(1, 4)), train(full, range(1, 4))
    assert torch.equal(drop.context.generator.get_state(), full.context.generator.get_state())
    assert not torch.equal(classifier(drop.student.network), classifier(full.student.network))


def test_the_contrast_reaches_the_representation_and_the_trunk_only() -> None:
    method = make(lambda_c=1.0)
    train(method, range(3))
    network, batch = method.student.network, make_batch(9)
    images = torch.cat((batch["image"], batch["unlabelled_image"]))
    output = network(images)
    mixed = method.mix(batch["image"], batch["label"], batch)
    network.zero_grad()
    method.joint_losses(batch["image"], batch["label"], mixed, output, 3)["contrastive_loss"].backward()
    moved = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert {name.split(".")[0] for name in moved} == {
        "encode_full",
        "encode_half",
        "encode_quarter",
        "deep",
        "decode_half",
        "represent",
    }
    assert method.teacher is not None
    assert all(p.grad is None for p in method.teacher.network.parameters())


# ----------------------------------------------------------------------------------------------------------- teacher
def test_the_teacher_is_copied_and_then_follows_the_formula() -> None:
    method = make(supervised_warmup=0.2, mu=0.7)
    assert method.start == 4
    assert method.teacher is not None
    teacher, student = classifier(method.teacher.network), classifier(method.student.network)
    for step in range(6):
        with torch.no_grad():
            student.fill_(float(step))
        method.move_teacher(step)
        assert torch.equal(teacher, student)
    expected = 5.0
    for t, step in enumerate(range(6, 12), start=1):
        with torch.no_grad():
            student.fill_(1.0)
        method.move_teacher(step)
        momentum = min(1.0 - 1.0 / (t + 1), 0.7)
        expected = momentum * expected + (1.0 - momentum)
        assert float(teacher.flatten()[0]) == pytest.approx(expected, rel=1e-6)


def test_the_released_code_copies_the_teacher_for_a_whole_epoch() -> None:
    assert make(supervised_warmup=0.2).last_copy == 5
    assert make(supervised_warmup=0.2, official_quirks=True).last_copy == 4 + 12 // 4


# -------------------------------------------------------------------------------------------------------- partition
def test_alpha_falls_from_the_first_pseudo_labels_to_the_end() -> None:
    method = make(steps=40, supervised_warmup=0.5)
    seen = []
    for done in (1, 21, 31, 41):
        method.iterations = done
        seen.append(method.alpha)
    assert seen == pytest.approx([0.2, 0.2, 0.1, 0.0], abs=1e-12)


def test_the_kept_pseudo_labels_are_the_most_certain_ones() -> None:
    method = make(steps=40, supervised_warmup=0.0, alpha_schedule="constant")
    train(method, range(3))
    images = make_batch(5)["unlabelled_image"]
    found = method.pseudo_labels(images)
    logits = method.segment(images, "teacher")
    assert torch.equal(found.labels, logits.argmax(1))
    assert float(found.kept.float().mean()) == pytest.approx(0.8, abs=1e-3)
    scores = entropy(logits.softmax(1))
    assert scores[found.kept].max() <= scores[~found.kept].min()


@pytest.mark.parametrize(("partition", "negatives"), [("entropy", "unreliable"), ("max_prob", "all"), ("none", "all")])
def test_negatives_lie_in_the_rank_band(partition: str, negatives: str) -> None:
    method = make(partition=partition, negatives=negatives)
    train(method, range(2))
    images = make_batch(5)["unlabelled_image"]
    chosen, unreliable = method.negatives(images)
    assert chosen.shape == (4, CLASSES, HEIGHT // 2, WIDTH // 2)
    coarse = method.teach(images, evaluation=True).coarse
    rank = (coarse[:, None] > coarse[:, :, None]).sum(2)
    wanted = (rank >= 2) & (unreliable[:, None] if negatives == "unreliable" else True)
    assert torch.equal(chosen, wanted)
    assert bool(unreliable.any()) == (partition != "none")


def test_pixels_cut_out_enter_neither_loss_nor_queue() -> None:
    method = make(mix="cutout", mix_probability=1.0, negatives="all")
    seen: list[Tensor] = []
    method.contrast.queues.push = lambda keys, member: seen.append(member)  # type: ignore[method-assign]
    batch = make_batch(0)
    method.iterations = 1
    mixed = method.mix(batch["image"], batch["label"], batch)
    out = mixed.labels == 255
    assert 0.45 < float(out.float().mean()) < 0.55
    output = method.student.forward(torch.cat((batch["image"], mixed.images)))
    losses = method.joint_losses(batch["image"], batch["label"], mixed, output, 0)
    (gradient,) = torch.autograd.grad(losses["unlabelled_loss"], output.logits)
    assert not gradient[4:].abs().sum(1)[out].any()
    assert float(method.figures["reliable"]) == pytest.approx(0.8 * float((~out).float().mean()), abs=1e-3)
    pushed = seen[0][:, 4 * HEIGHT * WIDTH // 4 :].any(0).view(4, HEIGHT // 2, WIDTH // 2)
    assert torch.equal(pushed, ~out[:, ::2, ::2])


# ------------------------------------------------------------------------------------------ switches, odd batches
@pytest.mark.parametrize(
    "changes",
    [
        {"partition": "none"},
        {"partition": "max_prob"},
        {"negatives": "reliable"},
        {"negatives": "none"},
        {"unreliable_ce": "soft"},
        {"reweight": False},
        {"positive": "prototype"},
        {"mix": "classmix"},
        {"mix": "none"},
        {"official_quirks": True, "lambda_c": 1.0},
        {"norm": "batch", "dropout": 0.1},
    ],
    ids=str,
)
def test_every_switch_trains(changes: dict[str, Any]) -> None:
    losses = train(make(**changes), range(3))
    assert all(torch.tensor(value).isfinite() for value in losses.values())
    assert losses["unlabelled_loss"] > 0
    assert "contrastive_loss" in losses


def test_no_partition_trusts_every_pixel() -> None:
    assert train(make(partition="none"), range(2))["reliable"] == 1.0


@pytest.mark.parametrize("labels", [255, 0])
def test_batches_with_no_class_or_one_class_train(labels: int) -> None:
    method = make()
    for step in range(3):
        batch = make_batch(step)
        losses = method.train_step({**batch, "label": torch.full_like(batch["label"], labels)}, step)
        assert all(value.isfinite() for value in losses.values())
    assert all(p.isfinite().all() for p in method.student.network.parameters())


def test_labels_alone_come_first() -> None:
    assert set(train(make(supervised_warmup=0.5), range(3))) == {"labelled_loss"}


def test_the_ramp_raises_the_unlabelled_loss_only() -> None:
    method = make(steps=20, ramp=0.5)
    assert [method.unlabelled_weight(step) for step in (0, 4, 9, 19)] == pytest.approx([0.1, 0.5, 1.0, 1.0])


def test_too_few_classes_warn_and_leave_self_training() -> None:
    with pytest.warns(UserWarning, match="no contrastive term"):
        method = make(classes=2)
    batch = make_batch(0, classes=2)
    assert set(method.train_step(batch, 0)) == {"labelled_loss", "unlabelled_loss", "reliable"}


def test_a_restored_training_goes_on_alike() -> None:
    one, two = make(), make(seed=1)
    train(one, range(3))
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    two.context.generator.set_state(one.context.generator.get_state())
    assert train(one, range(3, 5)) == train(two, range(3, 5))
    assert all(torch.equal(a, b) for a, b in zip(weights(one).values(), weights(two).values(), strict=True))


# ---------------------------------------------------------------------------------------------------------- presets
def test_presets_agree_in_keys_and_micro_is_the_planned_one() -> None:
    assert len({tuple(preset(tier)) for tier in TIERS}) == 1
    micro = {
        "batch_size": 4,
        "unlabelled_batch_size": 6,
        "supervised_warmup": 0.5,
        "ramp": 0.25,
        "mix": "cut",
        "mix_probability": 0.5,
        "mu": 0.99,
        "alpha": 0.2,
        "rank_low": 2,
        "rank_high": 8,
        "anchors": 64,
        "keys_per_anchor": 32,
        "temperature": 0.5,
        "queue": 3000,
        "queue_first": 5000,
        "lambda_c": 0.1,
        "anchor_threshold": 0.3,
    }
    assert {key: preset("micro")[key] for key in micro} == micro


def test_without_a_representation_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a representation"):
        make(representation=0)
