"""Bases with heavy tails, of several modes, and flows as bases: densities, samples, refusals."""

import math

import pytest
import torch

from caudal import Flow
from caudal.base import GaussianMixture, Normal, StudentT
from caudal.bijections import Asinh, LULinear, Scale
from caudal.errors import InputError
from caudal.numerics import own_randomness
from caudal.recipes import NSF

MEANS = torch.tensor([[-4.0, 0.0], [4.0, 1.0], [0.0, 5.0]])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_student_t_is_that_of_torch():
    base = StudentT((3,), freedom=2.5).double()
    z = 5 * torch.randn(100, 3, dtype=torch.float64)
    truth = torch.distributions.StudentT(torch.tensor(2.5, dtype=torch.float64)).log_prob(z)
    torch.testing.assert_close(base.log_prob(z), truth.sum(1))


def test_student_t_samples_have_its_distribution():
    """Of three degrees of freedom, whose distribution function has a closed form."""
    z = StudentT((1,), freedom=3.0).sample(40_000, generator())
    inside = 2 / math.pi * (math.atan(1 / math.sqrt(3)) + (1 / math.sqrt(3)) / (1 + 1 / 3))
    assert float((z.abs() < 1).double().mean()) == pytest.approx(inside, abs=0.01)
    far = 1 - 2 / math.pi * (math.atan(5 / math.sqrt(3)) + (5 / math.sqrt(3)) / (1 + 25 / 3))
    assert float((z.abs() > 5).double().mean()) == pytest.approx(far, abs=0.003)


def test_a_mixture_integrates_to_one_and_draws_its_modes():
    base = GaussianMixture(MEANS, std=0.5)
    points = torch.linspace(-9, 9, 151)
    density = base.log_prob(torch.cartesian_prod(points, points)).double().exp().view(151, 151)
    step = 18 / 150
    assert float(density.sum() * step**2) == pytest.approx(1.0, abs=1e-4)
    z = base.sample(3000, generator())
    nearest = torch.cdist(z, MEANS).argmin(1)
    assert torch.bincount(nearest).tolist() == pytest.approx([1000] * 3, abs=120)
    assert float((z - MEANS[nearest]).std()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("base", [StudentT((2,)), GaussianMixture(MEANS)], ids=["t", "mixture"])
def test_flows_of_these_bases_score_what_they_sample(base):
    torch.manual_seed(0)
    flow = Flow(NSF(layers=2, hidden=8, blocks=1).build((2,)).bijection, base)
    x, log_prob = flow.sample_with_log_prob(50, generator=generator())
    torch.testing.assert_close(flow.log_prob(x), log_prob, atol=1e-3, rtol=1e-4)
    assert torch.equal(x, flow.sample(50, generator=generator()))
    assert flow.double().sample(3).dtype == torch.float64


@pytest.mark.parametrize("base", [StudentT((2,)), GaussianMixture(MEANS)], ids=["t", "mixture"])
def test_in_a_job_they_draw_from_its_own_generator(base):
    state = torch.get_rng_state()
    with own_randomness(seed=5):
        drawn = base.sample(4)
    assert torch.equal(drawn, base.sample(4, generator(5)))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_flow_is_a_base():
    torch.manual_seed(0)
    inner = Flow(Scale((2,)), StudentT((2,)))
    torch.nn.init.constant_(inner.bijection.log_scale, 0.3)
    outer = LULinear(2)
    flow = Flow(outer, inner)
    x = torch.randn(20, 2)
    z, log_det = outer.inverse(x)
    torch.testing.assert_close(flow.log_prob(x), inner.log_prob(z) + log_det)
    with pytest.raises(InputError, match="no context"):
        Flow(LULinear(2), NSF(layers=1, hidden=4, blocks=1).build((2,), (1,)))


def test_behind_asinh_normal_noise_has_heavy_tails():
    flow = Flow(Asinh(1.0), Normal((1,)))
    near = torch.tensor([[1e-3], [-1e-3]])
    torch.testing.assert_close(flow.log_prob(near), Normal((1,)).log_prob(near), atol=1e-5, rtol=0)
    far = flow.log_prob(torch.tensor([[100.0]])) - Normal((1,)).log_prob(torch.tensor([[100.0]]))
    assert float(far) > 4900


@pytest.mark.parametrize(
    "make",
    [
        lambda: StudentT((2,), freedom=0),
        lambda: GaussianMixture(MEANS, std=0),
        lambda: GaussianMixture(MEANS[0]),
        lambda: Asinh(0.0),
    ],
)
def test_wrong_arguments_are_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()
