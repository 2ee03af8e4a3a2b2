"""DESIGN's laws, over every bijection and every recipe, with and without context."""

from copy import deepcopy
from functools import cache

import pytest
import torch

from cases import ELEMENTWISE, RECIPES, Board, bijections, randomise
from caudal.bijections import Autoregressive, Coupling
from caudal.elementwise import Affine, RationalQuadraticSpline
from caudal.nets import MADE

BATCH = 7
SIZES = [1, 2, 5, 12]
SHAPES = [(1, 0), (1, 3), (2, 0), (5, 3), (12, 0)]
"""Columns, and numbers of context: each size once, and one column both ways."""
GRID = [(name, *shape) for shape in SHAPES for name in bijections(*shape)]
RECIPE_GRID = [(name, *shape) for name in RECIPES for shape in SHAPES]


@cache
def fresh(features, context, dtype):
    """All bijections, made once: a test takes a copy of one."""
    return bijections(features, context)


def built(name, features, context, device):
    if name in RECIPES:
        shape = (context,) if context else None
        module = RECIPES[name].build((features,), shape).eval().bijection
    else:
        module = deepcopy(fresh(features, context, torch.get_default_dtype())[name])
        torch.manual_seed(1)  # whichever test made them
    rows = torch.randn(BATCH, context) if context else None
    return randomise(module).to(device), None if rows is None else rows.to(device)


@pytest.mark.parametrize(("name", "features", "context"), GRID + RECIPE_GRID)
@pytest.mark.usefixtures("float64")
def test_round_trip_and_log_det(name, features, context, device):
    """And that a pass changes no state."""
    bijection, rows = built(name, features, context, device)
    before = {key: value.clone() for key, value in bijection.state_dict().items()}
    z = torch.randn(BATCH, features, device=device)
    x, log_det = bijection.forward(z, rows)
    back, log_det_back = bijection.inverse(x, rows)
    for key, value in bijection.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert x.shape == z.shape
    assert log_det.shape == log_det_back.shape == (BATCH,)
    torch.testing.assert_close(back, z, atol=1e-9, rtol=0)
    torch.testing.assert_close(
        log_det + log_det_back, torch.zeros_like(log_det), atol=1e-8, rtol=0
    )
    if features > 5:
        return
    one = None if rows is None else rows[1:2]
    for function, point, told in (
        (bijection.forward, z, log_det),
        (bijection.inverse, x, log_det_back),
    ):
        jacobian = torch.autograd.functional.jacobian(
            lambda v, f=function: f(v[None], one)[0][0], point[1]
        )
        torch.testing.assert_close(
            torch.linalg.slogdet(jacobian).logabsdet, told[1], atol=1e-8, rtol=1e-8
        )


@pytest.mark.parametrize("name", RECIPES)
def test_float32_round_trip_on_noise(name, device):
    bijection, rows = built(name, 5, 3, device)
    z = torch.randn(BATCH, 5, device=device)
    x, _ = bijection.forward(z, rows)
    torch.testing.assert_close(bijection.inverse(x, rows)[0], z, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.usefixtures("float64")
def test_zero_parameters_are_the_identity(name):
    elementwise = ELEMENTWISE[name]
    values = torch.linspace(-6, 6, 50).repeat(2, 1)
    zeros = torch.zeros(2, elementwise.n_params, 50)
    for direction in (elementwise.forward, elementwise.inverse):
        moved, log_slope = direction(values, zeros)
        torch.testing.assert_close(moved, values, atol=1e-9, rtol=0)
        torch.testing.assert_close(log_slope, torch.zeros_like(values), atol=1e-9, rtol=0)


# A mixture starts with its components apart (see Mixture.spread): near the identity, not at it.
# Residual blocks start as nets start: from zero they learn too slowly. Angles start as uniform,
# and NICE at the deviation of its logistic noise.
ELSEWHERE = {
    "nice",
    "maf-mog",
    "tarflow-mixture",
    "iresnet",
    "residual-flow",
    "ncsf",
    "ncsf-autoregressive",
}


@pytest.mark.parametrize("name", sorted(set(RECIPES) - ELSEWHERE))
@pytest.mark.usefixtures("float64")
def test_a_new_flow_is_the_identity_up_to_order(name):
    flow = RECIPES[name].build((6,)).eval()
    x = torch.randn(5, 6)
    z, log_det = flow.bijection.inverse(x)
    # An untouched BatchNorm divides by sqrt(1 + eps) each time; the rest is exact.
    torch.testing.assert_close(z.sort(1).values, x.sort(1).values, atol=1e-4, rtol=0)
    torch.testing.assert_close(log_det, torch.zeros(5), atol=1e-3, rtol=0)


@pytest.mark.parametrize("features", SIZES)
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("width", [2, 40])
@pytest.mark.usefixtures("float64")
def test_a_causal_net_steps_as_it_runs_whole(features, context, residual, width):
    net = randomise(MADE(features, 3, (width,) * 3, context, residual=residual, direct=True))
    x = torch.randn(BATCH, features)
    rows = torch.randn(BATCH, context) if context else None
    whole = net(x, rows)
    value, state, columns = None, net.start(x, rows), []
    for position in range(features):
        params, state = net.step(value, state)
        columns.append(params)
        value = x[:, position : position + 1]
    torch.testing.assert_close(torch.cat(columns, -1), whole, atol=1e-12, rtol=0)


@pytest.mark.parametrize("features", [1, 5, 12])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.usefixtures("float64")
def test_made_sees_only_the_past(features, residual):
    net = randomise(MADE(features, 2, (30,) * 3, residual=residual, direct=True), 1.0)
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x[None])[0], torch.randn(features))
    assert (jacobian.triu(0) == 0).all()  # (P, D out, D in): exactly zero on and above
    if features > 1:
        assert (jacobian.tril(-1).abs().sum(0)[-1, :-1] > 0).all()  # the last sees all others


@pytest.mark.parametrize("elementwise", [Affine(), RationalQuadraticSpline()])
@pytest.mark.usefixtures("float64")
def test_a_checkerboard_keeps_what_it_keeps(elementwise):
    keep = (torch.arange(4)[:, None] + torch.arange(4)) % 2 == 0
    keep = keep.expand(2, 4, 4)
    bijection = randomise(Coupling(Board(2, elementwise.n_params), elementwise, keep))
    z = torch.randn(BATCH, 2, 4, 4)
    x, log_det = bijection.forward(z)
    assert torch.equal(x[:, keep], z[:, keep])
    assert not torch.equal(x[:, ~keep], z[:, ~keep])
    back, log_det_back = bijection.inverse(x)
    torch.testing.assert_close(back, z, atol=1e-9, rtol=0)
    torch.testing.assert_close(log_det, -log_det_back, atol=1e-9, rtol=0)


@pytest.mark.usefixtures("float64")
def test_maf_and_iaf_are_each_other_with_directions_swapped():
    from caudal import Flow, Inverse
    from caudal.base import Normal

    layer = randomise(Autoregressive(MADE(6, 2, (20, 20)), Affine()))
    maf, iaf = Flow(layer, Normal((6,))), Flow(Inverse(layer), Normal((6,)))
    z = torch.randn(BATCH, 6)
    x, log_det = maf.bijection.forward(z)
    torch.testing.assert_close(iaf.encode(x), maf.decode(x), atol=1e-9, rtol=0)
    expected = maf.base.log_prob(maf.decode(x)) + maf.bijection.forward(x)[1]
    torch.testing.assert_close(iaf.log_prob(x), expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(maf.log_prob(x), maf.base.log_prob(z) - log_det, atol=1e-9, rtol=0)
