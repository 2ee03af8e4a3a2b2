"""Lattices whose values heap up: found, scored exactly, and sampled with the same shares."""

import numpy as np
import pytest
import torch

from caudal.bijections.heaps import Heaps
from caudal.conditionals import conditionals
from caudal.data import open_data
from caudal.initialization import initialize
from caudal.modalities.table.explaining import lines_of
from caudal.modality import assemble
from caudal.recipes import NSF

RNG = np.random.default_rng(0)
WHOLE = np.where(
    RNG.random(3000) < 0.9, RNG.normal(60, 15, 3000).round(), RNG.normal(60, 15, 3000)
)
PRICES = RNG.poisson(40, 3000) + np.where(RNG.random(3000) < 0.7, 0.99, 0.5)
DAYS = np.datetime64("2020-01-06") + 7 * RNG.integers(200, size=3000) + RNG.integers(5, size=3000)


def places_of(values, period, step):
    return np.rint(values / step).astype(int) % period


def flow_of(found):
    torch.manual_seed(0)
    flow = assemble(NSF(layers=0), found.schema)
    initialize(flow, found.train.x, generator=torch.Generator().manual_seed(0))
    return flow.eval()


@pytest.mark.parametrize(
    ("values", "period", "place", "share"),
    [
        (WHOLE.round(1), 10, 0, 0.9),
        (PRICES.round(2), 100, 99, 0.7),
        (DAYS, 7, 0, 0.2),
        (5 * RNG.poisson(40, 3000) + (RNG.random(3000) < 0.2), 5, 0, 0.8),
    ],
    ids=["whole", "prices", "weekdays", "fives"],
)
def test_samples_heap_up_as_the_data_do(values, period, place, share):
    table = {"x": values, "y": RNG.normal(size=3000)}
    found = open_data(table)
    column = found.schema.columns[0]
    assert len(column.heaps) == period
    flow = flow_of(found)
    drawn = flow.sample(4000, generator=torch.Generator().manual_seed(1))[:, 0].double().numpy()
    steps = np.rint((drawn - column.origin) / column.step).astype(int)
    seen = np.rint((found.train.x[:, 0].double().numpy() - column.origin) / column.step)
    most = np.bincount(seen.astype(int) % period).argmax()
    there = (seen.astype(int) % period == most).mean()
    assert abs((steps % period == most).mean() - there) < 0.03
    assert there > 0.9 * share
    if period == 7:
        assert len(set((steps % 7).tolist())) == 5


def test_few_rows_heap_up_where_that_is_no_chance():
    rng = np.random.default_rng(0)
    rows = {f"x{i}": rng.normal(60, 5, 46).round(1) for i in range(20)}
    rows["y"] = np.append(rng.normal(60, 4, 45).round(), 58.7)
    columns = open_data(rows, types=[f"{name}=real:0.1" for name in rows]).schema.columns
    assert [column.name for column in columns if column.heaps] == ["y"]


def test_even_values_have_no_heaps():
    for values in (
        RNG.normal(60, 15, 3000).round(1),
        RNG.poisson(300, 3000),
        RNG.geometric(0.01, 3000),
    ):
        found = open_data({"x": values, "y": RNG.normal(size=3000)})
        assert found.schema.columns[0].heaps == ()


def test_the_probability_of_all_values_is_one():
    """Of a column alone: the sum over its lattice of the means over the noise."""
    found = open_data({"x": WHOLE.round(1)})
    flow = flow_of(found)
    step = found.schema.columns[0].step
    x = torch.arange(-200, 2000)[:, None] * step
    with torch.no_grad():
        drawn = [flow.log_prob(x.float()).exp() for _ in range(8)]
    total = torch.stack(drawn).double().mean(0).sum() * step
    assert float(total) == pytest.approx(1, abs=0.01)


def test_places_and_slopes_belong_together():
    heaps = Heaps(
        [[0.7, 0.1, 0.15, 0.05], [], [0.5, 0.5]],
        torch.tensor([0.25, 0, 1]).double(),
        torch.tensor([0.5, -torch.inf, -torch.inf]).double(),
    )
    x = torch.randn(50, 3, dtype=torch.float64).mul(5).requires_grad_(True)
    y, log_slope = heaps.spread(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope.log(), log_slope)
    gathered = heaps.gather(y)
    torch.testing.assert_close(gathered[:, 1], x[:, 1])
    assert ((gathered - x).abs()[:, [0, 2]] <= torch.tensor([0.125, 0.5]) + 1e-9).all()
    assert torch.isnan(heaps.spread(torch.full((2, 3), torch.nan).double())[0]).all()


def test_the_conditional_of_a_column_with_heaps_is_its_own():
    found = open_data({"x": WHOLE.round(1), "y": RNG.normal(size=3000)})
    flow = flow_of(found)
    x = found.test.x[:6]
    lines = lines_of(flow, found.schema.columns)
    told = conditionals(flow, x, lines, draws=2)[0]
    whole = x[:, 0] == x[:, 0].round()
    at = [told.log_prob[whole].mean(), told.log_prob[~whole].mean()] if (~whole).any() else None
    near = (WHOLE.round(1)[:, None] == x[:, 0].double().round(decimals=1).numpy()).mean(0)
    assert (told.log_prob.exp().numpy() < 0.1).all()
    assert np.abs(told.log_prob.numpy()[whole] - np.log(near)[whole.numpy()]).max() < 0.8
    assert at is None or at[0] > at[1] + 1
