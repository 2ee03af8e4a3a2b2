"""The Gaussian copula: marginals made normal, their correlation, and flows that begin there."""

import copy
import math

import numpy as np
import pytest
import torch

import caudal
from cases import RECIPES as SMALL
from caudal import Chain, Flow
from caudal.base import Normal
from caudal.bijections import Correlate, Coupling, Gaussianise, Permutation
from caudal.data import open_data
from caudal.recipes import MAF, NICE, NSF, NSFAR
from caudal.report import Copula

INF = math.inf


def one(values, low=-INF, high=INF, step=0.0):
    """A fitted map of one column."""
    layer = Gaussianise(*(torch.tensor([float(v)]) for v in (low, high, step)))
    layer.observe(values[:, None])
    return layer


def log_density(layer, x):
    z, log_slope = layer.inverse(x[:, None])
    return Normal((1,)).log_prob(z) + log_slope


@pytest.mark.parametrize(
    ("law", "low", "lost"),
    [
        (torch.distributions.Normal(1000.0, 50.0), -INF, 0.02),
        (torch.distributions.Exponential(1e4), 0.0, 0.03),
        (torch.distributions.LogNormal(0.0, 1.5), 0.0, 0.03),
        (torch.distributions.StudentT(3.0), -INF, 0.03),
    ],
)
def test_a_marginal_is_learned_from_three_thousand_values(law, low, lost):
    torch.manual_seed(0)
    layer, x = one(law.sample((3000,)), low), law.sample((20_000,))
    assert (law.log_prob(x) - log_density(layer, x)).mean() < lost
    z = layer.inverse(x[:, None])[0]
    assert abs(z.mean()) < 0.05
    assert abs(z.std() - 1) < 0.05
    drawn = layer(torch.randn(20_000, 1))[0]
    assert drawn.min() > low
    assert (drawn.quantile(0.9) / x.quantile(0.9) - 1).abs() < 0.1


def test_a_few_whole_numbers_are_a_histogram():
    counts = torch.tensor([700, 0, 250, 50])
    values = torch.arange(4).repeat_interleave(counts).float()
    layer = one(values + torch.rand(1000), 0.0, 4.0, 1.0)
    mass = log_density(layer, torch.arange(4) + 0.3).exp()
    assert torch.allclose(mass, counts.clamp(min=0.5) / 1000.5, atol=1e-4)
    drawn = layer(torch.randn(50_000, 1))[0].floor()
    assert float((drawn == 0).float().mean()) == pytest.approx(0.7, abs=0.01)
    assert (drawn.min(), drawn.max()) == (0, 3)


def test_zeros_and_amounts_come_back_in_their_sizes():
    generator = torch.Generator().manual_seed(0)
    amounts = (6 + 1.2 * torch.randn(20_000, generator=generator)).exp().round()
    x = torch.where(torch.rand(20_000, generator=generator) < 0.7, 0.0, amounts)
    layer = one(x + torch.rand(20_000, generator=generator), 0.0, INF, 1.0)
    drawn = layer(torch.randn(100_000, 1, generator=generator))[0].floor()
    assert float((drawn == 0).float().mean()) == pytest.approx(0.7, abs=0.01)
    assert float(drawn.mean()) == pytest.approx(float(x.mean()), rel=0.1)
    assert float(drawn.std()) == pytest.approx(float(x.std()), rel=0.4)
    assert drawn.quantile(0.999) < 2 * x.max()
    assert drawn.max() < 10 * x.max()


def test_outside_a_support_there_is_no_density_and_far_out_it_is_finite():
    layer = one(torch.rand(100), 0.0, INF)
    assert log_density(layer, torch.tensor([-1e-3])) == -INF
    z, log_slope = layer.inverse(torch.tensor([[1e30]]))
    assert torch.stack([z.flatten(), log_slope]).isfinite().all()


def test_few_constant_and_repeated_values_have_a_finite_map():
    for values in (torch.zeros(5), torch.tensor([1.0, 2.0]), torch.tensor([0.0] * 9 + [3.0])):
        layer = one(values)
        z, log_slope = layer.inverse(torch.linspace(-5, 5, 21)[:, None])
        assert log_slope.isfinite().all()
        assert (z.diff(dim=0) > 0).all()


def test_a_normal_column_stays_a_straight_line_and_a_bent_one_does_not():
    generator = torch.Generator().manual_seed(0)
    for rows in (40, 1000):
        x = 3 + 2 * torch.randn(rows, generator=generator)
        inner = torch.linspace(0, 6, 13)
        z = one(x).inverse(inner[:, None])[0].flatten()
        assert torch.allclose(z, (inner - x.mean()) / x.std(correction=0), atol=5e-3)
    bent = one(torch.randn(1000, generator=generator).exp())
    assert (bent.inverse(torch.tensor([[1.0], [8.0]]))[0].diff(dim=0) < 3).all()


def test_far_beyond_the_data_the_density_falls_like_a_power():
    layer = one(torch.randn(500, generator=torch.Generator().manual_seed(0)))
    far = torch.tensor([1e3, 1e6])
    fall = log_density(layer, far).diff() / far.log().diff()
    assert float(fall) == pytest.approx(-5, abs=0.1)  # -(1 + 1 / xi)
    assert torch.allclose(layer(layer.inverse(far[:, None])[0])[0].flatten(), far, rtol=1e-3)


@pytest.mark.parametrize(
    ("law", "most"),
    [
        (torch.distributions.Beta(2.0, 5.0), 1.2),
        (torch.distributions.Normal(0.0, 1.0), 1.35),
        (torch.distributions.Exponential(1.0), 1.6),
        (torch.distributions.StudentT(3.0), None),
    ],
)
def test_samples_reach_as_far_as_the_tail_of_the_data_says(law, most):
    """Twenty times as many samples as values: a bounded column does not run away."""
    torch.manual_seed(0)
    values = law.sample((1000,)).double()
    layer = one(values).double()
    drawn, slope = layer.elements(torch.randn(20_000, 1, dtype=torch.float64))
    assert (float(layer.light[0, 1]) > 0) == (most is not None)
    if most is not None:
        assert float(drawn.max()) < most * float(values.max())
    far = values.max() + (values.max() - values.median()) * torch.linspace(0.01, 8, 9).double()
    far.requires_grad_()
    z, log_slope = layer.inverse(far[:, None])
    (gradient,) = torch.autograd.grad(z.sum(), far)
    torch.testing.assert_close(gradient.log(), log_slope)
    back, again = layer.elements(z)
    torch.testing.assert_close(back[:, 0], far)
    torch.testing.assert_close(again[:, 0], log_slope)
    assert slope.isfinite().all()


def test_tails_of_earlier_files_are_heavy():
    layer = one(torch.rand(500))
    assert layer.light.any()
    earlier = {name: value for name, value in layer.state_dict().items() if name != "light"}
    again = one(torch.rand(500))
    again.load_state_dict(earlier)
    assert not again.light.any()
    assert torch.equal(again.tails, layer.tails)


@pytest.mark.parametrize("rows", [40, 200])
def test_of_normal_rows_the_copula_is_hardly_worse_than_their_gaussian(rows):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows + 2000, 4, generator=generator) @ torch.randn(4, 4, generator=generator)
    x, new = x[:rows], x[rows:]
    copula = Flow(
        Chain([Correlate(4), Gaussianise(*torch.tensor([[-INF], [INF]]).expand(2, 4))]),
        Normal((4,)),
    )
    caudal.initialize(copula, x)
    gaussian = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov(correction=0))
    assert (gaussian.log_prob(new) - copula.log_prob(new)).mean() < 0.1


def test_what_follows_from_the_knots_follows_them_everywhere():
    fitted = one(torch.randn(300).exp(), 0.0, INF)
    x = torch.linspace(-1, 9, 50)[:, None]
    loaded = Gaussianise(fitted.low, fitted.high)
    loaded.load_state_dict(fitted.state_dict())
    for other in (loaded, copy.deepcopy(fitted), copy.deepcopy(loaded).to(torch.float64).float()):
        assert torch.equal(other.inverse(x)[0], fitted.inverse(x)[0])
    double = copy.deepcopy(fitted).double()
    again = Gaussianise(fitted.low.double(), fitted.high.double(), fitted.step.double())
    again.load_state_dict(fitted.state_dict())
    assert torch.equal(double.inverse(x.double())[0], again.inverse(x.double())[0])
    fitted.observe(100 + x.abs())
    assert not torch.equal(fitted.inverse(x)[0], loaded.inverse(x)[0])


def test_correlations_and_the_context_are_found_and_noise_is_not():
    generator = torch.Generator().manual_seed(0)
    context = 50 * torch.randn(5000, 2, generator=generator)
    weight = torch.tensor([[0.1, 0.0], [0.0, -0.2], [0.3, 0.3]])
    factor = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 2.0]])
    x = 7 + context @ weight.T + torch.randn(5000, 3, generator=generator) @ factor.T
    layer = Correlate(3, 2)
    layer.observe(x, context)
    assert torch.allclose(layer.weight, weight, atol=0.01)
    assert torch.allclose(layer.factor, factor, atol=0.1)
    noise = Correlate(40)
    noise.observe(torch.randn(60, 40, generator=generator))
    off = noise.factor @ noise.factor.T - torch.diag((noise.factor @ noise.factor.T).diagonal())
    assert off.abs().max() < 0.15  # the plain correlation reaches 0.4


@pytest.mark.parametrize("recipe", [NSF(2, 8, 1), NSFAR(2, 8, 1), MAF(2, (8,), batch_norm=False)])
def test_a_table_begins_at_the_copula_and_never_ends_below_it(recipe):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 3)) @ np.array([[1, 0.9, 0.5], [0, 0.5, 0], [0, 0, 1]])
    data = open_data({"a": np.exp(z[:, 0]), "b": z[:, 1] ** 3, "c": z[:, 2]})
    flow = caudal.assemble(recipe, data.schema)
    fitted = caudal.fit(flow, data.train, data.valid, training=caudal.Training(steps=2, lr=1.0))
    assert fitted.best_step == 0
    low, high = torch.tensor([[0.0, -INF, -INF], [INF, INF, INF]])
    copula = Flow(Chain([Correlate(3), Gaussianise(low, high)]), Normal((3,)))
    caudal.initialize(copula, data.train.x)
    assert torch.allclose(flow.log_prob(data.test.x), copula.log_prob(data.test.x), atol=2e-3)


@pytest.mark.parametrize("features", [2, 3, 7])
def test_each_column_is_moved_by_every_pair_of_couplings(features):
    for seed in range(20):
        torch.manual_seed(seed)
        flow = NSF(layers=6, hidden=4, blocks=1).build((features,))
        columns, moved = torch.arange(features), []
        for part in flow.bijection.parts:
            if isinstance(part, Permutation):
                columns = columns[part.order]
            if isinstance(part, Coupling):
                moved.append({int(i) for i in columns[~part.keep]})
        pairs = zip(moved[::2], moved[1::2], strict=True)
        assert all(first | second == set(range(features)) for first, second in pairs)


VECTORS = [n for n in SMALL if SMALL[n].scores == "parallel" and not SMALL[n].circular]


@pytest.mark.parametrize("name", VECTORS)
def test_location_and_scale_do_not_matter(name):
    generator = torch.Generator().manual_seed(0)
    c = torch.randn(400, 1, generator=generator)
    x = 0.8 * c + 0.6 * torch.randn(400, 2, generator=generator)
    scores = []
    for shift, scale, c_scale in ((0, 1, 1), (1e3, 50, 50), (0, 1e-4, 1e-3)):
        rows, given = shift + scale * x, shift + c_scale * c
        torch.manual_seed(0)
        flow = SMALL[name].build((2,), (1,))
        training = caudal.Training(steps=8, lr=1e-2, batch_size=100)
        caudal.fit(flow, (rows, given), training=training)
        mean = float(flow.log_prob(rows, given).detach().mean())
        scores.append(mean + 2 * math.log(scale))
    assert scores[1:] == pytest.approx([scores[0]] * 2, abs=0.1)


@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize("value", [3e38, -3e38, 1e20])
def test_numbers_near_the_largest_are_never_nan(name, value):
    torch.manual_seed(0)
    x = torch.randn(300, 2)
    flow = SMALL[name].build((2,)).eval()
    caudal.initialize(flow, x)
    x[0, 0] = value
    with torch.no_grad():
        log_prob = flow.log_prob(x)
    assert log_prob[0] < -1e3
    assert log_prob[1:].isfinite().all()


def test_a_cell_near_the_largest_number_is_minus_infinity_in_a_table():
    rng = np.random.default_rng(0)
    data = open_data({"a": rng.normal(size=400), "b": rng.exponential(size=400)})
    flow = caudal.assemble(NSF(2, 8, 1), data.schema).eval()
    caudal.initialize(flow, data.train.x)
    rows = torch.tensor([[3e38, 1.0], [0.0, 3e38], [-3e38, 1.0]])
    assert (flow.log_prob(rows) < -400).all()


def test_noise_that_is_not_normal_begins_at_the_copula_too():
    rng = np.random.default_rng(0)
    a = rng.normal(size=500)
    data = open_data({"a": a, "b": (a + rng.normal(size=500)) ** 2})
    scores = []
    for recipe in (NSF(layers=2, hidden=8, blocks=1), NICE(hidden=(8,))):
        flow = caudal.assemble(recipe, data.schema).eval()
        caudal.initialize(flow, data.train.x)
        scores.append(flow.log_prob(data.test.x).detach())
    torch.testing.assert_close(*scores)


def test_the_copula_stands_beside_a_run_and_is_what_its_flow_began_with():
    rng = np.random.default_rng(0)
    a = rng.gamma(2.0, size=600)
    model = caudal.train("nsf", {"a": a, "b": a * rng.gamma(2.0, size=600)}, steps=1, lr=1e-12)
    found = model.evaluate()
    assert found.beginning == pytest.approx(found.score, abs=1e-4)
    assert found.beginning_gain == pytest.approx(0, abs=1e-4)
    assert found.beginning > found.baseline
    assert "flow above the copula" in str(found)
    assert {"copula_log_prob", "copula_gain"} <= found.to_dict().keys()


def test_the_copula_of_some_rows_is_always_the_same():
    """To the last digit, and random numbers of the program are left as they were."""
    data = open_data(np.random.default_rng(0).normal(size=(60, 5)))
    flow, fitted = caudal.assemble(NSF(layers=0), data.schema), []
    for seed in range(2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        fitted.append(Copula.fit(flow, data.train, data.schema).flow.state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    first, second = fitted
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("step", [0.0, 1.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_samples_stay_near_the_data_where_an_end_is_far(step, mirrored):
    """Years begin at 0, and those of 1992 to 2014 tell nothing of 701."""
    torch.manual_seed(0)
    years = 2014 - torch.poisson(torch.full((800, 1), 6.0)) + (0 if step else torch.rand(800, 1))
    years = 3000 - years if mirrored else years
    low, high = torch.tensor([[0.0], [3000.0]])
    fitted = Gaussianise(low, high, torch.tensor([step]))
    fitted.observe(years + 0.5 * step)
    x, _ = fitted(torch.randn(100_000, 1))
    beyond = torch.maximum(years.min() - x, x - years.max() - step)
    assert (beyond > 0).float().mean() < 1e-2
    assert beyond.max() < 40
    ends = torch.tensor([[1.0], [2999.0]])
    assert fitted.inverse(ends)[1].isfinite().all()
    grid = torch.linspace(0.5, 2999.5, 300_000, dtype=torch.float64)[:, None]
    z, log_slope = fitted.double().inverse(grid)
    density = (log_slope - 0.5 * (z[:, 0].square() + math.log(2 * math.pi))).exp()
    assert density.mean().item() * 2999 == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("at", [0.0, 9.0])
def test_an_atom_at_an_end_keeps_its_mass(at):
    """Its place, not the outermost value, is what the last knot stands for."""
    torch.manual_seed(0)
    place = (0.0, 1.0) if at == 0 else (9.0, 10.0)
    values = torch.rand(4000, 1) * 7 + 1.5
    values = torch.where(torch.rand(4000, 1) < 0.4, torch.tensor(place).mean(), values)
    low, high, step = torch.tensor([[0.0], [10.0], [0.0]])
    fitted = Gaussianise(low, high, step, torch.tensor([[place]]))
    fitted.observe(values)
    x, _ = fitted(torch.randn(20_000, 1))
    share = ((x >= place[0]) & (x < place[1])).float().mean().item()
    assert share == pytest.approx(0.4, abs=0.03)
