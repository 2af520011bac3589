"""Attention, dropout and neighbour masks: known counts, the library's attention, and explicit randomness."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from harness.types import ConfigError
from methods.blocks.attention import Attention, dropout, neighbour_mask


def _seed(value: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def _hidden(mask: Tensor) -> Tensor:
    assert set(mask.unique().tolist()) <= {0.0, -math.inf}
    return mask.isneginf().sum(1)


def test_a_7x7_window_on_14x14_hides_16_keys_in_the_corner_and_49_inside() -> None:
    hidden = _hidden(neighbour_mask(14, 14, (7, 7))).view(14, 14)
    assert hidden[0, 0] == hidden[13, 13] == 16
    assert (hidden[3:11, 3:11] == 49).all()
    assert hidden.sum() == 7396


def test_windows_0_and_1_hide_the_token_itself_and_even_windows_act_as_the_next_odd_one() -> None:
    for window in ((0, 0), (1, 1)):
        assert neighbour_mask(4, 4, window).isneginf().equal(torch.eye(16, dtype=torch.bool))
    assert neighbour_mask(14, 14, (8, 8)).equal(neighbour_mask(14, 14, (9, 9)))


@pytest.mark.parametrize(("grid", "window"), [((3, 3), (3, 3)), ((7, 7), (7, 7)), ((1, 1), (1, 1)), ((4, 4), (5, 5))])
def test_a_window_that_hides_everything_is_an_error(grid: tuple[int, int], window: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="hides the whole"):
        neighbour_mask(*grid, window)


def test_one_free_axis_is_enough() -> None:
    assert not neighbour_mask(7, 7, (7, 3)).isneginf().all(1).any()
    assert not neighbour_mask(8, 8, (7, 7)).isneginf().all(1).any()


@pytest.mark.parametrize("masked", [False, True])
def test_matches_the_librarys_attention(masked: bool) -> None:
    ours = Attention(16, 4, 0.1, _seed())
    theirs = nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        for bias in (ours.in_bias, ours.out.bias):
            bias.normal_(generator=_seed(1))
        theirs.in_proj_weight.copy_(ours.in_weight)
        theirs.in_proj_bias.copy_(ours.in_bias)
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    query, key, value = torch.randn(3, 2, 25, 16, generator=_seed(2))
    mask = neighbour_mask(5, 5, (3, 3)) if masked else None
    expected = theirs(query, key, value, attn_mask=mask, need_weights=False)[0]
    torch.testing.assert_close(ours(query, key, value, mask, None), expected, atol=1e-5, rtol=1e-5)


def test_explicit_softmax_and_the_fused_kernel_agree() -> None:
    attention = Attention(16, 2, 1e-9, _seed())  # a probability that rounds to no dropped entry, but takes that path
    x = torch.randn(2, 16, 16, generator=_seed(1))
    mask = neighbour_mask(4, 4, (3, 3))
    with_generator, without = (attention(x, x, x, mask, g) for g in (_seed(), None))
    torch.testing.assert_close(with_generator, without, atol=1e-6, rtol=1e-5)


def test_a_single_query_serves_the_whole_batch() -> None:
    attention = Attention(16, 2, 0.0, _seed())
    query, memory = torch.randn(1, 9, 16, generator=_seed(1)), torch.randn(3, 9, 16, generator=_seed(2))
    expected = attention(query.repeat(3, 1, 1), memory, memory, None, None)
    torch.testing.assert_close(attention(query, memory, memory, None, None), expected)


def test_maps_are_xavier_uniform_as_one_matrix() -> None:
    attention = Attention(256, 8, 0.0, _seed())
    assert float(attention.in_weight.detach().abs().max()) == pytest.approx(math.sqrt(6 / 1024), rel=1e-3)
    assert float(attention.out.weight.detach().abs().max()) == pytest.approx(math.sqrt(6 / 512), rel=1e-3)
    assert not attention.in_bias.any()
    assert not attention.out.bias.any()


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="3 heads do not divide width 16"):
        Attention(16, 3, 0.0, _seed())


def test_dropout_zeroes_its_share_and_keeps_the_mean() -> None:
    x = torch.ones(200_003)
    y = dropout(x, 0.1, _seed())
    zeroed = (y == 0).double().mean()
    assert abs(float(zeroed) - 0.1) < 5 * math.sqrt(0.09 / len(x))
    assert float(y.max()) == pytest.approx(1 / 0.9, rel=1e-4)
    neighbours = torch.corrcoef((y[:200_000].view(-1, 4) == 0).double().T)
    assert neighbours.fill_diagonal_(0).abs().max() < 5 / math.sqrt(50_000)


def test_dropout_is_off_without_generator_and_repeats_with_it() -> None:
    x = torch.randn(3, 5, generator=_seed())
    assert dropout(x, 0.5, None) is x
    assert dropout(x, 0.0, _seed()) is x
    assert dropout(x, 0.5, _seed(1)).equal(dropout(x, 0.5, _seed(1)))
    assert not dropout(x, 0.5, _seed(1)).equal(dropout(x, 0.5, _seed(2)))
