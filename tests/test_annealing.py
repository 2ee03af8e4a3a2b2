"""Annealing: moves leave a density as it is, log Z and modes are found, wrong densities said."""

import math

import pytest
import torch

import caudal
from caudal.annealing import Broad, Stride, anneal, move
from caudal.errors import InputError, NumericalError
from caudal.targets import Banana, FortyGaussians


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def broad(features, scale):
    return Broad(torch.zeros(()), features, scale)


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
