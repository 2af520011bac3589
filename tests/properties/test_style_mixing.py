"""Laws of style mixing."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.blocks.style_mixing import crossover, mix_styles


@given(st.integers(2, 18), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_crossover_is_uniform_inside_and_the_end_where_nothing_is_mixed(codes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    assert int(crossover(codes, 0.0, generator)) == codes
    assert 1 <= int(crossover(codes, 1.0, generator)) < codes


@given(st.integers(1, 4), st.integers(2, 10), st.integers(1, 5), st.data())
@settings(deadline=None, max_examples=30)
def test_codes_change_from_the_crossover_on(n: int, codes: int, width: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(1, codes))
    first = torch.arange(n * width, dtype=torch.float32).view(n, 1, width).expand(n, codes, width)
    second = -1.0 - torch.arange(n * width, dtype=torch.float32).view(n, width)
    mixed = mix_styles(first, second, torch.tensor(start))
    assert torch.equal(mixed[:, :start], first[:, :start])
    assert torch.equal(mixed[:, start:], second[:, None].expand(n, codes - start, width))


def test_every_crossover_is_drawn_about_equally_often() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([crossover(8, 0.9, generator) for _ in range(4000)])
    counts = torch.bincount(drawn, minlength=9)
    assert counts[0] == 0
    assert (counts[1:8] / 4000 - 0.9 / 7).abs().max() < 0.03
    assert abs(float(counts[8]) / 4000 - 0.1) < 0.03
