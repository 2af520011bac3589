"""Training streams: what a batch holds, that their orders are apart, and what an oracle may see."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from harness.data.batches import JoinedBatches, ResidentBatches
from harness.running import devices, streams
from harness.types import Budget, Cell, ConfigError, DataError, DataSpec

SIZES = {"labelled": 6, "unlabelled": 10}


class Split(dict[str, np.ndarray]):
    def view(self, fields: tuple[str, ...]) -> Mapping[str, np.ndarray]:
        return {name: self[name] for name in fields}

    def __len__(self) -> int:
        return len(self["image"])

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self)

    @property
    def digest(self) -> str:
        return f"{len(self)} images"


class Dataset:
    def split(self, name: str) -> Split:
        n = SIZES[name]
        image = np.zeros((n, 4, 8, 3), np.uint8) + np.arange(n, dtype=np.uint8)[:, None, None, None]
        return Split(image=image, label=image[..., 0].copy(), category=np.arange(n) % 3)


class Protocol:
    TRAIN = ("labelled", ("image", "label"))
    STREAMS = {"unlabelled": ("unlabelled", ("image",))}  # noqa: RUF012


class Oracle:
    reveals = ("label",)


def cell(**config: Any) -> Cell:
    spec = DataSpec("streets", 4, SIZES)
    return Cell("s", "p", "m", "smoke", 3, Budget("b", 8), spec, config={"batch_size": 2, **config})


def drawn(kind: type[Any] = object, method: Any = None, **config: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    made = cell(**config)
    opened = streams.views(Protocol(), Dataset(), kind, made)  # type: ignore[arg-type]
    context = devices.make_context(made, torch.device("cpu"), "train", 4)
    source = streams.batches(method or SimpleNamespace(), opened, made, context, channels_last=False)
    return source, dict(source.next())


def test_a_preset_without_unlabelled_rows_gets_the_labelled_stream_alone() -> None:
    source, batch = drawn()
    assert isinstance(source, ResidentBatches)
    assert set(batch) == {"image", "label", "index"}
    assert batch["label"].shape == (2, 4, 8)
    assert batch["label"].dtype == torch.int64


def test_the_unlabelled_stream_hides_its_labels() -> None:
    _, batch = drawn(unlabelled_batch_size=3)
    assert set(batch) == {"image", "label", "index", "unlabelled_image", "unlabelled_index"}
    assert batch["unlabelled_image"].shape == (3, 3, 4, 8)


def test_only_an_oracle_sees_hidden_labels() -> None:
    _, batch = drawn(Oracle, unlabelled_batch_size=3)
    assert torch.equal(batch["unlabelled_label"][:, 0, 0], batch["unlabelled_index"])


def test_future_batches_leave_the_current_ones_as_they_are() -> None:
    plain, first = drawn(unlabelled_batch_size=3)
    ahead, second = drawn(method=SimpleNamespace(future_batches=2), unlabelled_batch_size=3)
    for _ in range(5):
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert second["future_image"].shape[0] == 4
        assert second["future_label"].shape[0] == 4
        assert second["future_unlabelled_image"].shape[0] == 6
        first, second = plain.next(), ahead.next()


def test_streams_have_orders_of_their_own() -> None:
    source, _ = drawn(unlabelled_batch_size=2)
    labelled, unlabelled = [], []
    for _ in range(30):
        batch = source.next()
        labelled += batch["index"].tolist()
        unlabelled += batch["unlabelled_index"].tolist()
    assert set(labelled) == set(range(6))
    assert set(unlabelled) == set(range(10))
    assert labelled != [row % 6 for row in unlabelled]


def test_row_weights_draw_with_replacement() -> None:
    weights = np.array([0, 0, 1, 0, 3, 0], float)
    source, _ = drawn(method=SimpleNamespace(row_weights={"labelled": weights}), unlabelled_batch_size=1)
    rows = torch.cat([source.next()["index"] for _ in range(400)])
    assert set(rows.tolist()) == {2, 4}
    assert abs((rows == 4).double().mean().item() - 0.75) < 0.06


@pytest.mark.parametrize("weights", [np.zeros(6), np.ones(5), np.array([1, 1, 1, 1, 1, np.nan]), -np.ones(6)])
def test_impossible_weights_are_refused(weights: np.ndarray) -> None:
    with pytest.raises(DataError, match="row weights"):
        drawn(method=SimpleNamespace(row_weights={"labelled": weights}))


def test_weights_of_a_stream_that_is_not_read_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"row_weights of 'unlabelled'.*Did you mean labelled"):
        drawn(method=SimpleNamespace(row_weights={"unlabelled": np.ones(10)}))


def test_a_state_goes_on_at_the_exact_batch() -> None:
    method = SimpleNamespace(future_batches=1, row_weights={"labelled": np.ones(6)})
    source, _ = drawn(method=method, unlabelled_batch_size=3)
    state = source.state_dict()
    expected = [source.next() for _ in range(4)]
    again, _ = drawn(method=method, unlabelled_batch_size=3)
    again.load_state_dict(state)
    for batch in expected:
        other = again.next()
        assert all(torch.equal(batch[name], other[name]) for name in batch)


def test_a_state_of_other_streams_is_refused() -> None:
    source, _ = drawn(unlabelled_batch_size=3)
    other, _ = drawn(method=SimpleNamespace(future_batches=1), unlabelled_batch_size=3)
    with pytest.raises(DataError, match="sources"):
        other.load_state_dict(source.state_dict())
    assert isinstance(source, JoinedBatches)


def test_a_negative_number_of_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match="unlabelled_batch_size"):
        drawn(unlabelled_batch_size=-1)


def test_seals_say_what_was_seen() -> None:
    made = cell(unlabelled_batch_size=3)
    opened = streams.views(Protocol(), Dataset(), Oracle, made)  # type: ignore[arg-type]
    facts = streams.facts(Protocol(), opened, Dataset())  # type: ignore[arg-type]
    assert facts == {
        "split": "labelled",
        "fields": "image,label",
        "data": "6 images",
        "unlabelled": "unlabelled: image,label: 10 images",
    }
    assert set(streams.samples(opened)) == {"image", "label", "unlabelled_image", "unlabelled_label"}


def test_train_images_keeps_the_first_rows_so_that_sets_are_nested() -> None:
    seen = {}
    for wanted in (2, 4):
        source, _ = drawn(train_images=wanted)
        seen[wanted] = {int(row) for _ in range(8) for row in source.next()["index"]}
    assert seen == {2: {0, 1}, 4: {0, 1, 2, 3}}


def test_fewer_images_than_a_batch_are_shown_several_times() -> None:
    _, batch = drawn(train_images=1)
    assert batch["index"].tolist() == [0, 0]


def test_train_images_of_all_is_the_plain_stream() -> None:
    (_, every), (_, plain) = drawn(train_images=6), drawn(train_images=0)
    assert torch.equal(every["image"], plain["image"])


@pytest.mark.parametrize(
    ("wanted", "said"), [(7, "split labelled has 6"), (-1, "whole number"), (True, "whole number")]
)
def test_an_impossible_number_of_training_images_is_refused(wanted: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        drawn(train_images=wanted)


def test_a_conditional_method_gets_the_category() -> None:
    _, batch = drawn(conditional=True)
    assert torch.equal(batch["category"], batch["index"] % 3)
    assert "category" not in drawn()[1]


def test_conditions_need_categories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Split, "fields", ("image", "label"))
    with pytest.raises(ConfigError, match="no category to condition on"):
        drawn(conditional=True)


class Supervised:
    @staticmethod
    def supervision(config: Mapping[str, Any]) -> tuple[str, ...]:
        return ("category",) if config.get("head") == "supervised" else ("relief",) * bool(config.get("head"))


def test_a_method_says_which_exact_fields_it_learns_from() -> None:
    assert set(drawn(Supervised)[1]) == {"image", "label", "index"}
    assert drawn(Supervised, head="supervised")[1]["category"].shape == (2,)
    with pytest.raises(ConfigError, match="streets has no relief to learn from"):
        drawn(Supervised, head="other")
