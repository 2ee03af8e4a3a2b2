"""Nets with a Lipschitz constant: their norms are those of the maps as they are applied."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from caudal import Chain, Flow, calibrate
from caudal.base import Normal
from caudal.bijections import Residual
from caudal.nets import (
    LipschitzConvNet,
    LipschitzMLP,
    LipSwish,
    Spectral,
    SpectralConv2d,
    SpectralLinear,
)
from caudal.nets.activation import lipschitz_activation
from caudal.numerics import Truncated

SHAPES = ((8, 8), (5, 7))
CONVS = [
    (inputs, outputs, size, shape)
    for inputs, outputs in ((1, 1), (1, 3), (4, 2), (3, 4))
    for size in (1, 3)
    for shape in SHAPES
]


def matrix_of(weight, shape=()):
    """The matrix of a layer with these weights, on vectors or on images of a shape."""
    if weight.ndim == 2:
        return weight
    elements = weight.shape[1] * math.prod(shape)
    units = torch.eye(elements).to(weight).view(elements, -1, *shape)
    return F.conv2d(units, weight, padding=weight.shape[-1] // 2).flatten(1).t()


def exact_norm(weight, shape=()):
    return torch.linalg.matrix_norm(matrix_of(weight, shape), 2)


@torch.no_grad()
def filled(layer, scale=1.0):
    """The layer with normal weights, large enough to be normalised, and tightened."""
    layer.weight.copy_(scale * torch.randn_like(layer.weight))
    layer.tighten()
    return layer.eval()


@torch.no_grad()
def matrix_with(values, rows, columns):
    """A matrix of these singular values, and what it stretches by each."""
    left = torch.linalg.qr(torch.randn(rows, rows))[0][:, : len(values)]
    right = torch.linalg.qr(torch.randn(columns, columns))[0][:, : len(values)]
    return left * values @ right.t(), right


def mlp(activation_name="lipswish", context=0):
    return LipschitzMLP(3, (16, 16), 0.9, activation_name, context)


def conv_net(activation_name="lipswish", context=0):
    return LipschitzConvNet(2, 5, (4, 6), 0.9, activation_name, context)


NETS = {"mlp": (mlp, (3,)), "conv": (conv_net, (2, 4, 6))}


@torch.no_grad()
def loud(net, scale=4.0):
    """The net with weights large enough that every layer is normalised."""
    for layer in net.spectral:
        layer.weight.mul_(scale)
    net.tighten()
    return net.eval()


# --- norms -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("inputs", "outputs", "size", "shape"), CONVS)
def test_a_convolution_has_the_norm_of_its_operator(inputs, outputs, size, shape, dtype):
    layer = filled(SpectralConv2d(inputs, outputs, size, shape, 0.9).to(dtype))
    norm = exact_norm(layer.effective(), shape)
    assert norm.dtype == dtype
    assert 0.9 * (1 - 1e-5) <= norm <= 0.9 * 1.01
    assert layer.norm() == 0.9
    sigma = layer._sigma()
    torch.testing.assert_close(sigma, exact_norm(layer.weight, shape), rtol=0.01, atol=0.0)


def test_the_norm_of_the_kernel_as_a_matrix_would_not_do():
    layer = SpectralConv2d(2, 2, 3, (8, 8), 0.9)
    nn.init.ones_(layer.weight)
    layer.tighten()
    reshaped = layer.weight * 0.9 / torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
    assert exact_norm(reshaped, (8, 8)) > 2 * 0.9
    assert exact_norm(layer.eval().effective(), (8, 8)) <= 0.9 * 1.01


def test_the_norm_is_that_at_the_size_of_the_image():
    small, large = (filled(SpectralConv2d(1, 1, 3, (n, n), 1.0)) for n in (3, 12))
    with torch.no_grad():
        large.weight.copy_(small.weight)
    large.tighten()
    assert large._sigma() > 1.05 * small._sigma()


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (1, 9), (40, 3), (30, 50), (128, 128)])
def test_a_linear_layer_has_the_norm_of_its_matrix(inputs, outputs):
    layer = filled(SpectralLinear(inputs, outputs, 0.7))
    assert exact_norm(layer.effective()) <= 0.7 * 1.01
    torch.testing.assert_close(layer._sigma(), exact_norm(layer.weight), rtol=0.01, atol=0.0)


SPECTRA = {
    "one larger": torch.cat([torch.ones(59), torch.tensor([1.03])]),
    "all the same": torch.ones(60),
    "clustered": torch.linspace(1.0, 1.05, 60),
    "even": torch.linspace(0.0, 1.0, 60),
    "flat at the top": 1 - torch.linspace(0, 1, 60) ** 2,
    "decades": torch.logspace(-8, 2, 60),
    "one": torch.tensor([3.0]),
}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize(("rows", "columns"), [(60, 60), (60, 200), (200, 60)])
@pytest.mark.parametrize("start", ["first", "last", "before"])
def test_tighten_finds_the_norm_wherever_it_starts(name, rows, columns, start):
    weight, directions = matrix_with(SPECTRA[name], rows, columns)
    layer = SpectralLinear(columns, rows, 0.1)
    with torch.no_grad():
        layer.weight.copy_(weight)
    if start != "before":  # a direction that has nothing of the one sought, unless it is that
        layer.direction.copy_(directions[:, 0 if start == "first" else -1])
    for _ in range(3):  # and it stays there
        layer.tighten()
        assert exact_norm(layer.eval().effective()) <= 0.1 * 1.005


def test_tighten_leaves_a_direction_that_is_exactly_a_wrong_one():
    layer = SpectralLinear(5, 5, 0.1)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.arange(1.0, 6.0)))
    layer.direction.copy_(torch.eye(5)[0])
    layer.tighten()
    assert layer._sigma().item() == pytest.approx(5)


@pytest.mark.parametrize("seed", range(3))
def test_tighten_goes_on_until_the_norm_grows_no_more(seed):
    torch.manual_seed(seed)
    layer = filled(SpectralConv2d(32, 32, 3, (28, 28), 0.9))
    sigma = layer._sigma().item()
    for _ in range(5):
        layer.tighten(1e-7)
    assert sigma == pytest.approx(layer._sigma().item(), rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_a_new_layer_has_the_norm_it_says(seed):
    torch.manual_seed(seed)
    linear, conv = SpectralLinear(30, 30, 0.5), SpectralConv2d(4, 4, 3, (5, 7), 0.5)
    assert exact_norm(linear.eval().effective()) <= 0.5 * 1.01
    assert exact_norm(conv.eval().effective(), (5, 7)) <= 0.5 * 1.01


def test_tighten_draws_no_random_numbers():
    layer = SpectralConv2d(2, 3, 3, (5, 5), 0.9)
    before = torch.get_rng_state()
    layer.tighten()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "layer", [SpectralLinear(5, 4, 50.0), SpectralConv2d(2, 3, 3, (4, 4), 50.0)]
)
def test_small_weights_are_left_as_they_are(layer):
    assert torch.equal(layer.eval().effective(), layer.weight)
    assert layer.norm() == layer._sigma().item() < 50


@pytest.mark.parametrize("value", [0.0, 1e-30, 1e10])
@pytest.mark.parametrize("training", [True, False])
def test_weights_of_any_size(value, training):
    for layer in (SpectralLinear(5, 4, 0.9), SpectralConv2d(2, 3, 3, (4, 4), 0.9)):
        nn.init.constant_(layer.weight, value)
        layer.tighten()
        x = torch.randn(2, *((5,) if layer.weight.ndim == 2 else (2, 4, 4)))
        layer.train(training)(x).sum().backward()
        assert torch.isfinite(layer.weight.grad).all()
        assert layer.direction.norm().item() == pytest.approx(1, abs=1e-5)
        assert 0 <= layer.norm() <= 0.9
    filled(layer)  # it recovers
    assert exact_norm(layer.effective(), (4, 4)) <= 0.9 * 1.01


def test_numbers_that_are_not_finite_leave_the_direction_alone():
    layer = SpectralLinear(3, 3, 0.9)
    before = layer.direction.clone()
    nn.init.constant_(layer.weight, math.nan)
    assert layer(torch.ones(1, 3)).isnan().all()
    assert torch.equal(layer.direction, before)
    layer.tighten()
    assert layer.direction.norm().item() == pytest.approx(1)


def test_constructors_refuse_what_cannot_be():
    for coefficient in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="`coefficient` must be positive"):
            SpectralLinear(2, 2, coefficient)
    with pytest.raises(ValueError, match="must be odd, so that a kernel has a centre, got 2"):
        SpectralConv2d(1, 1, 2, (4, 4), 0.9)
    for coefficient in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            LipschitzMLP(2, (4,), coefficient, "elu")
        with pytest.raises(ValueError, match="between 0 and 1"):
            LipschitzConvNet(1, 4, (4, 4), coefficient, "elu")


# --- gradients -------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ["linear", "conv"])
def test_the_gradient_is_that_of_the_exact_norm(make, float64):
    shape = () if make == "linear" else (4, 5)
    new = SpectralLinear(6, 5, 0.9) if make == "linear" else SpectralConv2d(2, 3, 3, shape, 0.9)
    layer = filled(new)
    layer.train()
    for _ in range(300):  # to the last digit
        layer.effective()
    layer.eval()
    weights = torch.randn_like(layer.weight)
    (layer.effective() * weights).sum().backward()
    weight = layer.weight.detach().clone().requires_grad_()
    scale = (exact_norm(weight, shape) / 0.9).clamp(min=1)
    (weight / scale * weights).sum().backward()
    torch.testing.assert_close(layer.weight.grad, weight.grad, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("activation_name", ["lipswish", "elu"])
@pytest.mark.parametrize("name", NETS)
def test_nets_have_second_derivatives(name, activation_name, float64):
    make, event = NETS[name]
    net = loud(make(activation_name))
    x = torch.randn(2, *event, requires_grad=True)
    assert torch.autograd.gradcheck(net, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(net, x, fast_mode=True)


@pytest.mark.parametrize("activation_name", ["lipswish", "elu"])
@pytest.mark.parametrize("name", NETS)
def test_the_gradient_of_products_with_the_jacobian(name, activation_name, float64):
    """Gradients of a log-det by traces, against differences; v is held fixed in sigma."""
    make, event = NETS[name]
    net = loud(make(activation_name))
    names, values = zip(*net.named_parameters(), strict=True)
    x, v = torch.randn(2, 2, *event).unbind()

    def trace(x, *parameters):
        given = dict(zip(names, parameters, strict=True))
        y = torch.func.functional_call(net, given, (x,))
        (once,) = torch.autograd.grad(y, x, v, create_graph=True)
        (twice,) = torch.autograd.grad(y, x, once, create_graph=True)
        return (once * v).sum() - (twice * v).sum() / 2

    assert all(layer.effective().norm() < layer.weight.norm() for layer in net.spectral)
    assert torch.autograd.gradcheck(trace, (x.requires_grad_(), *values), fast_mode=True)


def test_two_passes_in_training_before_one_gradient():
    net = mlp()
    x = torch.randn(4, 3)
    (net(x) + net(x)).sum().backward()
    net(x)
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())


def test_parameters_that_do_not_learn():
    net = mlp().requires_grad_(False)
    x = torch.randn(4, 3, requires_grad=True)
    net(x).sum().backward()
    assert x.grad.any()


# --- activations -----------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [-200.0, -5.0, 0.0, 0.5, 1.0, 5.0])
def test_lipswish_has_a_slope_of_at_most_one(raw, float64):
    act = LipSwish()
    nn.init.constant_(act.raw, raw)
    beta = F.softplus(act.raw).item()
    x = torch.linspace(-30, 30, 60_001)
    x = (x / beta if beta > 1e-3 else x).requires_grad_()
    (slope,) = torch.autograd.grad(act(x).sum(), x)
    assert slope.abs().max() <= 1
    if raw > -200:
        assert slope.abs().max() > 0.99


def test_elu_has_a_slope_of_at_most_one(float64):
    x = torch.linspace(-30, 30, 60_001, requires_grad=True)
    (slope,) = torch.autograd.grad(lipschitz_activation("elu")(x).sum(), x)
    assert slope.abs().max() <= 1


def test_lipswish_is_its_formula_with_its_derivatives(float64):
    act = LipSwish()
    x = torch.randn(50, requires_grad=True)
    v = torch.randn(50)

    def derived(value):
        (once,) = torch.autograd.grad(value, x, v, create_graph=True)
        (twice,) = torch.autograd.grad(once, x, v, create_graph=True)
        return [value, once, twice, *torch.autograd.grad((once * twice).sum(), [x, act.raw])]

    plain = derived(x * torch.sigmoid(F.softplus(act.raw) * x) / 1.1)
    for ours, theirs in zip(derived(act(x)), plain, strict=True):
        torch.testing.assert_close(ours, theirs)
    (ours,) = torch.autograd.grad((act(x) * v).sum(), act.raw)
    (theirs,) = torch.autograd.grad(
        (x * torch.sigmoid(F.softplus(act.raw) * x) / 1.1 * v).sum(), act.raw
    )
    torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        torch.testing.assert_close(act(x), plain[0])


@pytest.mark.parametrize("bend", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("name", ["lipswish", "elu"])
def test_activations_come_with_their_slopes(name, bend, float64):
    act, x = lipschitz_activation(name, bend), (torch.randn(20) / bend).requires_grad_()
    value, slope = act.with_slope(x)
    (expected,) = torch.autograd.grad(act(x).sum(), x)
    torch.testing.assert_close(value, act(x))
    torch.testing.assert_close(slope, expected)
    inputs = (x, *act.parameters())

    def both(x, *_):
        return act.with_slope(x)

    assert torch.autograd.gradcheck(both, inputs)
    assert torch.autograd.gradgradcheck(both, inputs)
    rows = torch.func.vmap(act.with_slope)(x.view(4, 5))
    for ours, theirs in zip(rows, (value, slope), strict=True):
        torch.testing.assert_close(ours.flatten(), theirs)


@pytest.mark.parametrize("name", ["lipswish", "elu"])
def test_activations_bend_where_they_are_told_to(name, float64):
    x = torch.linspace(-3, 3, 50)
    plain, bent = lipschitz_activation(name), lipschitz_activation(name, 8.0)
    torch.testing.assert_close(8 * bent(x / 8), plain(x))
    _, slope = bent.with_slope(x / 8)
    torch.testing.assert_close(slope, plain.with_slope(x)[1])


@pytest.mark.parametrize("activation_name", ["lipswish", "elu"])
def test_new_nets_bend_within_what_they_see(activation_name, float64):
    """However many units share an input, a new net is far from straight."""
    x = torch.randn(200, 2)
    for width in (8, 512):
        net = LipschitzMLP(2, (width, width), 0.9, activation_name)
        given, found = torch.cat([x, torch.ones(200, 1)], 1), net(x).detach()
        straight = given @ torch.linalg.lstsq(given, found).solution
        assert (found - straight).square().sum() > 0.02 * (found - found.mean(0)).square().sum()


def test_other_activations_are_refused():
    with pytest.raises(ValueError, match="one of lipswish, elu, got 'relu'"):
        mlp("relu")


# --- nets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [0, 4])
@pytest.mark.parametrize("activation_name", ["lipswish", "elu"])
@pytest.mark.parametrize("name", NETS)
def test_nets_are_as_lipschitz_as_they_say(name, activation_name, context):
    make, event = NETS[name]
    net = loud(make(activation_name, context))
    if net.context is not None:
        nn.init.normal_(net.context.weight, std=10.0)
    bound = net.lipschitz()
    assert bound == pytest.approx((1.01 * 0.9) ** 3)
    x, given = torch.randn(500, *event), torch.randn(500, 4) if context else None
    y = x + torch.randn_like(x) * torch.logspace(-2, 1, 500).view(-1, *[1] * len(event))
    apart = (net(x, given) - net(y, given)).flatten(1).norm(dim=1)
    assert (apart <= bound * (x - y).flatten(1).norm(dim=1)).all()
    for i in range(5):
        row, its = x[i : i + 1], None if given is None else given[i : i + 1]
        jacobian = torch.func.jacrev(net)(row, its).reshape(x[0].numel(), -1)
        assert torch.linalg.matrix_norm(jacobian, 2) <= bound * 1.01


@pytest.mark.parametrize("name", NETS)
def test_context_moves_the_net(name):
    make, event = NETS[name]
    net = make(context=4).eval()
    x, context = torch.randn(2, *event), torch.randn(2, 4)
    assert net(x, context).shape == x.shape
    assert not torch.allclose(net(x, context), net(x, -context))


def test_a_net_may_have_no_hidden_layer():
    net = LipschitzMLP(3, (), 0.9, "elu", context=2)
    assert net(torch.randn(4, 3), torch.randn(4, 2)).shape == (4, 3)
    assert net.last is net.spectral[0]


def test_the_bound_of_a_net_of_small_weights_is_smaller():
    net = mlp()
    with torch.no_grad():
        net.last.weight.mul_(1e-3)
    assert net.lipschitz() < 2e-3


# --- state -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_only_passes_in_training_change_state(name):
    make, event = NETS[name]
    net = make()
    with torch.no_grad():
        net.last.weight.normal_()
    x = torch.randn(3, *event)
    before = copy.deepcopy(net.state_dict())
    net.eval()
    net(x), net.frozen()(x), net.lipschitz()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    net.train()
    net(x)
    changed = [
        key for key, value in net.state_dict().items() if not torch.equal(value, before[key])
    ]
    assert "layers.2.direction" in changed
    assert all(key.endswith("direction") for key in changed)


def test_passes_in_training_find_the_norm():
    for layer, shape in ((SpectralLinear(20, 20, 0.9), ()), (conv_net().spectral[0], (4, 6))):
        with torch.no_grad():
            layer.weight.normal_()
        for _ in range(100):
            layer.effective()
        assert exact_norm(layer.effective(), shape) <= 0.9 * 1.01


@pytest.mark.parametrize("name", NETS)
def test_state_survives_a_reload_and_a_copy(name):
    make, event = NETS[name]
    net = loud(make())
    x = torch.randn(3, *event)
    other = make().eval()
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x), net(x))
    assert torch.equal(copy.deepcopy(net)(x), net(x))
    double = net.double()
    assert double(x.double()).dtype == torch.float64


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_frozen_passes_are_those_of_the_net(name, training):
    make, event = NETS[name]
    net = loud(make(context=2)).train(training)
    x, context = torch.randn(3, *event), torch.randn(3, 2)
    frozen = net.frozen()
    first = frozen(x, context)
    net.eval()
    torch.testing.assert_close(first, net(x, context))
    with torch.no_grad():
        net.last.weight.zero_()
    assert torch.equal(frozen(x, context), first)


@pytest.mark.parametrize("training", [True, False])
def test_vectorised_jacobians(training):
    net = loud(mlp()).train(training)
    x = torch.randn(5, 3)
    frozen = net.frozen()  # before the transforms, in which no state may change
    net.eval()
    jacobians = torch.func.vmap(torch.func.jacrev(lambda row: frozen(row[None])[0]))(x)
    plain = torch.autograd.functional.jacobian(lambda x: net(x).sum(0), x, vectorize=True)
    torch.testing.assert_close(jacobians, plain.transpose(0, 1))


def test_norms_keep_their_precision_under_autocast():
    net = loud(conv_net())
    plain = [layer.effective() for layer in net.spectral]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = [layer.effective() for layer in net.spectral]
        assert torch.isfinite(net(torch.randn(2, 2, 4, 6))).all()
    assert all(map(torch.equal, plain, cast))


# --- calibrate -------------------------------------------------------------------------------


def residual(net):
    return Residual(net, (3,), Truncated(5), Truncated(5))


def test_calibrate_makes_every_norm_right():
    flow = Flow(Chain([residual(mlp()), residual(mlp("elu"))]), Normal((3,)))
    layers = [module for module in flow.modules() if isinstance(module, Spectral)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.normal_()
    assert max(exact_norm(layer.eval().effective()) for layer in layers) > 1
    calibrate(flow, torch.randn(10, 3))
    assert len(layers) == 6
    assert max(exact_norm(layer.effective()) for layer in layers) <= 0.9 * 1.01
