"""MintNet's nets and bijection: triangular, with the right slope, and invertible."""

import pytest
import torch

from caudal import NumericalError
from caudal.bijections import Flip, Triangular
from caudal.nets import TriangularConvNet, TriangularMLP
from caudal.numerics import fixed_point

SHAPES = [(1,), (5,), (1, 3, 4), (2, 4, 3), (3, 2, 2)]


def net_of(shape, latents=4, context=0, size=3):
    if len(shape) == 1:
        return TriangularMLP(shape[0], latents, context)
    return TriangularConvNet(shape[0], latents, context, size)


def with_weights(module, std):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0, std)
    return module


def in_order(image):
    """Elements as the nets order them: position by position, there channel by channel."""
    return image.movedim(1, -1).flatten(1)


def jacobian(function, x):
    """The Jacobian of a function of one event x (1, *event), in the order of the elements."""
    event = x.movedim(1, -1)
    return torch.autograd.functional.jacobian(
        lambda v: in_order(function(v.view(event.shape).movedim(-1, 1)))[0], event.flatten()
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.usefixtures("float64")
def test_the_jacobian_is_triangular_and_the_slope_its_diagonal(shape, size, context):
    net = with_weights(net_of(shape, 4, context, size), 1.0)
    x, given = torch.randn(1, *shape), torch.randn(1, context) if context else None
    value, slope = net(x, given)
    assert value.shape == slope.shape == x.shape
    found = jacobian(lambda v: net(v, given)[0], x)
    assert (found.triu(1) == 0).all()  # exactly
    torch.testing.assert_close(found.diagonal(), in_order(slope)[0], atol=1e-12, rtol=1e-12)
    if size == 5 or len(shape) == 1:
        assert (found[-1] != 0).all()  # the last element sees all others


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("float64")
def test_between_flips_it_is_triangular_the_other_way(shape):
    net, flip = with_weights(net_of(shape), 1.0), Flip()
    x = torch.randn(1, *shape)
    found = jacobian(lambda v: flip.inverse(net(flip.inverse(v)[0])[0])[0], x)
    assert (found.tril(-1) == 0).all()
    slope = flip.inverse(net(flip.inverse(x)[0])[1])[0]
    torch.testing.assert_close(found.diagonal(), in_order(slope)[0], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("std", [0.1, 1.0, 30.0])
def test_the_slope_is_never_negative(shape, std):
    _, slope = with_weights(net_of(shape), std)(10 * torch.randn(100, *shape))
    assert (slope >= 0).all()


def test_a_new_net_is_zero_and_learns_its_slope():
    net = net_of((2, 4, 4))
    value, slope = net(torch.randn(3, 2, 4, 4))
    assert not value.any()
    assert not slope.any()
    own = net.last.own_sign != 0
    for output in (value, slope):
        (gradient,) = torch.autograd.grad(output.sum(), net.last.weight, retain_graph=True)
        assert (gradient[own] != 0).all()


def test_kernels_without_a_centre_are_refused():
    with pytest.raises(ValueError, match="`size` must be odd, .* got 4"):
        TriangularConvNet(1, 4, size=4)


# --- the way from noise to data --------------------------------------------------------------

TRAINED = [((12,), 0.2), ((1, 8, 8), 0.3), ((4, 6, 6), 0.15)]
"""Deviations of weights for which residuals grow on the way, as in trained flows."""


@pytest.mark.parametrize(("shape", "std"), TRAINED)
def test_samples_have_a_small_residual_in_float32(shape, std):
    layer = with_weights(Triangular(net_of(shape, 8), shape), std)
    z = torch.randn(50, *shape)
    x, log_det = layer.forward(z)
    back, log_det_back = layer.inverse(x)
    assert (back - z).abs().max() <= 1e-5
    torch.testing.assert_close(log_det, -log_det_back)


def newton(layer, z, start):
    """Plain sweeps, without damping."""

    def sweep(x, z):
        value, slope = layer._value(x, None)
        return x + (z - value) / slope, z - value

    return fixed_point(sweep, start, (z,), tolerance=1e-10)


@pytest.mark.parametrize(("shape", "std"), TRAINED)
@pytest.mark.usefixtures("float64")
def test_near_the_solution_it_takes_as_many_sweeps_as_elements_at_most(shape, std):
    layer = with_weights(Triangular(net_of(shape, 8), shape), std)
    x = torch.randn(20, *shape)
    z, _ = layer.inverse(x)
    found = newton(layer, z, x + 1e-5 * torch.randn_like(x))
    assert found.sweeps.max() <= x[0].numel()
    torch.testing.assert_close(layer.forward(z)[0], x, atol=1e-6, rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_where_plain_newton_goes_back_and_forth_for_ever_it_converges():
    """A steep step between two flat ends, by an elu within an elu."""
    layer = Triangular(TriangularMLP(1, 2), (1,))
    first, second, last = layer.net.first, layer.net.second, layer.net.last
    with torch.no_grad():
        for parameter in layer.net.parameters():
            parameter.zero_()
        layer.log_scale.fill_(-3)
        first.weight[0], second.weight[1, 0], last.weight[0, 1] = 20.0, 1.0, 1.0
        second.bias[1] = 3.0
    z = torch.linspace(-10, 10, 41)[:, None]
    with pytest.raises(NumericalError):
        newton(layer, z, z * (-layer.log_scale).exp())
    x, _ = layer.forward(z)
    torch.testing.assert_close(layer.inverse(x)[0], z, atol=1e-8, rtol=0)


@pytest.mark.parametrize("shape", [(4,), (2, 2, 3)])
@pytest.mark.usefixtures("float64")
def test_gradients_of_samples_are_those_of_finite_differences(shape):
    layer = with_weights(Triangular(net_of(shape, 4, 2), shape), 0.3)
    z, context = torch.randn(2, *shape), torch.randn(2, 2)
    weights = torch.randn_like(z)

    def loss(z, context, scale, last):
        held = {"log_scale": scale, "net.last.weight": last}
        x, log_det = torch.func.functional_call(layer, held, (z, context))
        return (x * weights).sum() + log_det.sum()

    inputs = (z, context, layer.log_scale.detach(), layer.net.last.weight.detach())
    inputs = tuple(value.clone().requires_grad_() for value in inputs)
    assert torch.autograd.gradcheck(loss, inputs, check_undefined_grad=False, fast_mode=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_has_no_solution_raises(value):
    layer = with_weights(Triangular(net_of((1, 4, 4)), (1, 4, 4)), 0.3)
    z = torch.randn(3, 1, 4, 4)
    z[1, 0, 2, 2] = value
    with pytest.raises(NumericalError, match="sampling a triangular layer: 1 of 3 rows"):
        layer.forward(z)
