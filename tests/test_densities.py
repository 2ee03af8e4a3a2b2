"""Densities against the truth: sums and integrals to one, closed forms, edges, batches."""

import itertools
import math

import pytest
import torch

from cases import RECIPES, randomise
from caudal import Chain, Flow, InputError, calibrate, initialize
from caudal.base import Logistic, Normal
from caudal.bijections import (
    ActNorm,
    Autoregressive,
    BatchNorm,
    Coupling,
    Flip,
    Logit,
    LULinear,
    Permutation,
    Scale,
    SoftClip,
    Standardise,
    Support,
)
from caudal.elementwise import Affine, MixtureGaussian, MixtureLogistic, RationalQuadraticSpline
from caudal.losses import bits_per_dim
from caudal.nets import MADE, MLP
from caudal.recipes import MAF, MAFMoG


@pytest.mark.parametrize("hidden", [(3,), (40, 40)])
@pytest.mark.usefixtures("float64")
def test_a_binary_made_sums_to_one(hidden):
    net = randomise(MADE(10, 1, hidden, direct=True), 1.0)
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=10)))
    logits = net(x)[:, 0]
    log_prob = torch.distributions.Bernoulli(logits=logits).log_prob(x).sum(1)
    assert abs(log_prob.exp().sum().item() - 1) < 1e-9


@pytest.mark.parametrize("name", [name for name in RECIPES if not RECIPES[name].circular])
@pytest.mark.usefixtures("float64")
def test_a_density_in_the_plane_integrates_to_one(name):
    flow = randomise(RECIPES[name].build((2,)).eval(), 0.05)
    reach, cells = 400.0, 500
    # A grid dense in the middle and far-reaching at its ends: u -> reach sinh(7u) / sinh(7).
    u = (torch.arange(cells) + 0.5) / cells * 2 - 1
    line = reach * torch.sinh(7 * u) / math.sinh(7)
    width = reach * 7 * torch.cosh(7 * u) / math.sinh(7) * (2 / cells)
    grid = torch.cartesian_prod(line, line)
    area = torch.cartesian_prod(width, width).prod(1)
    with torch.no_grad():
        integral = (flow.log_prob(grid).exp() * area).sum().item()
    assert abs(integral - 1) < 1e-3


@pytest.mark.usefixtures("float64")
def test_mixture_conditionals_are_the_closed_form():
    x, params = torch.linspace(-9, 9, 40)[None], torch.randn(1, 9, 40)
    logits, mean, raw = params.unflatten(1, (3, 3)).unbind(1)
    scale = (raw / (1 + raw.abs() / 8)).exp()
    mix = torch.distributions.Categorical(logits=logits.transpose(1, 2))
    normal = torch.distributions.Normal(mean.transpose(1, 2), scale.transpose(1, 2))
    truth = torch.distributions.MixtureSameFamily(mix, normal).log_prob(x)
    z, log_slope = MixtureGaussian(3).inverse(x, params)
    ours = torch.distributions.Normal(0.0, 1.0).log_prob(z) + log_slope
    torch.testing.assert_close(ours, truth, atol=1e-9, rtol=1e-9)


def test_mixtures_keep_the_density_of_far_tails_in_float32():
    x = torch.tensor([[-60.0, -20.0, 0.0, 20.0, 60.0]], requires_grad=True)
    for mixture, base in (
        (MixtureGaussian(2), Normal((5,))),
        (MixtureLogistic(2), Logistic((5,))),
    ):
        params = torch.zeros(1, mixture.n_params, 5, requires_grad=True)
        z, log_slope = mixture.inverse(x, params)
        told = base.log_prob(z) + log_slope.sum(1)
        truth = base.log_prob(x)
        torch.testing.assert_close(told, truth, atol=1e-2, rtol=1e-4)
        gradients = torch.autograd.grad(told.sum(), [x, params])
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 1.0, 5.0, 20.0])
def test_splines_survive_hard_parameters_with_their_gradients(dtype, scale):
    spline = RationalQuadraticSpline(bins=8, bound=3.0)
    params = (scale * torch.randn(64, spline.n_params, 30, dtype=dtype)).requires_grad_()
    # Inside, outside, on the ends and beyond them by one rounding step.
    x = 4 * torch.randn(64, 30, dtype=dtype)
    x[:, :4] = torch.tensor([-3.0, 3.0, 3.0 + 3e-7, -1e30], dtype=dtype)
    x.requires_grad_()
    z, log_slope = spline.inverse(x, params)
    back, log_slope_back = spline.forward(z, params)
    for tensor in (z, log_slope, back, log_slope_back):
        assert tensor.isfinite().all()
        for gradient in torch.autograd.grad(tensor.sum(), [x, params], retain_graph=True):
            assert gradient.isfinite().all()
    inside = (x.abs() <= 3).detach()
    assert torch.equal(z[~inside], x[~inside])
    if scale <= 1:
        atol = 2e-3 if dtype == torch.float32 else 1e-9
        torch.testing.assert_close(back, x, atol=atol, rtol=0)


def test_affine_scales_are_bounded():
    params = torch.tensor([[[0.0], [1e9]]])
    x, log_slope = Affine().forward(torch.ones(1, 1), params)
    assert log_slope.item() == pytest.approx(8)
    assert x.item() == pytest.approx(math.exp(8), rel=1e-5)


def test_outside_the_support_is_minus_infinity_never_nan():
    low = torch.tensor([0.0, -math.inf, -1.0])
    high = torch.tensor([math.inf, 2.0, 1.0])
    flow = Flow(Chain([Flip(), Support(low, high)]), Normal((3,)))
    inside = torch.tensor([[0.5, 1.0, 0.0]])
    assert flow.log_prob(inside).isfinite().all()
    for column, value in ((0, -0.1), (1, 2.1), (2, 1.5), (2, -3.0)):
        x = inside.clone()
        x[0, column] = value
        assert flow.log_prob(x).item() == -math.inf
    edges = torch.tensor([[0.0, 2.0, -1.0], [0.0, 2.0, 1.0]])
    assert flow.log_prob(edges).isfinite().all()


def test_samples_never_leave_the_support():
    low = torch.tensor([0.0, -math.inf, -1.0, 100.0])
    high = torch.tensor([math.inf, 2.0, 1.0, 100.5])
    x, _ = Support(low, high).forward(torch.randn(1000, 4) * 100)
    assert (x > low).all()
    assert (x < high).all()
    assert x.isfinite().all()


def test_a_soft_clip_bends_only_next_to_its_ends():
    clip = SoftClip(torch.tensor([-10.0, -math.inf]), torch.tensor([10.0, math.inf]), 0.01)
    inside = torch.stack([torch.linspace(-7, 7, 50), torch.linspace(-99, 99, 50)], 1)
    z, log_det = clip.inverse(inside)
    assert torch.equal(z[:, 1], inside[:, 1])
    torch.testing.assert_close(20 * z[:, 0] - 10, inside[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(log_det, torch.full((50,), -math.log(20)), atol=1e-5, rtol=0)
    x, log_det = clip.forward(100 * torch.randn(1000, 2))
    assert (x[:, 0].abs() < 10).all()
    assert log_det.isfinite().all()
    _, log_det = clip.inverse(torch.tensor([[-10.0, 0.0], [10.0, 0.0], [10.1, 0.0], [-99.0, 0.0]]))
    assert log_det[:2].isfinite().all()
    assert log_det[2:].tolist() == [-math.inf] * 2
    for wrong in ({"low": torch.ones(1)}, {"softness": 0.0}):
        with pytest.raises(ValueError, match="must be"):
            SoftClip(**{"low": torch.zeros(1), "high": torch.ones(1), **wrong})


def test_logit_is_minus_infinity_outside_and_right_inside():
    x = torch.tensor([[0.0], [0.3], [1.0], [1.2], [-0.2]], dtype=torch.float64)
    _, log_det = Logit(alpha=0.05).inverse(x)
    p = 0.05 + 0.9 * x[:, 0]
    truth = -(p.log() + (1 - p).log()) + math.log(0.9)
    torch.testing.assert_close(log_det[:3], truth[:3])
    assert (log_det[3:] == -math.inf).all()


def test_nice_prior_and_bits_per_dim():
    x = torch.randn(4, 6, dtype=torch.float64)
    logistic = Logistic((6,)).double()
    truth = torch.distributions.TransformedDistribution(
        torch.distributions.Uniform(
            torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
        ),
        [torch.distributions.SigmoidTransform().inv],
    )
    torch.testing.assert_close(logistic.log_prob(x), truth.log_prob(x).sum(1))
    assert logistic.sample(100_000).var().item() == pytest.approx(math.pi**2 / 3, rel=0.02)
    # A uniform mass over 256 levels in each of 784 pixels costs 8 bits a pixel.
    assert bits_per_dim(-784 * math.log(256), 784) == pytest.approx(8)


@pytest.mark.parametrize("shape", [(5,), (3, 4, 4)])
def test_batchnorm_in_evaluation_ignores_the_rest_of_the_batch(shape):
    flow = Flow(randomise(Chain([BatchNorm(shape), ActNorm(shape)])), Normal(shape)).eval()
    x = torch.randn(10, *shape)
    alone = torch.cat([flow.log_prob(row[None]) for row in x])
    torch.testing.assert_close(flow.log_prob(x), alone, atol=1e-4, rtol=1e-5)


def test_batchnorm_in_training_uses_the_batch_and_differentiates_through_it():
    layer, x = BatchNorm((3,)), 5 + 2 * torch.randn(1000, 3)
    z, log_det = layer.inverse(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.var(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)
    truth = -0.5 * (x.var(0, correction=0) + 1e-5).log().sum()
    torch.testing.assert_close(log_det, truth.expand(1000))
    with pytest.raises(RuntimeError, match=r"flow\.eval\(\)"):
        layer.forward(z)


def test_calibrate_gives_every_batchnorm_the_moments_of_all_data():
    flow = randomise(MAF(layers=3, hidden=(16,)).build((4,)))
    x = 3 + 2 * torch.randn(5000, 4)
    calibrate(flow, x)
    flow.train()
    whole = flow.log_prob(x)  # training mode on everything: the moments of everything
    calibrate(flow, x)
    torch.testing.assert_close(flow.eval().log_prob(x), whole, atol=1e-3, rtol=1e-4)


def test_initialize_standardises_once_and_is_saved():
    x = torch.tensor([5.0, -3.0]) + torch.tensor([2.0, 0.1]) * torch.randn(2000, 2)
    flow = Flow(Chain([ActNorm((2,)), LULinear(2), Standardise((2,))]), Normal((2,)))
    initialize(flow, x)
    z = flow.encode(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(0), torch.ones(2), atol=1e-2, rtol=0)
    with torch.no_grad():
        flow.bijection.parts[0].mean.fill_(7.0)  # as training would move it
    again = Flow(Chain([ActNorm((2,)), LULinear(2), Standardise((2,))]), Normal((2,)))
    again.load_state_dict(flow.state_dict())
    initialize(again, x)
    assert (again.bijection.parts[0].mean == 7).all()


def test_initialize_refuses_what_data_cannot_reach():
    from caudal import Inverse

    flow = Flow(Chain([Inverse(ActNorm((2,)))]), Normal((2,)))
    with pytest.raises(ValueError, match="does not reach"):
        initialize(flow, torch.randn(10, 2))


def test_a_constant_channel_is_left_alone():
    layer = ActNorm((2,))
    layer.observe(torch.cat([torch.full((9, 1), 4.0), torch.randn(9, 1)], 1))
    z, log_det = layer.inverse(torch.tensor([[4.0, 0.0]]))
    assert z[0, 0] == 0
    assert log_det.isfinite().all()


def test_sampling_is_seeded_tempered_and_tells_its_density():
    flow = randomise(RECIPES["realnvp"].build((4,))).eval()
    draw = [flow.sample(50, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draw)
    cold = flow.sample(50, temperature=0.0)
    assert torch.equal(cold, cold[:1].expand(50, 4))
    x, log_prob = flow.sample_with_log_prob(50)
    torch.testing.assert_close(flow.log_prob(x), log_prob, atol=1e-4, rtol=1e-4)
    assert not flow.sample(2).requires_grad
    assert x.requires_grad


DOOR = [
    (torch.zeros(3, 5), None, r"`x` must have shape \(B, \*\(4,\)\), got \(3, 5\)"),
    (torch.zeros(()), None, "`x` must have shape"),
    (torch.zeros(3, 4, dtype=torch.float64), None, "must be torch.float32"),
    (torch.zeros(3, 4, dtype=torch.long), None, "must be torch.float32"),
    (torch.zeros(3, 4), torch.zeros(3, 2), "takes no `context`"),
]


@pytest.mark.parametrize(("x", "context", "message"), DOOR)
def test_a_flow_refuses_at_its_door(x, context, message):
    with pytest.raises(InputError, match=message) as error:
        RECIPES["maf"].build((4,)).log_prob(x, context)
    assert "\n" not in str(error.value)


def test_a_conditional_flow_wants_its_context():
    flow = RECIPES["maf"].build((4,), (2,)).eval()
    with pytest.raises(InputError, match="needs a `context`"):
        flow.log_prob(torch.zeros(3, 4))
    with pytest.raises(InputError, match="needs a `context`"):
        flow.sample(3)
    with pytest.raises(InputError, match="context.*do not broadcast"):
        flow.log_prob(torch.zeros(3, 4), torch.zeros(2, 2))
    with pytest.raises(InputError, match="`context` must have shape"):
        flow.log_prob(torch.zeros(3, 4), torch.zeros(3, 1))
    assert flow.sample(3, torch.zeros(2)).shape == (3, 4)


def test_the_same_layer_twice_is_refused():
    layer = Scale((2,))
    with pytest.raises(InputError, match="sits at both 'parts.0' and 'parts.2'"):
        Flow(Chain([layer, Flip(), layer]), Normal((2,)))


@pytest.mark.parametrize("name", RECIPES)
def test_context_changes_the_density(name):
    flow = randomise(RECIPES[name].build((3,), (2,))).eval()
    x = torch.randn(4, 3)
    assert not torch.allclose(
        flow.log_prob(x, torch.ones(4, 2)), flow.log_prob(x, -torch.ones(4, 2))
    )


@pytest.mark.parametrize("components", [1, 2, 10])
def test_a_spread_mixture_has_mean_zero_and_variance_one(components):
    mixture = MixtureGaussian(components)
    weights, mean, log_scale = mixture.spread().view(3, -1)
    assert torch.equal(weights, torch.zeros(components))
    assert mean.mean() == pytest.approx(0, abs=1e-6)
    assert mean.square().mean() + log_scale.exp().square().mean() == pytest.approx(1, abs=1e-6)
    assert mean.unique().numel() == components


def test_a_mixture_learns_two_modes():
    """0.5 N(-3, 0.3^2) + 0.5 N(3, 0.3^2): a MADE MoG reaches the entropy, one Gaussian cannot."""
    torch.manual_seed(0)
    x = 3 * (2 * torch.randint(0, 2, (1000, 1)) - 1) + 0.3 * torch.randn(1000, 1)
    flow = MAFMoG(layers=0, hidden=(8,), components=4).build((1,))
    optimiser = torch.optim.Adam(flow.parameters(), 0.05)
    for _ in range(150):
        optimiser.zero_grad()
        loss = -flow.log_prob(x).mean()
        loss.backward()
        optimiser.step()
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.09) + math.log(2)
    one_gaussian = 0.5 * math.log(2 * math.pi * math.e * 9.09)
    assert loss < entropy + 0.05 < one_gaussian - 1


@pytest.mark.parametrize("layer", [Standardise, ActNorm])
@pytest.mark.parametrize("spread", [1e-30, 1e-8, 1.0, 1e30])
def test_columns_of_any_spread_are_standardised(layer, spread):
    part = layer((2,))
    part.observe(spread * (torch.randn(1000, 2) + torch.tensor([0.0, 3.0])))
    z, _ = part.inverse(spread * (torch.randn(1000, 2) + torch.tensor([0.0, 3.0])))
    torch.testing.assert_close(z.std(0), torch.ones(2), atol=0.1, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_a_constant_column_is_left_alone(value):
    part = Standardise((1,))
    part.observe(torch.full((1000, 1), value))
    assert part.std.item() == 1


@pytest.mark.parametrize("name", RECIPES)
def test_at_infinity_the_density_is_zero(name):
    flow = randomise(RECIPES[name].build((3,)).eval())
    rows = torch.tensor([[torch.inf, 0, 0], [0, 0, 0], [1, -torch.inf, 2]])
    log_prob = flow.log_prob(rows)
    assert log_prob[[0, 2]].tolist() == [-torch.inf, -torch.inf]
    assert log_prob[1].isfinite()


def test_parts_that_do_not_fit_are_refused_not_broadcast():
    keep = torch.tensor([True, False, False])
    coupling = Coupling(MLP(1, 1, 2, hidden=(8,)), Affine(), keep)
    with pytest.raises(ValueError, match=r"Affine needs parameters \(4, 2, 2\).* got \(4, 2, 1\)"):
        coupling.inverse(torch.randn(4, 3))
    layer = Autoregressive(MADE(1, 2, (8,)), Affine())
    with pytest.raises((ValueError, RuntimeError)):
        layer.inverse(torch.randn(4, 3))
    flow = Flow(Permutation(torch.tensor([1, 0])), Normal((3,)))
    with pytest.raises(InputError, match=r"turned shape \(4, 3\) into \(4, 2\)"):
        flow.log_prob(torch.randn(4, 3))
