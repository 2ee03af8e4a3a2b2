"""Annealing: moves leave a density as it is, log Z and modes are found, wrong densities said."""

import math

import pytest
import torch

import caudal
from caudal.annealing import Broad, Stride, Uncertainty, anneal, move
from caudal.errors import InputError, NumericalError
from caudal.targets import Banana, FortyGaussians, Funnel
from caudal.weights import log_mean


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def broad(features, scale):
    return Broad(torch.zeros(()), features, scale)


class Cube:
    """The uniform density between -1 and 1 in each dimension."""

    def __init__(self, features):
        self.features = features

    def draw(self, n, generator):
        return 2 * torch.rand(n, self.features, generator=generator) - 1

    def log_prob(self, x):
        inside = (x.abs() <= 1).all(1)
        return torch.where(inside, 0 * x.sum(1) - self.features * math.log(2), -torch.inf)


def test_moves_leave_exact_samples_as_they_are():
    target = Banana()
    x = target.sample(2000, generator())
    stride = Stride.of(x)
    y = move(target, x, stride, 8, generator(1))
    assert (y - x).abs().mean() > 0.5
    assert 0.4 < stride.accepted < 0.95
    for z in (x, y):
        assert torch.allclose(z.double().std(0), target.std, rtol=0.1)
    assert float(target(x).mean() - target(y).mean()) == pytest.approx(0, abs=0.08)


def test_moves_stay_in_the_precision_of_the_rows_whatever_the_spread_is_in():
    x = Banana().sample(20, generator())
    y = move(Banana(), x, Stride.of(x.double()), 1, generator(1))
    assert y.dtype == x.dtype


def test_annealing_finds_log_z_and_all_modes():
    target = FortyGaussians()
    found = anneal(target, broad(2, target.scale), 1000, generator())
    assert abs(found.log_z) < 4 * found.log_z_error < 0.4
    counts = torch.bincount(target.nearest(found.x), minlength=40)
    assert counts.min() > 3
    assert found.temperatures[-1] == 1.0
    again = anneal(target, broad(2, target.scale), 1000, generator())
    assert torch.equal(found.x, again.x)


def test_the_error_of_log_z_is_about_right():
    target = Banana()
    runs = [anneal(target, broad(2, 3.0), 300, generator(seed)) for seed in range(8)]
    off = torch.tensor([(run.log_z - target.log_z) / run.log_z_error for run in runs])
    assert 0.3 < off.square().mean().sqrt() < 2.0


def test_the_error_of_log_z_is_that_between_runs_where_rare_rows_decide():
    runs = [anneal(Funnel(), broad(10, 3.0), 500, generator(seed)) for seed in range(8)]
    spread = torch.tensor([run.log_z for run in runs]).std()
    told = torch.tensor([run.log_z_error for run in runs]).square().mean().sqrt()
    assert 0.5 < told / spread < 2


def test_rows_that_lag_behind_the_temperatures_are_noticed():
    assert not anneal(Funnel(), broad(10, 3.0), 8192, generator(), moves=2).settled
    settled = [anneal(Banana(), broad(2, 3.0), 1000, generator(seed)).settled for seed in range(4)]
    assert all(settled)


def test_the_uncertainty_of_one_step_is_that_of_its_weights():
    log_w = torch.randn(200, generator=generator()).double()
    uncertainty = Uncertainty(200)
    uncertainty.weighed(log_w, torch.arange(200))
    assert uncertainty.by_ancestors == pytest.approx(log_mean(log_w)[1])


def test_descendants_of_one_row_are_one_find():
    """Half of the rows descend from one: log Z is known no better than by a weight of a half."""
    uncertainty, flat = Uncertainty(100), torch.zeros(100, dtype=torch.float64)
    uncertainty.weighed(flat, torch.arange(100).clamp(min=50))
    uncertainty.weighed(flat, torch.arange(100))
    assert uncertainty.by_ancestors == pytest.approx(math.sqrt(0.51**2 + 49 / 100**2 - 0.01))


def test_rows_that_half_forget_have_as_far_to_go_as_they_went():
    before = torch.randn(100_000, generator=generator()).double()
    fresh = torch.randn(100_000, generator=generator(1)).double()
    uncertainty = Uncertainty(100_000)
    uncertainty.weighed(torch.zeros_like(before), torch.arange(100_000))
    uncertainty.moved(1.0, before, 0.5 * before + math.sqrt(0.75) * fresh + 0.2)
    assert uncertainty.lag[0] == pytest.approx(0.1, abs=0.01)  # 0.2 to go, at one end of the step
    assert not uncertainty.settled


def test_a_start_that_misses_most_of_the_density_is_not_settled():
    """Noise between -1 and 1, where a standard normal in 10 dimensions has 2 % of its mass."""

    def normal(x):
        return -0.5 * x.square().sum(1) - 5 * math.log(2 * math.pi)

    for n in (2, 1000):
        found = anneal(normal, Cube(10), n, generator())
        assert not found.settled
        assert n == 2 or found.log_z_error > 1  # log Z is -3.8, and should be 0
    within = anneal(lambda x: normal(6 * x), Cube(10), 1000, generator())
    assert within.settled


def test_from_the_density_itself_it_is_one_step():
    torch.manual_seed(0)
    flow = caudal.recipes.NSF(layers=2, hidden=8, blocks=1).build((2,))
    found = anneal(lambda x: flow.log_prob(x) + 3.0, flow, 200, generator())
    assert found.temperatures == (1.0,)
    assert found.log_z == pytest.approx(3.0, abs=1e-4)
    assert found.log_z_error == pytest.approx(0.0, abs=1e-3)


def test_a_half_space_anneals():
    def half(x):
        return torch.where(x[:, 0] > 0, -0.5 * x.square().sum(1), -torch.inf)

    found = anneal(half, broad(2, 1.0), 1000, generator())
    assert found.log_z == pytest.approx(math.log(math.pi), abs=4 * found.log_z_error)
    assert (found.x[:, 0] > 0).all()


def test_wrong_densities_are_said():
    start = broad(2, 1.0)
    with pytest.raises(NumericalError, match="is nan at x"):
        anneal(lambda x: x[:, 0].log(), start, 100, generator())
    with pytest.raises(NumericalError, match="give a `scale`"):
        anneal(lambda x: torch.where(x[:, 0] > 90, 0.0, -torch.inf), start, 100, generator())
    with pytest.raises(InputError, match="has no gradient"):
        anneal(lambda x: -x.detach().square().sum(1), start, 100, generator())
    with pytest.raises(InputError, match="`n` must be at least 2"):
        anneal(Banana(), start, 1)
