"""The reconstruction transformer: published size, leak paths, initial values, decoders and switches."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from harness.types import ConfigError
from methods.blocks.attention import Attention, neighbour_mask
from methods.blocks.feature_jitter import Jitter
from methods.blocks.position_embedding import PositionEmbedding, sines
from methods.blocks.query_transformer import Decoder, Mask, QueryTransformer, StackOptions

EVERYWHERE = ("encoder", "decoder1", "decoder2")
DECODERS: tuple[Decoder, ...] = ("layerwise_query", "first_layer_query", "none_query")
PAPER = StackOptions(256, 8, 1024, 4, 4, 0.1, "learned", False)


def _stack(**changed: Any) -> StackOptions:
    small: dict[str, Any] = {"width": 16, "heads": 2, "feedforward": 32, "encoder_layers": 1, "decoder_layers": 2}
    return StackOptions(**{**small, "dropout": 0.0, "position": "learned", "pre_norm": False, **changed})


def _network(decoder: Decoder = "layerwise_query", **changed: Any) -> QueryTransformer:
    more = {name: changed.pop(name) for name in ("mask", "jitter", "residual") if name in changed}
    seeded = torch.Generator().manual_seed(0)
    return QueryTransformer(_stack(**changed), 12, 5, seeded, decoder=decoder, **more).eval()


def _features(n: int = 2, seed: int = 1) -> Tensor:
    return torch.randn(n, 12, 5, 5, generator=torch.Generator().manual_seed(seed))


def _count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _influence(network: QueryTransformer) -> Tensor:
    """Largest |d output(p) / d input(q)| over channels, for all tokens p and q [25,25]."""
    x = _features(1)
    jacobian = torch.autograd.functional.jacobian(network, x).view(12, 25, 12, 25)
    return jacobian.abs().amax((0, 2))


# -------------------------------------------------------------------------------------------------- published size
def test_the_paper_network_has_its_7717392_parameters() -> None:
    network = QueryTransformer(
        PAPER, 272, 14, torch.Generator().manual_seed(0), decoder="layerwise_query", mask=Mask(7, EVERYWHERE)
    )
    assert _count(network) == 7_717_392
    assert _count(network.inward) == 69_888
    assert _count(network.outward) == 69_904
    assert _count(network.encoder) == 4 * 789_760
    assert _count(network.layers) + _count(network.queries) == 4 * 1_103_616
    assert _count(network.position) == 3_584
    matrices = sum(
        p.numel() for n, p in network.named_parameters() if p.ndim == 2 and "quer" not in n and "posi" not in n
    )
    assert matrices == 7_479_296


def test_layers_start_alike_in_attention_maps_and_queries_and_differ_elsewhere() -> None:
    network = QueryTransformer(PAPER, 8, 4, torch.Generator().manual_seed(0), decoder="layerwise_query")
    for stack in (network.encoder, network.layers):
        maps = [torch.cat([m.in_weight for m in layer.modules() if isinstance(m, Attention)]) for layer in stack]
        assert all(own.equal(maps[0]) for own in maps)
        inner = [layer.feedforward.inner.weight for layer in stack]
        assert not any(own.equal(inner[0]) for own in inner[1:])
    assert all(query.equal(network.queries[0]) for query in network.queries)
    assert len({query.data_ptr() for query in network.queries}) == 4
    first, second = network.layers[0].attentions
    assert not first.in_weight.equal(second.in_weight)
    assert 0.95 < float(network.queries[0].std().detach()) < 1.05
    assert 0 <= float(network.position.row.min().detach()) < float(network.position.row.max().detach()) < 1


# ------------------------------------------------------------------------------------------------------ leak paths
def test_without_encoder_and_with_one_decoder_layer_no_token_sees_its_window() -> None:
    influence = _influence(_network(encoder_layers=0, decoder_layers=1, mask=Mask(3, EVERYWHERE)))
    hidden = neighbour_mask(5, 5, (3, 3)).isneginf()
    assert not influence[hidden].any()
    assert (influence[~hidden] > 0).all()


@pytest.mark.parametrize(("encoder", "decoder"), [(1, 1), (0, 2)])
def test_a_second_layer_opens_the_way_over_two_hops(encoder: int, decoder: int) -> None:
    network = _network(encoder_layers=encoder, decoder_layers=decoder, mask=Mask(3, EVERYWHERE))
    assert (_influence(network)[neighbour_mask(5, 5, (3, 3)).isneginf()] > 0).any()


@pytest.mark.parametrize("left_out", EVERYWHERE[1:])
def test_an_unmasked_decoder_attention_leaks(left_out: str) -> None:
    places = tuple(place for place in EVERYWHERE if place != left_out)
    influence = _influence(_network(encoder_layers=0, decoder_layers=1, mask=Mask(3, places)))
    assert (influence.diagonal() > 0).all()


def test_a_residual_stream_leaks_and_the_other_decoders_carry_it_anyway() -> None:
    shape: dict[str, Any] = {"encoder_layers": 0, "decoder_layers": 1, "mask": Mask(1, EVERYWHERE)}
    assert (_influence(_network(**shape, residual=True)).diagonal() > 0).all()
    assert (_influence(_network("none_query", **shape)).diagonal() > 0).all()
    assert not _influence(_network("first_layer_query", **shape)).diagonal().any()
    with pytest.raises(ConfigError, match="residual"):
        _network("none_query", residual=True)


# -------------------------------------------------------------------------------------------------------- decoders
def test_equal_tokens_give_an_answer_that_depends_on_the_place_only() -> None:
    one = torch.randn(12, generator=torch.Generator().manual_seed(3))
    x = one.view(1, 12, 1, 1).expand(1, 12, 5, 5).contiguous()
    answers = _network(position="none", encoder_layers=0)(x)
    again = _network(position="none", encoder_layers=0)(x.flip(2, 3))
    assert answers.equal(again)
    assert answers.flatten(2).std(2).max() > 0.01  # the learned queries differ from place to place
    unqueried = _network("none_query", position="none", encoder_layers=0)(x)
    assert unqueried.flatten(2).std(2).max() < 1e-5


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("pre_norm", [False, True])
def test_images_do_not_see_one_another(decoder: Decoder, pre_norm: bool) -> None:
    network, x = _network(decoder, pre_norm=pre_norm, mask=Mask(3, EVERYWHERE)), _features(4)
    whole = network(x)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(network(x[order]), whole[order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network(x[1:2]), whole[1:2], atol=1e-5, rtol=1e-5)


def test_decoders_wire_their_layers_as_declared() -> None:
    def reference(decoder: Decoder, network: QueryTransformer, memory: Tensor, position: Tensor) -> Tensor:
        """Section 3 of the method written out layer by layer."""
        out = memory
        for number, layer in enumerate(network.layers):
            first, second = layer.attentions
            a, b, c = layer.norms
            if decoder == "layerwise_query":
                t = network.queries[number].expand_as(memory)
            elif decoder == "first_layer_query":
                t = out if number else network.queries[0].expand_as(memory)
            else:
                t = out
            key1, key2 = (t, memory) if decoder == "first_layer_query" else (memory, out)
            t = a(t + first(t + position, key1 + position, key1, None, None))
            t = b(t + second(t + position, key2 + position, key2, None, None))
            hidden = torch.relu(layer.feedforward.inner(t))
            out = c(t + layer.feedforward.outer(hidden))
        return out

    for decoder in DECODERS:
        network, x = _network(decoder, decoder_layers=3), _features()
        position = network.position()
        assert position is not None
        memory = network.encoder[0](network.inward(x.flatten(2).mT), position, None, None)
        expected = network.outward(network.norm(reference(decoder, network, memory, position)))
        torch.testing.assert_close(network(x), expected.mT.reshape(x.shape), atol=1e-5, rtol=1e-4)


def test_the_encoder_layer_matches_the_librarys() -> None:
    layer = _network().encoder[0]
    theirs = torch.nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True)
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(layer.attention.in_weight)
        theirs.self_attn.in_proj_bias.zero_()
        theirs.self_attn.out_proj.load_state_dict(layer.attention.out.state_dict())
        theirs.linear1.load_state_dict(layer.feedforward.inner.state_dict())
        theirs.linear2.load_state_dict(layer.feedforward.outer.state_dict())
    x = torch.randn(2, 25, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(layer(x, None, None, None), theirs(x), atol=1e-5, rtol=1e-5)


# ------------------------------------------------------------------------------------------------------- randomness
@pytest.mark.parametrize("decoder", DECODERS)
def test_dropout_and_jitter_come_from_the_generator_and_differ_between_images(decoder: Decoder) -> None:
    network = _network(decoder, dropout=0.3, jitter=Jitter(2.0, 1.0)).train()
    x = _features(1).expand(2, -1, -1, -1)
    before = torch.get_rng_state()
    first, again, other = (network(x, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.get_rng_state().equal(before)
    assert first.equal(again)
    assert not first.equal(other)
    assert not first[0].allclose(first[1])
    quiet = network.eval()(x, torch.Generator().manual_seed(1))
    assert quiet.equal(network(x, None))
    torch.testing.assert_close(quiet[0], quiet[1])


def test_dropout_of_query_maps_differs_between_images() -> None:
    network = _network(dropout=0.5, encoder_layers=0).train()
    x = _features(1).expand(2, -1, -1, -1)
    made = network(x, torch.Generator().manual_seed(1))
    assert not made[0].allclose(made[1])


# -------------------------------------------------------------------------------------------------------- positions
def test_sines_start_with_y_and_interleave_sine_and_cosine() -> None:
    table = sines(6, 16).view(6, 6, 16)
    assert table[:, 0, :8].allclose(table[:, 5, :8])
    assert table[0, :, 8:].allclose(table[5, :, 8:])
    for index in range(6):
        for k in range(8):
            angle = 2 * math.pi * (index + 1) / (6 + 1e-6) / 10000 ** (2 * (k // 2) / 8)
            expected = math.cos(angle) if k % 2 else math.sin(angle)
            assert float(table[index, 0, k]) == pytest.approx(expected, abs=1e-5)
            assert float(table[0, index, 8 + k]) == pytest.approx(expected, abs=1e-5)


def test_learned_positions_put_the_column_first() -> None:
    embedding = PositionEmbedding("learned", 4, 8, torch.Generator().manual_seed(0))
    table = embedding()
    assert table is not None
    assert table[1 * 4 + 3].equal(torch.cat([embedding.column[3], embedding.row[1]]))


@pytest.mark.parametrize("position", ["learned", "sine", "none"])
def test_every_position_works_and_reaches_queries_and_keys_only(position: str) -> None:
    network, x = _network(position=position), _features()
    assert network(x).shape == x.shape
    assert _count(network.position) == (2 * 5 * 8 if position == "learned" else 0)


def test_windows_none_and_one_differ() -> None:
    x = _features()
    assert not _network(mask=Mask(1, EVERYWHERE))(x).allclose(_network()(x))
    assert _network(mask=Mask(1, ()))(x).equal(_network()(x))


@pytest.mark.parametrize(
    ("key", "value"), [("decoder_layers", 0), ("encoder_layers", -1), ("dropout", 1.0), ("width", 7)]
)
def test_impossible_stacks_are_errors(key: str, value: float) -> None:
    with pytest.raises(ConfigError):
        _network(**{key: value})
