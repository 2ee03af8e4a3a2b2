"""Samples of some columns given the others, beside conditionals that are known."""

import math

import numpy as np
import pytest
import torch

import caudal
from caudal import Flow, InputError
from caudal.base import Normal
from caudal.bijections import Correlate
from caudal.conditioning import STEPS, Conditioning, conditional_sample
from caudal.data import Column, TableSchema
from caudal.modality import assemble
from caudal.recipes import NSF, TarFlow
from estimated_flows import Noisy

FACTOR = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.3, -0.5, 0.7]])
MEAN = torch.tensor([1.0, 2.0, 3.0])


def gaussian():
    """A flow that is N(MEAN, FACTOR FACTOR^T)."""
    linear = Correlate(3)
    linear.factor.copy_(FACTOR)
    linear.mean.copy_(MEAN)
    return Flow(linear, Normal((3,))).eval()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def mask(n, *free):
    """Which of three columns are free, in n rows."""
    return torch.tensor([i in free for i in range(3)]).expand(n, 3)


def within(found, expected, std, n, errors=3.5):
    """Whether a mean of n numbers of that deviation is where it should be."""
    assert found == pytest.approx(expected, abs=errors * std / math.sqrt(n))


@pytest.mark.parametrize("known", [[0], [2], [0, 2]])
def test_conditionals_of_a_gaussian(known):
    n, free = 4000, [i for i in range(3) if i not in known]
    values = torch.tensor([2.5, 0.0, 1.5])
    x, account = conditional_sample(
        gaussian(), values.expand(n, 3), mask(n, *free), generator=seeded()
    )
    covariance = FACTOR @ FACTOR.T
    gain = covariance[free][:, known] @ torch.linalg.inv(covariance[known][:, known])
    mean = MEAN[free] + gain @ (values - MEAN)[known]
    inner = covariance[free][:, free] - gain @ covariance[known][:, free]
    assert (x[:, known] == values[known]).all()
    for column, expected, variance in zip(x[:, free].T, mean, inner.diagonal(), strict=True):
        within(float(column.mean()), float(expected), float(variance) ** 0.5, n)
        within(float(column.var()), float(variance), float(variance) * 2**0.5, n)
    assert account.ess > 0.95
    assert account.acceptance > 0.95


def test_rows_may_be_free_in_different_columns():
    n = 3000
    free = torch.cat([mask(n, 1, 2), mask(n, 0)])
    values = torch.tensor([2.0, 2.0, 3.0]).expand(2 * n, 3)
    x, _ = conditional_sample(gaussian(), values, free, generator=seeded())
    first, second = x[:n], x[n:]
    within(float(first[:, 1].mean()), 2.8, 0.6, n)
    assert (first[:, 0] == 2).all()
    assert (second[:, 1:] == values[n:, 1:]).all()
    within(float(second[:, 0].mean()), 1.0, 1.0, n)  # what is given is the mean


@pytest.fixture(scope="module")
def mixed():
    """A flow at the copula of an integer, a category with gaps, and a real column with gaps."""
    rng = np.random.default_rng(0)
    n = 20_000
    count = rng.poisson(2.0, n).astype(float)
    kind = np.where(count > 2, rng.integers(1, 3, n), rng.integers(0, 2, n)).astype(float)
    size = kind + rng.normal(size=n)
    size[rng.random(n) < 0.3] = np.nan
    columns = (
        Column("count", "integer", low=0.0, step=1.0),
        Column.of_categories("kind", (None, "b", "c"), "string"),
        Column("size", "real", missing=True),
    )
    x = torch.from_numpy(np.stack([count, kind, size], 1)).float()
    flow = assemble(NSF(layers=2, hidden=16), TableSchema(columns)).eval()
    caudal.initialize(flow, x)
    return flow


def test_lattices_and_gaps_are_conditioned_by_mass(mixed):
    """Rows of the flow that happen to have what is given are the truth."""
    pool = mixed.sample(120_000, generator=seeded(5))
    truth = pool[(pool[:, 0] == 3) & (pool[:, 1] == 1)]
    n = 3000
    values = torch.tensor([3.0, 1.0, math.nan]).expand(n, 3)
    x, account = conditional_sample(mixed, values, mask(n, 2), generator=seeded())
    assert account.possible.all()
    assert (x[:, :2] == values[:, :2]).all()
    gaps, there = truth[:, 2].isnan().double(), truth[:, 2].nanmean()
    both = math.sqrt(1 / n + 1 / len(truth))
    assert float(x[:, 2].isnan().double().mean()) == pytest.approx(
        float(gaps.mean()), abs=3.5 * 0.5 * both
    )
    spread = float(truth[~truth[:, 2].isnan(), 2].std())
    assert float(x[:, 2].nanmean()) == pytest.approx(float(there), abs=4.5 * spread * both)


def test_categories_given_a_number(mixed):
    pool = mixed.sample(60_000, generator=seeded(6))
    truth, n = pool[pool[:, 0] == 4, 1], 3000
    values = torch.tensor([4.0, 0.0, 0.0]).expand(n, 3)
    x, _ = conditional_sample(mixed, values, mask(n, 1, 2), generator=seeded())
    both = math.sqrt(1 / n + 1 / len(truth))
    for code in range(3):
        shares = ((rows == code).double().mean() for rows in (x[:, 1], truth))
        assert next(shares) == pytest.approx(float(next(shares)), abs=3.5 * 0.5 * both)


def test_gaps_are_filled_where_that_is_asked_for(mixed):
    n = 500
    values = torch.tensor([3.0, 0.0, 0.0]).expand(n, 3)
    gaps = torch.tensor([math.nan, 0.0, math.nan])
    x, _ = conditional_sample(mixed, values, mask(n, 1, 2), gaps=gaps, generator=seeded())
    assert x.isfinite().all()
    assert set(x[:, 1].tolist()) == {1.0, 2.0}
    assert set(x[:, 0].tolist()) == {3.0}


@pytest.mark.parametrize("gap", [0, 2])
def test_a_category_that_is_nearly_always_missing_is_filled(gap):
    """Its gap comes first or last; the shares of the others are those of rows that have one."""
    rng = np.random.default_rng(0)
    n = 20_000
    x = rng.normal(size=n)
    words = 1 + (x + rng.normal(size=n) > 0)  # 1 or 2
    kind = np.where(rng.random(n) < 0.97, 0, words) if gap == 0 else words - 1
    kind = np.where(rng.random(n) < 0.97, 2, kind) if gap == 2 else kind
    names = (None, "b", "c") if gap == 0 else ("b", "c", None)
    columns = (Column("x", "real"), Column.of_categories("kind", names, "string"))
    flow = assemble(NSF(layers=1, hidden=8), TableSchema(columns)).eval()
    caudal.initialize(flow, torch.from_numpy(np.stack([x, kind], 1)).float())
    pool = flow.sample(400_000, generator=seeded(5))
    truth = pool[(pool[:, 0] > 0.9) & (pool[:, 0] < 1.1) & (pool[:, 1] != gap), 1]
    n = 1500
    gaps = torch.tensor([math.nan, float(gap)])
    free = torch.tensor([False, True]).expand(n, 2)
    values = torch.tensor([1.0, 0.0]).expand(n, 2)
    drawn, account = conditional_sample(flow, values, free, gaps=gaps, generator=seeded())
    assert account.possible.all()
    assert (drawn[:, 1] != gap).all()
    shares = ((rows == truth.max()).double().mean() for rows in (drawn[:, 1], truth))
    both = math.sqrt(1 / n + 1 / len(truth))
    assert next(shares) == pytest.approx(float(next(shares)), abs=3.5 * 0.5 * both)


def test_what_cannot_be_has_no_effective_size(mixed):
    values = torch.tensor([[3.0, 1.0, 0.0], [-1.0, 1.0, 0.0], [2.5, 1.0, 0.0]])
    _, account = conditional_sample(mixed, values, mask(3, 2), generator=seeded())
    assert account.possible.tolist() == [True, False, False]
    assert account.moves.tolist()[1:] == [0, 0]


def test_a_context_is_kept_by_each_row():
    torch.manual_seed(0)
    c = torch.randn(8000, 1)
    x = torch.cat([2 * c + torch.randn(8000, 1), torch.randn(8000, 1)], 1)
    x[:, 1] += x[:, 0]
    flow = Flow(Correlate(2, 1), Normal((2,)), context_shape=(1,)).eval()
    flow.bijection.observe(x, c)
    rows = torch.tensor([[-1.0], [1.0]]).repeat(2000, 1)
    values = torch.tensor([[0.0, 0.5]]).expand(4000, 2)
    free = torch.tensor([[True, False]]).expand(4000, 2)
    drawn, account = conditional_sample(flow, values, free, rows, generator=seeded())
    assert account.ess > 0.9
    # x0 | x1, c ~ N((2 c + x1) / 2, 1/2)
    for which, mean in ((0, -0.75), (1, 1.25)):
        within(float(drawn[which::2, 0].mean()), mean, 0.75, 2000)


def test_a_seed_is_a_draw():
    asked = gaussian(), torch.ones(50, 3), mask(50, 1)
    a, b, c = (conditional_sample(*asked, generator=seeded(s))[0] for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_estimates_are_refused():
    flow, x = Flow(Noisy((2,)), Normal((2,))).eval(), torch.zeros(3, 2)
    with pytest.raises(InputError, match="exact density"):
        conditional_sample(flow, x, x == 0)


def test_accounts_are_joined():
    parts = [
        Conditioning(16, STEPS, torch.tensor([0.5, 0.1]), torch.tensor([STEPS, 0])),
        Conditioning(32, STEPS, torch.tensor([0.0]), torch.tensor([0])),
    ]
    whole = Conditioning.join(parts)
    assert whole.candidates == 32
    assert whole.ess == pytest.approx(0.2)
    assert whole.stuck == pytest.approx(2 / 3)
    assert whole.acceptance == pytest.approx(1 / 3)
    assert whole.possible.tolist() == [True, True, False]
    assert set(whole.to_dict()) == {"candidates", "steps", "ess", "acceptance", "stuck"}


SMALL = {"layers": 2, "depth": 1, "width": 8, "heads": 2}
GAPS = {"candidates": NSF(layers=1, hidden=8), "any order": TarFlow(**SMALL, order="any")}


@pytest.mark.parametrize("how", GAPS)
def test_a_gap_that_is_given_is_weighed(how):
    """Rows of the flow that have the gap are the truth; its filler is not drawn as they are."""
    rng = np.random.default_rng(0)
    a, noise = rng.normal(size=(2, 4000))
    b = a + 0.6 * noise
    a[(rng.random(4000) < 0.4) & (b > 0)] = np.nan
    columns = (Column("a", "real", missing=True), Column("b", "real"))
    flow = assemble(GAPS[how], TableSchema(columns)).eval()
    caudal.initialize(flow, torch.from_numpy(np.stack([a, b], 1)).float())
    pool = flow.sample(40_000, generator=seeded(5))
    truth = float(pool[pool[:, 0].isnan(), 1].std())
    n = 4000
    values, free = torch.tensor([math.nan, 0.0]), torch.tensor([False, True])
    drawn, _ = conditional_sample(flow, values.expand(n, 2), free.expand(n, 2), generator=seeded())
    assert drawn[:, 0].isnan().all()
    within(float(drawn[:, 1].std()), truth, 0.7 * truth, n, errors=4.5)


def test_a_gap_is_refused_where_there_are_none(mixed):
    values = torch.tensor([[3.0, 1.0, math.nan], [math.nan, 1.0, 0.0]])
    with pytest.raises(InputError, match=r"`x\[1, 0\]`, of row 2 and column 1, is given as NaN"):
        conditional_sample(mixed, values, mask(2, 1))
