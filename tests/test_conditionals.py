"""Conditionals of columns beside those that are known in closed form."""

import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from caudal import initialize
from caudal.base import Normal
from caudal.bijections import Correlate, Gaussianise
from caudal.conditionals import Line, conditionals
from caudal.data import open_data
from caudal.dequantization import TableDequantization
from caudal.flow import Flow
from caudal.modalities.table.explaining import lines_of
from caudal.modality import assemble
from caudal.recipes import NSF

QUANTILE = 1.6448536  # of the normal, level 95 %


def gaussian():
    """A Gaussian of four columns, its mean and its covariance."""
    torch.manual_seed(0)
    a = torch.randn(4, 4) / 2 + torch.eye(4)
    correlate = Correlate(4)
    correlate.factor.copy_(torch.linalg.cholesky(a @ a.T))
    correlate.mean.copy_(torch.tensor([1.0, 100.0, -3.0, 0.0]))
    covariance = (correlate.factor @ correlate.factor.T).double()
    return Flow(correlate, Normal((4,))).eval(), correlate.mean.double(), covariance


def test_of_a_gaussian_they_are_in_closed_form():
    flow, mean, covariance = gaussian()
    x = flow.sample(8, generator=torch.Generator().manual_seed(1))
    x[0, 1] += 10.0
    x[1, 2] = 40.0  # the conditionals of the others are now beyond the lines' first ends
    std = covariance.diagonal().sqrt()
    lines = [
        Line(torch.linspace(float(m - 6 * s), float(m + 6 * s), 33), 0.0)
        for m, s in zip(mean, std, strict=True)
    ]
    precision = covariance.inverse()
    for d, found in enumerate(conditionals(flow, x, lines)):
        s = precision[d, d] ** -0.5
        centre = x[:, d] - (x.double() - mean) @ precision[:, d] * s**2
        r = (x[:, d] - centre) / s
        expected = -0.5 * r**2 - s.log() - 0.5 * math.log(2 * math.pi)
        torch.testing.assert_close(found.log_prob, expected, atol=1e-2, rtol=0)
        torch.testing.assert_close(found.surprise, (r**2 - 1) / 2, atol=1e-2, rtol=0)
        for quantile, level in (
            (found.low, -QUANTILE),
            (found.median, 0.0),
            (found.high, QUANTILE),
        ):
            torch.testing.assert_close(quantile, centre + level * s, atol=0.02 * float(s), rtol=0)
        assert (found.missing == 0).all()


def test_a_narrow_conditional_is_found():
    correlate = Correlate(2)
    correlate.factor.copy_(torch.tensor([[1.0, 0.0], [1.0, 1e-3]]))
    flow = Flow(correlate, Normal((2,))).eval()
    x = torch.tensor([[0.333, 0.334], [-1.234, -1.2], [0.1, 5.0]])
    line = Line(torch.linspace(-6, 6, 33), 0.0)
    _, second = conditionals(flow, x, [line, line])
    r = (x[:, 1] - x[:, 0]).double() * 1e3
    expected = -0.5 * r**2 - 0.5 * math.log(2 * math.pi) + math.log(1e3)
    # In 32 bits the last row, 4900 deviations away, is known to a few digits.
    torch.testing.assert_close(second.log_prob, expected, atol=2e-2, rtol=1e-3)
    torch.testing.assert_close(second.median, x[:, 0].double(), atol=1e-4, rtol=0)


def independent(missing=False):
    """Counts 0 to 4, and normal numbers of which three in ten may be missing: a product."""
    flags = int(missing)
    low, high = torch.tensor([0.0, -math.inf]), torch.tensor([5.0, math.inf])
    step = torch.tensor([1.0, 0.0])
    flow = Flow(
        Gaussianise(
            torch.cat([low, torch.zeros(flags)]),
            torch.cat([high, torch.full((flags,), 2.0)]),
            torch.cat([step, torch.ones(flags)]),
        ),
        Normal((2 + flags,)),
        dequantization=TableDequantization(step, torch.tensor([False, missing]), low, high),
    )
    counts = torch.arange(5).repeat_interleave(torch.tensor([500, 250, 150, 75, 25])).float()
    normal = torch.special.ndtri((torch.arange(1000) + 0.5) / 1000)
    generator = torch.Generator().manual_seed(0)
    normal = normal[torch.randperm(1000, generator=generator)]
    if missing:
        normal[:300] = torch.nan
    counts = counts[torch.randperm(1000, generator=generator)]
    x = torch.stack([counts, normal], 1)
    flow.dequantization.observe(x)
    y, _ = flow.lift(x, generator)
    flow.bijection.observe(y)
    lines = [
        Line(torch.arange(5.0), 1.0, 0.0, 4.0),
        Line(torch.linspace(-5, 5, 33), 0.0, gaps=missing),
    ]
    return flow.eval(), lines


def test_of_a_lattice_the_sum_is_exact():
    flow, lines = independent()
    x = torch.stack([torch.arange(5.0), torch.zeros(5)], 1)
    counts, _ = conditionals(flow, x, lines, draws=2)
    share = torch.tensor([0.5, 0.25, 0.15, 0.075, 0.025], dtype=torch.float64)
    torch.testing.assert_close(counts.log_prob, share.log(), atol=1e-3, rtol=0)
    entropy = -(share * share.log()).sum()
    torch.testing.assert_close(counts.surprise, -share.log() - entropy, atol=2e-3, rtol=0)
    assert (counts.likeliest == 0).all()
    assert (counts.low == 0).all()
    assert (counts.high == 3).all()


def test_a_long_lattice_need_not_be_looked_at_whole():
    flow, lines = independent()
    whole = Line(torch.arange(5.0), 1.0, 0.0, 4.0)
    ends = Line(torch.tensor([0.0, 4.0]), 1.0, 0.0, 4.0)
    x = torch.stack([torch.arange(5.0), torch.zeros(5)], 1)
    a, b = (conditionals(flow, x, [line, lines[1]], draws=1)[0] for line in (whole, ends))
    torch.testing.assert_close(a.log_prob, b.log_prob)
    torch.testing.assert_close(a.high, b.high)


def test_a_gap_has_a_probability():
    flow, lines = independent(missing=True)
    x = torch.tensor([[0.0, math.nan], [0.0, 0.0], [4.0, 3.0]])
    counts, numbers = conditionals(flow, x, lines, draws=32)
    share = torch.full((3,), 0.3, dtype=torch.float64)
    torch.testing.assert_close(numbers.missing, share, atol=0.03, rtol=0)
    there = math.log(0.7) - 0.5 * math.log(2 * math.pi)
    expected = torch.tensor([math.log(0.3), there, there - 4.5], dtype=torch.float64)
    torch.testing.assert_close(numbers.log_prob[:2], expected[:2], atol=0.15, rtol=0)
    assert numbers.surprise[2] > 2 > numbers.surprise[:2].max()
    torch.testing.assert_close(counts.log_prob[0].exp().item(), 0.5, atol=1e-3, rtol=0)


def test_outside_of_the_support_it_is_known_who_is_to_blame():
    flow, lines = independent()
    counts, numbers = conditionals(flow, torch.tensor([[7.0, 0.0]]), lines, draws=1)
    assert counts.log_prob.item() == -math.inf
    assert counts.surprise.item() == math.inf
    assert numbers.surprise.isnan().all()


@pytest.mark.parametrize("rows", [1, 2])
def test_they_do_not_depend_on_the_other_rows(rows):
    flow, lines = independent(missing=True)
    x = torch.tensor([[0.0, math.nan], [1.0, 0.5], [4.0, 3.0]])
    for part, whole in zip(
        conditionals(flow, x[:rows], lines), conditionals(flow, x, lines), strict=True
    ):
        torch.testing.assert_close(part.surprise, whole.surprise[:rows], atol=1e-5, rtol=0)
        torch.testing.assert_close(part.median, whole.median[:rows], atol=1e-5, rtol=0)


def test_atoms_have_their_share_and_the_rest_its_density():
    rng = np.random.default_rng(0)
    amounts = np.where(rng.random(20_000) < 0.7, 0.0, rng.lognormal(1, 1, 20_000))
    data = open_data(pa.table({"amount": amounts, "v": rng.normal(size=20_000)}))
    assert data.schema.columns[0].atoms == (0.0,)
    flow = assemble(NSF(layers=1, hidden=4), data.schema)
    initialize(flow, data.train.x)
    x = torch.tensor([[0.0, 0.5], [1.0, 0.5], [math.e, -1.0], [20.0, 0.0]])
    found = conditionals(flow.eval(), x, lines_of(flow, data.schema.columns))[0]
    rest = torch.distributions.LogNormal(1.0, 1.0).log_prob(x[1:, 0]).double()
    torch.testing.assert_close(
        found.log_prob[0], found.log_prob.new_tensor(0.7).log(), atol=0.03, rtol=0
    )
    torch.testing.assert_close(found.log_prob[1:], rest + math.log(0.3), atol=0.25, rtol=0)
    assert (found.low == 0).all()
    assert (found.median == 0).all()
    highest = float(torch.distributions.LogNormal(1.0, 1.0).icdf(torch.tensor(1 - 0.05 / 0.3)))
    torch.testing.assert_close(found.high, torch.full((4,), highest).double(), atol=0, rtol=0.1)
    assert found.surprise[3] > found.surprise[2] > found.surprise[0]
