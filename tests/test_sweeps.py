"""Autoregressive flows sampled by sweeps over all positions: what steps give, in fewer passes."""

import pytest
import torch

from cases import RECIPES, randomise
from caudal.bijections import Autoregressive, by_sweeps
from caudal.bijections.autoregressive import _SWEPT
from caudal.elementwise import Affine
from caudal.nets import MADE

STEPPING = ["made", "maf", "maf-mog", "nsf-ar"]


@pytest.mark.parametrize("name", STEPPING)
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.usefixtures("float64")
def test_sweeps_give_what_steps_give(name, context):
    flow = RECIPES[name].build((12,), (context,) if context else None).eval()
    randomise(flow)
    z, rows = torch.randn(30, 12), torch.randn(30, context) if context else None
    x, log_det = flow.bijection.forward(z, rows)
    with by_sweeps(flow):
        swept, swept_log_det = flow.bijection.forward(z, rows)
    torch.testing.assert_close(swept, x, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(swept_log_det, log_det, atol=1e-8, rtol=1e-8)


@pytest.mark.usefixtures("float64")
def test_an_inverse_flow_scores_by_sweeps():
    flow = randomise(RECIPES["iaf"].build((8,)).eval())
    x = torch.randn(20, 8)
    by_steps = flow.log_prob(x)
    with by_sweeps(flow):
        torch.testing.assert_close(flow.log_prob(x), by_steps, atol=1e-8, rtol=1e-8)


def chain_of_positions(features):
    """x_t = z_t + 3 x_(t-1): no position is right before its predecessor."""

    class Before(MADE):
        def forward(self, x, context=None):
            shift = 3 * torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
            return torch.stack([shift, torch.zeros_like(x)], 1)

    return Autoregressive(Before(features, 2, (4,)), Affine())


@pytest.mark.usefixtures("float64")
def test_as_many_sweeps_as_positions_are_always_enough():
    layer, z = chain_of_positions(20), torch.randn(5, 20)
    with by_sweeps(layer):
        x, _ = layer.forward(z)
    expected = [z[:, 0]]
    for position in range(1, 20):
        expected.append(z[:, position] + 3 * expected[-1])
    torch.testing.assert_close(x, torch.stack(expected, 1), rtol=1e-12, atol=0)


def test_what_overflows_on_the_way_comes_right():
    """Positions that are not right yet may overflow; later sweeps mend them."""

    class Explosive(MADE):
        def forward(self, x, context=None):
            before = torch.cat([torch.full_like(x[:, :1], -40.0), x[:, :-1]], 1)
            return torch.stack([-40.0 * torch.ones_like(x), 30 * (before + 40)], 1)

    layer = Autoregressive(Explosive(6, 2, (4,)), Affine(bound=float("inf")))
    with by_sweeps(layer), torch.no_grad():
        x, _ = layer.forward(torch.zeros(3, 6))
    assert torch.equal(x, torch.full((3, 6), -40.0))


@pytest.mark.usefixtures("float64")
def test_gradients_of_swept_samples_are_those_of_steps():
    flow = randomise(RECIPES["maf"].build((6,)).eval())
    z = torch.randn(7, 6, requires_grad=True)
    weights = [p for p in flow.parameters() if p.requires_grad]

    def gradients():
        x, log_det = flow.bijection.forward(z)
        return torch.autograd.grad((x.sin().sum(1) + log_det).sum(), (z, *weights))

    stepped = gradients()
    with by_sweeps(flow):
        swept = gradients()
    for a, b in zip(swept, stepped, strict=True):
        torch.testing.assert_close(a, b, atol=1e-8, rtol=1e-7)


def test_outside_of_it_layers_step_again():
    flow = RECIPES["maf"].build((4,)).eval()
    layers = [m for m in flow.modules() if isinstance(m, Autoregressive)]

    def fail():
        with by_sweeps(flow):
            assert {id(layer) for layer in layers} == _SWEPT.get()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not _SWEPT.get()
