"""Targets: their log Z, moments and samples agree with each other, by quadrature and weights."""

import math

import pytest
import torch

from caudal.data.density import find_target
from caudal.errors import InputError, NumericalError
from caudal.targets import DW4, LJ13, TARGETS, EightSchools, Named, log_density_of
from caudal.targets.quadrature import Grid

EXACT = [name for name, kind in TARGETS.items() if kind().samples_exactly]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", ["banana", "forty-gaussians"])
def test_log_z_of_the_plane_is_its_integral(name):
    target = TARGETS[name]()
    points = torch.linspace(-50, 50, 401, dtype=torch.float64)
    density = target(torch.cartesian_prod(points, points)).exp().view(401, 401)
    integral = torch.trapezoid(torch.trapezoid(density, points), points)
    assert float(integral.log()) == pytest.approx(target.log_z, abs=1e-6)


@pytest.mark.parametrize("name", EXACT)
def test_log_z_is_that_of_the_exact_samples(name):
    """E_p[q / exp(t)] = 1 / Z for any density q: here a Gaussian narrower than the samples."""
    target = TARGETS[name]()
    x = target.sample(20_000, generator()).double()
    if target.features > 10:  # of pairs, of which the first says all: weights would be too uneven
        x = x[:, :2]
    centre = x.mean(0) if name != "forty-gaussians" else target.centres[0]
    spread = torch.full_like(centre, 0.5) if name == "forty-gaussians" else 0.4 * x.std(0)
    if name == "eight-schools":
        spread = 2 * spread
    if name == "funnel":
        spread = torch.tensor([0.5, *[0.5] * 9], dtype=torch.float64)
    q = torch.distributions.Normal(centre, spread).log_prob(x).sum(1)
    log_p = target(x)
    inverse = (q - log_p).exp()
    expected = target.log_z / 16 if target.features > 10 else target.log_z
    error = float(inverse.std() / inverse.mean()) / math.sqrt(len(x))
    assert float(-inverse.mean().log()) == pytest.approx(expected, abs=4 * error)
    assert error < 0.1


@pytest.mark.parametrize("name", [n for n in EXACT if TARGETS[n]().mean is not None])
def test_moments_are_those_of_the_exact_samples(name):
    target = TARGETS[name]()
    x = target.sample(50_000, generator(1)).double()
    assert torch.allclose(x.mean(0), target.mean, atol=0.2 * float(target.std.min()) / 2)
    assert torch.allclose(x.std(0), target.std, rtol=0.2)


def test_the_log_z_of_many_well_is_that_of_its_paper():
    assert TARGETS["many-well"]().log_z == pytest.approx(164.6957, abs=1e-4)


def test_the_evidence_of_eight_schools_is_the_integral_over_mu_and_tau():
    """Eta is integrated out by hand, mu and tau on a grid."""
    target = EightSchools()
    mu = torch.linspace(-40, 40, 161, dtype=torch.float64)
    log_tau = torch.linspace(-25, 12, 401, dtype=torch.float64)
    spread = (target._s.square() + log_tau.exp().square().unsqueeze(1)).sqrt()  # (T, 8)
    y = torch.distributions.Normal(mu.view(-1, 1, 1), spread).log_prob(target._y).sum(2)
    tau = log_tau.exp()
    prior = math.log(2 / (5 * math.pi)) - (1 + (tau / 5) ** 2).log() + log_tau
    joint = y + prior + torch.distributions.Normal(0.0, 5.0).log_prob(mu).unsqueeze(1)
    inner = torch.trapezoid(joint.exp(), mu, dim=0)
    assert float(torch.trapezoid(inner, log_tau).log()) == pytest.approx(target.log_z, abs=1e-4)


@pytest.mark.parametrize("kind", [DW4, LJ13])
def test_particles_do_not_notice_symmetries(kind):
    target = kind()
    x = 1.5 * torch.randn(50, target.features, dtype=torch.float64)
    moved = target.moved(x)
    assert (moved - x).abs().max() > 0.5
    torch.testing.assert_close(target(moved), target(x))
    torch.testing.assert_close(target.rows(target.places(x)), x)
    assert target.places(x).mean(1).abs().max() < 1e-12
    shifted = target.places(x) + 7.0
    torch.testing.assert_close(target.rows(shifted), x)


def test_the_energy_of_a_pair_rests_at_one_and_its_core_is_smooth():
    d = torch.tensor([1.0, 0.75 + 1e-9, 0.75 - 1e-9], dtype=torch.float64, requires_grad=True)
    energy = LJ13().pair(d)
    (slope,) = torch.autograd.grad(energy.sum(), d)
    assert float(energy.detach()[0]) == pytest.approx(1.0)  # minus the energy of -1
    assert float(slope[0]) == pytest.approx(0.0, abs=1e-12)
    assert float(slope[1]) == pytest.approx(float(slope[2]), rel=1e-6)


def test_a_grid_has_the_moments_of_a_normal():
    points = torch.linspace(-9, 9, 4001)
    grid = Grid(points, -0.5 * points.double() ** 2)
    assert grid.log_z == pytest.approx(0.5 * math.log(2 * math.pi), abs=1e-9)
    assert grid.expectation(grid.points**2) == pytest.approx(1.0, abs=1e-6)
    x = grid.sample(20_000, generator())
    assert float(x.std()) == pytest.approx(1.0, abs=0.02)


def test_densities_that_are_no_numbers_are_said():
    x = torch.tensor([[1.0, 2.0], [3.0, -4.0], [0.0, 0.0]])
    with pytest.raises(
        NumericalError, match=r"is nan at x = \[3, -4\] \(row 2 of 3; 1 such rows\)"
    ):
        log_density_of(lambda x: x[:, 1].sqrt(), x)
    with pytest.raises(NumericalError, match="is inf at x"):
        log_density_of(lambda x: 1 / x[:, 0], x)
    with pytest.raises(InputError, match=r"one number a row, got shape \(3, 2\) for 3 rows"):
        log_density_of(lambda x: x, x)
    with pytest.raises(InputError, match="got float for 3 rows"):
        log_density_of(lambda x: 0.0, x)


def test_targets_are_found_by_name_and_in_modules(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "from caudal.targets import Named, Banana\n"
    text += "def box():\n    return Named('box', lambda x: -x.square().sum(1), 3, 2.0)\n"
    text += "mine = Banana()\nnothing = 3\n"
    (tmp_path / "a_module_of_densities.py").write_text(text)
    assert find_target("funnel").features == 10
    box = find_target("a_module_of_densities:box")
    assert isinstance(box, Named)
    assert (box.features, box.scale) == (3, 2.0)
    assert find_target("a_module_of_densities:mine").name == "banana"
    with pytest.raises(InputError, match="did you mean 'funnel'"):
        find_target("funel")
    with pytest.raises(InputError, match="no module no_such"):
        find_target("no_such:thing")
    with pytest.raises(InputError, match="has no 'thing'"):
        find_target("a_module_of_densities:thing")
    with pytest.raises(InputError, match="makes one, got int"):
        find_target("a_module_of_densities:nothing")
