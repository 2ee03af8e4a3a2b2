"""Mixtures far out, where their CDF is 0 or 1 in floating point, against 60 digits."""

import math

import mpmath
import pytest
import torch

from caudal import recipes
from caudal.elementwise import MixtureGaussian, MixtureLogistic

FAR = [3.0, 8.0, 12.0, 30.0, 1e2, 1e4, 1e6, 1e12]
WEIGHTS, MEANS, SCALES = [0.7, 0.2, 0.1], [-1.0, 0.5, 2.0], [0.5, 1.5, 0.8]


def params_of(dtype, weights=WEIGHTS, means=MEANS, scales=SCALES):
    """Parameters whose mixture has these components; its bounded log-scale is inverted."""
    alpha = torch.tensor(scales, dtype=dtype).log()
    raw = alpha / (1 - alpha.abs() / 8)
    rows = [torch.tensor(weights, dtype=dtype).log(), torch.tensor(means, dtype=dtype), raw]
    return torch.cat(rows)[None, :, None]


def truth(kind, x):
    """z and log dz/dx of the mixture at x, of either sign, by its tails in 60 digits."""
    mpmath.mp.dps = 60
    sign = 1 if x > 0 else -1
    log_survival, log_density = mpmath.mpf(0), mpmath.mpf(0)
    tails, densities = [], []
    for weight, mean, scale in zip(WEIGHTS, MEANS, SCALES, strict=True):
        t = sign * (mpmath.mpf(x) - mean) / scale
        if kind is MixtureGaussian:
            tails.append(weight * mpmath.erfc(t / mpmath.sqrt(2)) / 2)
            densities.append(weight * mpmath.npdf(t) / scale)
        else:
            tails.append(weight / (1 + mpmath.exp(t)))
            densities.append(weight * mpmath.exp(t) / (1 + mpmath.exp(t)) ** 2 / scale)
    log_survival, log_density = mpmath.log(sum(tails)), mpmath.log(sum(densities))
    if kind is MixtureLogistic:
        z = mpmath.log1p(-sum(tails)) - log_survival
        return sign * z, log_density + z + 2 * mpmath.log1p(mpmath.exp(-z))

    def off(z):
        return mpmath.log(mpmath.erfc(z / mpmath.sqrt(2)) / 2) - log_survival

    start = mpmath.sqrt(-2 * log_survival) if log_survival < -5 else mpmath.mpf(1)
    z = mpmath.findroot(off, start, tol=1e-40, maxsteps=100)
    return sign * z, log_density - mpmath.log(mpmath.npdf(z))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("kind", [MixtureGaussian, MixtureLogistic])
def test_the_noise_of_far_values_is_right(kind, sign, dtype):
    x = sign * torch.tensor(FAR, dtype=dtype)[:, None]
    params = params_of(dtype).expand(len(FAR), 9, 1)
    z, log_slope = kind(3).inverse(x, params)
    exact = [truth(kind, value) for value in x[:, 0].tolist() if abs(value) < 1e5]
    digits = 20 * torch.finfo(dtype).eps
    for i, (true_z, true_slope) in enumerate(exact):
        assert float(z[i]) == pytest.approx(float(true_z), rel=digits, abs=digits)
        assert float(log_slope[i]) == pytest.approx(float(true_slope), abs=50 * digits)
    # Farther out the component that reaches farthest is all there is: z grows as x over its scale.
    widest = max(SCALES)
    torch.testing.assert_close(z[6:, 0], x[6:, 0] / widest, rtol=1e-5, atol=0)
    torch.testing.assert_close(log_slope[-1:, 0], -torch.tensor([widest], dtype=dtype).log())
    back, log_det = kind(3).forward(z, params)
    torch.testing.assert_close(back, x, rtol=digits, atol=digits)
    torch.testing.assert_close(log_det, -log_slope, rtol=0, atol=100 * digits)


def test_between_components_far_apart_the_density_stays_right():
    params = params_of(torch.float32, [0.5, 0.5], [-40.0, 40.0], [1.0, 1.0])
    z, log_slope = MixtureGaussian(2).inverse(torch.zeros(1, 1), params)
    assert float(z) == pytest.approx(0, abs=1e-6)
    assert float(log_slope) == pytest.approx(-800, rel=1e-5)


@pytest.mark.parametrize("kind", [MixtureGaussian, MixtureLogistic])
@pytest.mark.parametrize("value", [2.0, 15.0, 200.0, -200.0])
def test_gradients_reach_through_far_values(kind, value):
    x = torch.full((1, 1), value, dtype=torch.float64, requires_grad=True)
    params = params_of(torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(kind(3).inverse, (x, params), rtol=1e-4)
    z, log_slope = kind(3).inverse(x, params)
    (slope,) = torch.autograd.grad(z, x)
    assert float(slope.log()) == pytest.approx(log_slope.item(), abs=1e-6)


def test_where_squares_overflow_the_noise_is_infinite_and_nothing_is_nan():
    x = torch.tensor([[1e30], [-1e30]])
    z, log_slope = MixtureGaussian(3).inverse(x, params_of(torch.float32).expand(2, 9, 1))
    assert z.flatten().tolist() == [math.inf, -math.inf]
    assert not log_slope.isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_flow_encodes_far_rows_and_decodes_them(dtype):
    torch.manual_seed(0)
    flow = recipes.MAFMoG(layers=1, hidden=(8,)).build((2,), standardise=False).to(dtype).eval()
    x = torch.tensor([[1e2, -1e2], [1e4, 3.0], [-1e6, 1e6], [0.1, 1e4]], dtype=dtype)
    with torch.no_grad():
        back = flow.decode(flow.encode(x))
    torch.testing.assert_close(back, x, rtol=1e3 * torch.finfo(dtype).eps, atol=1e-5)
