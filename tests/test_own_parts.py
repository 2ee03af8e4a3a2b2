"""Parts written outside of the package, forward hooks, and what `repr` says of a flow."""

import pytest
import torch
from torch import nn

from caudal import Chain, Flow, Inverse, recipes
from caudal.base import Normal
from caudal.bijections import (
    ActNorm,
    Autoregressive,
    Coupling,
    FactorOut,
    Flip,
    Logit,
    Permutation,
    Pointwise,
    Residual,
    Squeezed,
    Standardise,
    Support,
)
from caudal.dequantization import AudioDequantization, Dequantization, ImageDequantization
from caudal.elementwise import Affine, Elementwise, RationalQuadraticSpline, Shift, Swapped
from caudal.nets import MADE, MLP, CausalNet, ColumnEmbedding, LipschitzMLP, Stepwise
from caudal.numerics import Roulette, Truncated


class Stretch(Elementwise):
    """x = z exp(a), with nothing but what an elementwise map needs."""

    n_params = 1

    def forward(self, z, params):
        return z * params[:, 0].exp(), params[:, 0]

    def inverse(self, x, params):
        return x * (-params[:, 0]).exp(), -params[:, 0]


class Sums(CausalNet):
    """Parameters from the sum of all elements before, with nothing but `forward`."""

    def __init__(self, n_params):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_params))

    def forward(self, x, context=None):
        before = x.cumsum(-1) - x
        if context is not None:
            before = before + context
        return torch.tanh(before.unsqueeze(1) * self.weight[:, None])


class Halves(Dequantization):
    """Whole numbers plus one half, with nothing but what a dequantisation needs."""

    event_shape = (3,)

    def lift(self, x, generator=None):
        return x + 0.5, x.new_zeros(len(x))

    def lower(self, y):
        return y.floor()


def check(bijection, features=3, context=None):
    x = torch.randn(5, features)
    z, log_det = bijection.inverse(x, context)
    back, log_det_back = bijection.forward(z, context)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(log_det, -log_det_back)


@pytest.mark.usefixtures("float64")
def test_an_elementwise_map_needs_three_members():
    assert Stretch().scalar is None
    assert Stretch().in_tails(torch.zeros(2)) is None
    assert repr(Stretch()) == "Stretch()"
    check(Autoregressive(MADE(3, 1, (8,)), Stretch()))
    check(Coupling(MLP(1, 2, 1, (8,)), Stretch(), torch.arange(3) < 1))
    check(Pointwise(Stretch(), (3,)))
    check(Autoregressive(MADE(3, 1, (8,)), Swapped(Stretch())))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("grad", [False, True])
def test_a_causal_net_needs_forward_alone(grad):
    with torch.set_grad_enabled(grad):
        check(Autoregressive(Sums(2), Affine()))
        check(Autoregressive(Sums(2), Affine()), context=torch.randn(5, 3))
        check(Inverse(Autoregressive(Stepwise(Sums(2)), Affine())))
    assert Sums(2).unroll(torch.randn(5, 3), Affine().scalar) is None


def test_a_dequantisation_needs_no_statistics():
    flow = Flow(Flip(), Normal((3,)), dequantization=Halves())
    flow.dequantization.observe(torch.ones(2, 3))
    x = flow.sample(4)
    assert torch.equal(x, x.floor())


# --- hooks -----------------------------------------------------------------------------------


def test_forward_hooks_of_all_parts_fire_when_sampling():
    inner = Chain([ActNorm((8, 1, 1)), Flip()])
    layers = Chain([Squeezed(inner), Inverse(Logit(0.1)), Flip()])
    flow, fired = Flow(layers, Normal((2, 4, 4))), []
    for name, part in flow.bijection.named_modules():
        part.register_forward_hook(lambda *_, name=name: fired.append(name))
    flow.sample(3)
    # The map inside an `Inverse` runs in its inverse direction, which has no hooks.
    assert fired == ["parts.0.bijection.parts.0", "parts.0.bijection.parts.1"] + [
        "parts.0.bijection",
        "parts.0",
        "parts.1",
        "parts.2",
        "",
    ]
    fired.clear()
    flow.log_prob(flow.sample(3))
    assert fired.count("parts.1.bijection") == 1


# --- repr ------------------------------------------------------------------------------------

NET = LipschitzMLP(3, (8,), 0.9, "lipswish")
LINES = [
    (
        Coupling(MLP(3, 3, 23, (8,)), RationalQuadraticSpline(), torch.arange(6) < 3),
        "Coupling(keeps 3 of 6, moved by RationalQuadraticSpline(bins=8, bound=3.0))",
    ),
    (Autoregressive(MADE(3, 1, (8,)), Shift()), "Autoregressive(moved by Shift())"),
    (
        Inverse(Autoregressive(MADE(3, 2, (8,)), Affine(bound=5.0))),
        "Inverse(Autoregressive(moved by Affine(bound=5.0, floor=None)))",
    ),
    (Permutation(torch.arange(4)), "Permutation(4 channels)"),
    (Standardise((4,)), "Standardise(4 channels)"),
    (FactorOut(Flip(), 2), "FactorOut(2 channels, Flip())"),
    (
        Support(torch.tensor([0.0, -torch.inf]), torch.tensor([1.0, torch.inf])),
        "Support(2 columns, 1 bounded)",
    ),
    (
        Residual(NET, (3,), Roulette(1), Truncated(5)),
        "Residual(elements=3, training=Roulette(terms=1, mean=2.0, law='geometric'), "
        "evaluation=Truncated(terms=5))",
    ),
    (Normal((1, -1)), "Normal(event_shape=(1, -1))"),
    (AudioDequantization(8), "AudioDequantization(bits=8)"),
    (
        ImageDequantization((1, 8, 8), 16),
        "ImageDequantization(event_shape=(1, 8, 8), levels=16)",
    ),
    (ColumnEmbedding([0, 3]), "ColumnEmbedding(levels=(0, 3))"),
]


@pytest.mark.parametrize(("part", "line"), LINES, ids=lambda value: type(value).__name__)
def test_a_part_is_one_line_of_its_settings(part, line):
    assert repr(part) == line


def test_a_flow_lists_its_parts():
    chain = Chain([Chain([Flip()]), Squeezed(Chain([ActNorm((4, 1, 1))]))])
    flow = Flow(chain, Normal((1, 2, 2)), context_shape=(2,), embedding=ColumnEmbedding([0, 3]))
    assert repr(flow) == (
        "Flow(\n"
        "  base: Normal(event_shape=(1, 2, 2))\n"
        "  bijection: Chain(\n"
        "    0: Chain(\n"
        "      0: Flip()\n"
        "    )\n"
        "    1: Squeezed(Chain(\n"
        "      0: ActNorm(4 channels)\n"
        "    ))\n"
        "  )\n"
        "  context_shape: (2,)\n"
        "  embedding: ColumnEmbedding(levels=(0, 3))\n"
        ")"
    )
    assert repr(Chain([])) == "Chain()"


@pytest.mark.parametrize("net", [MADE(3, 2, (8, 8)), MLP(2, 2, 3, (8,)), NET])
def test_a_net_starts_with_its_settings(net):
    first, *rest = repr(net).splitlines()
    assert first == f"{type(net).__name__}("
    assert "=" in rest[0]


@pytest.mark.parametrize("name", ["nsf", "maf", "mintnet", "iresnet"])
def test_every_recipe_has_a_short_repr(name):
    text = repr(recipes.RECIPES[name]().build((6,)))
    assert len(text.splitlines()) < 60
    assert "Linear(" not in text.replace("LULinear(", "")
