"""Atoms: values with a probability of their own beside a continuous rest."""

import math

import numpy as np
import pytest
import torch

from caudal import Flow, initialize
from caudal.base import Normal
from caudal.bijections import Atoms, Gaussianise
from caudal.data import Column, TableSchema, open_data
from caudal.dequantization import TableDequantization
from caudal.modalities.table import Table
from caudal.recipes import NSF

INF = math.inf
NO = torch.tensor([False])


def one(atoms, width, low=-INF, high=INF):
    """The dequantisation of one column with atoms."""
    ends = torch.tensor([low]), torch.tensor([high])
    places = Atoms([atoms], torch.tensor([width]))
    return TableDequantization(torch.zeros(1), NO, *ends, places)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("atoms", "width", "low", "rest"),
    [
        ((0.0,), 4.0, 0.0, [1e-6, 0.3, 50.0]),
        ((99.0,), 1.0, -INF, [-3.0, 0.25, 98.5, 100.0]),
        ((-1.0, 0.0, 0.1, 30.0), 8.0, -INF, [-7.5, -0.5, 0.05, 1e-5, 12.0, 31.0]),
        ((1.25e6,), 2.0**20, 0.0, [3.5, 1e5, 1.249e6]),
    ],
)
def test_what_is_lifted_can_be_lowered_and_keeps_its_order(atoms, width, low, rest, dtype):
    dequantization = one(atoms, width, low).to(dtype)
    values = sorted([*atoms, *rest])
    x = torch.tensor(values)[:, None].to(dtype)  # rows are 32 bits, whatever a flow computes in
    is_atom = torch.tensor([v in atoms for v in values])
    for _ in range(100):
        y, log_q = dequantization.lift(x)
        assert (y.diff(dim=0) > 0).all()
        torch.testing.assert_close(dequantization.lower(y), x, rtol=1e-6, atol=0)
        assert torch.equal(dequantization.lower(y)[is_atom], x[is_atom])
        expected = torch.where(is_atom, -math.log(width), 0.0).to(dtype)
        torch.testing.assert_close(log_q, expected)


def mixture(n, seed=0):
    """Zeros 0.6, caps at 5 0.1, and else an exponential of mean 1 below 5; and its density."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(3, n, p=[0.6, 0.1, 0.3])
    rest = -np.log1p(-rng.random(n) * -math.expm1(-5))
    values = np.select([kind == 0, kind == 1], [0.0, 5.0], rest)
    inside = math.log(0.3) - values - math.log(-math.expm1(-5))
    density = np.select([kind == 0, kind == 1], [math.log(0.6), math.log(0.1)], inside)
    return torch.tensor(values, dtype=torch.float32)[:, None], torch.tensor(density)


def test_a_column_with_atoms_scores_by_its_law_and_samples_its_shares():
    dequantization = one((0.0, 5.0), 1.0, 0.0, 5.0)
    ends = [torch.tensor([end]) for end in dequantization.atoms.ends(*torch.tensor([0.0, 5.0]))]
    layer = Gaussianise(*ends, places=dequantization.atoms.places)
    flow = Flow(layer, Normal((1,)), dequantization=dequantization)
    x, _ = mixture(8000)
    initialize(flow, x)
    new, truth = mixture(4000, seed=1)
    told = flow.log_prob(new).double()
    for value in (0.0, 5.0):  # uniform within the place of an atom, so that the bound is tight
        at = new[:, 0] == value
        torch.testing.assert_close(told[at], truth[at], atol=0.05, rtol=0)
    rest = (new[:, 0] > 0) & (new[:, 0] < 5)
    assert abs((told - truth)[rest].mean()) < 0.05
    drawn = flow.sample(20_000)[:, 0]
    assert (drawn == 0).double().mean().item() == pytest.approx(0.6, abs=0.015)
    assert (drawn == 5).double().mean().item() == pytest.approx(0.1, abs=0.01)
    assert drawn.min() >= 0
    assert drawn.max() <= 5


def test_a_flow_of_a_table_takes_atoms_and_gaps_in_one_column():
    schema = TableSchema(
        (
            Column("a", "real", 0.0, atoms=(0.0, 99.0), atom_width=2.0, missing=True),
            Column("b", "real"),
        )
    )
    torch.manual_seed(0)
    a, b = mixture(3000)[0][:, 0], torch.randn(3000)
    a[::5] = math.nan
    a[1::50] = 99.0
    flow = Table().dress(NSF(layers=2, hidden=8), schema)
    x = torch.stack([a, b], 1)
    initialize(flow, x)
    assert flow.log_prob(x).isfinite().all()
    drawn = flow.sample(2000)
    assert 0.1 < drawn[:, 0].isnan().float().mean() < 0.3
    assert (drawn[:, 0].nan_to_num() >= 0).all()
    assert 0.005 < (drawn[:, 0] == 99).float().mean() < 0.05


def with_wholes(n, seed=0):
    """A normal of mean 3 and deviation 8, rounded with probability 0.7; and its density."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(3, 8, n)
    is_whole = rng.random(n) < 0.7
    values = np.where(is_whole, normal.round(), normal.astype(np.float32))
    density = torch.distributions.Normal(3.0, 8.0)
    x = torch.tensor(values)
    mass = (density.cdf(x + 0.5) - density.cdf(x - 0.5)).log() + math.log(0.7)
    truth = torch.where(torch.tensor(is_whole), mass, density.log_prob(x) + math.log(0.3))
    return x.float()[:, None], truth, torch.tensor(is_whole)


def every(unit, width, low=-INF, high=INF):
    """The dequantisation of one column, in which all multiples of a unit are atoms."""
    ends = torch.tensor([low]), torch.tensor([high])
    places = Atoms([()], torch.tensor([width]), torch.tensor([unit]))
    return TableDequantization(torch.zeros(1), NO, *ends, places)


@pytest.mark.parametrize(("unit", "width"), [(1.0, 7 / 3), (0.5, 0.02), (10.0, 190.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_multiples_of_a_unit_have_places_everywhere(unit, width, dtype):
    dequantization = every(unit, width).to(dtype)
    multiples = unit * torch.arange(-40, 1_000, dtype=dtype)
    between = multiples + unit * torch.linspace(0.001, 0.999, len(multiples), dtype=dtype)
    x = torch.stack([multiples, between], 1).flatten()[:, None]
    y, log_q = dequantization.lift(x)
    assert (y.diff(dim=0) > 0).all()
    back = dequantization.lower(y)
    assert torch.equal(back[::2], x[::2])
    torch.testing.assert_close(back, x, rtol=1e-5, atol=1e-4 * unit)
    expected = torch.tensor([-math.log(width), 0.0], dtype=dtype).repeat(len(multiples))
    torch.testing.assert_close(log_q, expected)


def test_the_line_ends_with_the_places_of_the_multiples_within():
    low, high = every(1.0, 0.5).atoms.ends(torch.tensor([0.0]), torch.tensor([2.0]))
    assert (low.item(), high.item()) == (-0.5, 3.0)  # [-0.5, 0), (0, 1), [1, 1.5), .., [2.5, 3)
    low, high = every(1.0, 0.5).atoms.ends(torch.tensor([0.5]), torch.tensor([2.5]))
    assert (low.item(), high.item()) == (0.5, 3.5)


def test_whole_numbers_score_by_their_law_and_samples_have_as_many():
    dequantization = every(1.0, 7 / 3)
    flow = Flow(
        Gaussianise(*torch.tensor([[-INF], [INF]])), Normal((1,)), dequantization=dequantization
    )
    x, _, _ = with_wholes(8000)
    initialize(flow, x)
    new, truth, is_whole = with_wholes(4000, seed=1)
    told = flow.log_prob(new).double()
    for kind in (is_whole, ~is_whole):
        assert abs((told - truth)[kind].mean()) < 0.05
    drawn = flow.sample(20_000)[:, 0]
    assert (drawn == drawn.round()).double().mean().item() == pytest.approx(0.7, abs=0.015)


WHOLES = {
    "ages": (1.0, lambda x, part, rng: np.where(part, x.round(), x)),
    "tens": (10.0, lambda x, part, rng: np.where(part, (4 * x).round(-1), 4 * x)),
    "all halves": (0.5, lambda x, part, rng: np.where(part, (2 * x).round() / 2, x)),
    "none": (None, lambda x, part, rng: x),
    "a few": (None, lambda x, part, rng: np.where(rng.random(len(x)) < 0.02, x.round(), x)),
    "a narrow range": (None, lambda x, part, rng: np.where(part, (x / 20).round(), x / 20)),
    "by chance": (None, lambda x, part, rng: x.round(1) + 0.0),
}


@pytest.mark.parametrize("case", WHOLES)
def test_whole_numbers_among_others_are_found(case):
    unit, make = WHOLES[case]
    rng = np.random.default_rng(0)
    x = rng.normal(40, 12, 2000)
    table = {"x": make(x, rng.random(2000) < 0.6, rng), "y": x + rng.normal(size=2000)}
    data = open_data(table)
    column = data.schema.columns[0]
    assert column.whole == unit
    if unit is not None:
        schema = TableSchema.from_dict(data.schema.to_dict())
        flow = Table().dress(NSF(layers=0), schema)
        initialize(flow, data.train.x)
        values = schema.decode(flow.sample(3000)).to_pandas()["x"]
        is_multiple = np.mod(values, unit) == 0
        assert is_multiple.mean() == pytest.approx(0.6, abs=0.05)
        assert f"{'whole numbers' if unit == 1 else f'multiples of {unit:g}'}" in column.support
    (alone,) = open_data({"x": table["x"], "y": x}, target="x").schema.columns
    assert alone.whole is None


@pytest.mark.parametrize(("largest", "unit"), [(9_000, 1.0), (80_000, None), (2e7, None)])
def test_whole_numbers_have_places_only_where_cents_beside_them_stay(largest, unit):
    """Among amounts up to 40,000 on the opened line 32 bits tell every cent apart."""
    rng = np.random.default_rng(0)
    x = np.append(np.exp(rng.normal(6, 1, 4999)).clip(1, 5000), largest)
    x = np.where(rng.random(5000) < 0.7, np.ceil(x), x.round(2))
    data = open_data({"x": x, "y": rng.normal(size=5000)})
    assert data.schema.columns[0].whole == unit
    lift = Table().dress(NSF(layers=0), data.schema).dequantization
    if unit is not None:
        back = lift.lower(lift.lift(data.train.x)[0])[:, 0]
        cents = (100 * data.train.x[:, 0].double()).round()
        assert torch.equal((100 * back.double()).round(), cents)


def test_positive_columns_have_whole_numbers_but_no_zero():
    rng = np.random.default_rng(0)
    x = np.exp(rng.normal(2, 1.2, 3000))
    x = np.where(rng.random(3000) < 0.5, np.ceil(x), x)
    data = open_data({"x": x, "y": rng.normal(size=3000)})
    column = data.schema.columns[0]
    assert (column.kind, column.whole) == ("positive", 1.0)
    flow = Table().dress(NSF(layers=0), data.schema)
    initialize(flow, data.train.x)
    drawn = flow.sample(4000)[:, 0]
    assert (drawn > 0).all()
    assert (drawn == drawn.round()).float().mean() == pytest.approx(0.5, abs=0.05)
    assert flow.log_prob(data.train.x).isfinite().all()
    assert flow.log_prob(torch.tensor([[-1.0, 0.0]])).isneginf().all()
