"""Importance weights against closed forms."""

import math

import pytest
import torch

from caudal.weights import distance_left, effective_share, log_mean, pareto_k, smoothed


def gaussian_weights(n, mean, std):
    """log w at draws of N(0, std^2) for the target N(mean, 1), float64."""
    student = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), std)
    teacher = torch.distributions.Normal(torch.full((), mean, dtype=torch.float64), 1.0)
    x = student.sample((n,))
    return teacher.log_prob(x) - student.log_prob(x)


def test_equal_weights_lose_nothing_and_have_no_tail():
    for log_w in (torch.full((1000,), -700.0), torch.full((1000,), 5000.0)):
        assert effective_share(log_w) == pytest.approx(1.0, abs=1e-12)
        assert pareto_k(log_w) == -math.inf
    noise = torch.full((1000,), 3.0) + 1e-6 * torch.randn(1000)
    assert pareto_k(noise) == -math.inf


def test_one_weight_that_counts():
    log_w = torch.full((100,), -1e4)
    log_w[7] = 0
    assert effective_share(log_w) == pytest.approx(0.01)
    log_w = torch.full((100,), -torch.inf)
    assert (effective_share(log_w), pareto_k(log_w)) == (0.0, math.inf)
    log_w[7] = 0
    assert (effective_share(log_w), pareto_k(log_w)) == (0.01, math.inf)


@pytest.mark.parametrize("shift", [0.25, 0.5, 1.0])
def test_effective_share_of_a_shifted_gaussian(shift):
    """E_q w^2 = exp(shift^2)."""
    share = effective_share(gaussian_weights(400_000, shift, 1.0))
    assert share == pytest.approx(math.exp(-(shift**2)), rel=0.02)


def test_effective_share_of_a_wide_gaussian():
    """E_q w^2 = s^2 / sqrt(2 s^2 - 1)."""
    share = effective_share(gaussian_weights(100_000, 0.0, 1.3))
    assert share == pytest.approx(math.sqrt(2 * 1.69 - 1) / 1.69, rel=0.01)


@pytest.mark.parametrize("k", [0.3, 0.7, 1.2])
def test_the_index_of_pareto_weights_is_found(k):
    """w = u^-k has the tail index k; 948 weights give it with an error of (1 + k) / sqrt(948)."""
    log_w = -k * torch.rand(100_000, dtype=torch.float64).log()
    assert pareto_k(log_w) == pytest.approx(k, abs=3 * (1 + k) / math.sqrt(948))
    assert pareto_k(log_w - 5000) == pytest.approx(pareto_k(log_w), abs=1e-9)


def test_exponential_and_bounded_weights():
    exponential = -torch.rand(100_000, dtype=torch.float64).log()
    assert pareto_k(exponential.log()) == pytest.approx(0.0, abs=3 / math.sqrt(948))
    uniform = torch.rand(10_000, dtype=torch.float64)  # a generalised Pareto of index -1
    assert pareto_k(uniform.log()) == pytest.approx(-1.0, abs=0.2)
    assert pareto_k(0.01 * uniform) == -math.inf  # all but equal: that shape is not worth telling


def test_the_tail_is_the_largest_weights_and_the_next_one():
    """min(n / 5, 3 sqrt(n)) of them: 300 of 10,000, and 20 of 100."""
    for n, size in ((10_000, 300), (100, 20)):
        log_w = torch.rand(n, dtype=torch.float64).log().neg().sort().values
        same, other = log_w.clone(), log_w.clone()
        same[: n - size - 1] = -50
        other[: n - size] = -50
        assert pareto_k(same) == pareto_k(log_w)
        assert pareto_k(other) != pareto_k(log_w)


def test_a_narrow_proposal_has_the_index_of_its_tails():
    """For N(0, s^2) and target N(0, 1), log w is (1 - s^2) z^2 / 2, z normal: k = 1 - s^2."""
    assert pareto_k(gaussian_weights(200_000, 0.0, 0.5)) == pytest.approx(0.75, abs=0.1)
    assert pareto_k(gaussian_weights(200_000, 0.0, 1.3)) < 0


def test_few_weights_lean_on_the_prior():
    """Five weights of index -1 and the ten of the prior, of index 0.5, give about 0."""
    found = [pareto_k(torch.rand(25, dtype=torch.float64).log()) for _ in range(300)]
    assert sum(found) / len(found) == pytest.approx((5 * -1 + 10 * 0.5) / 15, abs=0.25)


def test_few_rows_say_nothing_of_the_tail():
    assert math.isnan(pareto_k(torch.randn(20)))
    assert not math.isnan(pareto_k(torch.randn(21)))


def test_distance_left_of_two_values():
    """A chain of two states, in closed form.

    With q = (3/4, 1/4) and p = (1/4, 3/4), w = (1/3, 3). From the heavier state, a proposal is
    rejected with chance 3/4 (1 - 1/9) = 2/3, so the distance 1/2 falls as (2/3)^t.
    """
    log_w = torch.tensor([1 / 3] * 3 + [3.0], dtype=torch.float64).log()
    for steps in (0, 1, 5):
        assert distance_left(log_w, steps) == pytest.approx(0.5 * (2 / 3) ** steps)


def test_distance_left_of_draws_with_weight_zero():
    log_w = torch.where(torch.arange(1000) % 2 == 0, -torch.inf, 0.0)
    assert distance_left(log_w, 3) == pytest.approx(0.5 * 0.5**3)  # half of them, half at a step
    assert distance_left(torch.zeros(100), 0) == pytest.approx(0.0, abs=1e-12)
    assert distance_left(torch.full((100,), -torch.inf), 1) == 1.0


def test_distance_left_of_gaussians_without_a_step_is_their_distance():
    """Total variation of N(0, 1) and N(1, 1): 2 Phi(1/2) - 1."""
    left = distance_left(gaussian_weights(400_000, 1.0, 1.0), 0)
    assert left == pytest.approx(math.erf(0.5 / math.sqrt(2)), abs=0.01)


def test_the_mean_of_weights_and_its_error():
    log_w = gaussian_weights(100_000, 0.5, 1.0) + 7.0
    mean, error = log_mean(log_w)
    assert error == pytest.approx(math.sqrt((math.exp(0.25) - 1) / 100_000), rel=0.05)
    assert mean == pytest.approx(7.0, abs=4 * error)
    assert log_mean(torch.full((10,), -torch.inf)) == (-math.inf, math.inf)
    assert log_mean(torch.full((10,), -800.0)) == pytest.approx((-800.0, 0.0), abs=1e-6)


@pytest.mark.parametrize("k", [0.3, 0.6])
def test_smoothed_weights_are_quantiles_of_the_tail(k):
    """Of weights that are Pareto, w = u^-k, which is generalised Pareto above any cutoff."""
    n = 5000
    log_w = -k * torch.rand(n, generator=torch.Generator().manual_seed(0)).double().log()
    smooth = smoothed(log_w)
    size = math.ceil(3 * math.sqrt(n))
    order = log_w.argsort()
    assert torch.equal(smooth[order[:-size]], log_w[order[:-size]])
    level = (torch.arange(size).double() + 0.5) / size
    expected = -k * (size / n * (1 - level)).log()  # quantiles of the true tail
    assert (smooth[order[-size:]] - expected).abs()[: size - 5].max() < 0.5
    assert smooth.max() <= log_w.max()
    assert torch.equal(smooth.argsort(), order)


def test_weights_without_a_tail_stay_as_they_are():
    log_w = torch.full((100,), 2.0)
    assert torch.equal(smoothed(log_w), log_w.double())
