"""Stepping a masked net against its reference, which runs it whole for every element."""

import pytest
import torch

from cases import CONVERTED, ELEMENTWISE, randomise
from caudal import Flow, Inverse, recipes
from caudal.base import Normal
from caudal.bijections import Autoregressive
from caudal.elementwise import Affine, RationalQuadraticSpline
from caudal.nets import MADE, Rerun
from caudal.nets.fast import blocks
from caudal.nets.fast.blocks import BLOCK
from caudal.nets.fast.kernels import block_kernel

SIZES = [1, 2, 7, 2 * BLOCK + 3]


@pytest.fixture(params=["plain", "compiled"])
def way(request, monkeypatch):
    """Both ways to step without gradient."""
    if request.param == "plain":
        monkeypatch.setattr(blocks, "block_kernel", lambda: None)
    elif block_kernel() is None:
        pytest.skip("Numba is not installed")
    monkeypatch.setattr(blocks, "_ROWS_A_STEP", 1000)


def pair(elementwise, features, context=0, width=40, **options):
    """The same layer twice: stepped, and by its reference."""
    net = randomise(MADE(features, elementwise.n_params, (width,) * 3, context, **options))
    return Autoregressive(net, elementwise), Autoregressive(Rerun(net), elementwise)


def inputs(features, context, rows=6):
    z = torch.randn(rows, features)
    return z, torch.randn(rows, context) if context else None


@pytest.mark.parametrize("features", SIZES)
@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("width", [3, 70])
@pytest.mark.usefixtures("float64", "way")
def test_steps_give_what_whole_passes_give(features, context, residual, width):
    options = {"residual": residual, "direct": features % 2 == 1}
    fast, slow = pair(Affine(), features, context, width, **options)
    for batch in (1, 20):
        z, rows = inputs(features, context, batch)
        truth = slow.forward(z, rows)
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                for ours, theirs in zip(fast.forward(z, rows), truth, strict=True):
                    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", ELEMENTWISE | CONVERTED)
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.usefixtures("way")
def test_every_elementwise_map_steps_in_single_precision(name, grad):
    fast, slow = pair((ELEMENTWISE | CONVERTED)[name], BLOCK + 2, activation_name="tanh")
    z = 2 * inputs(BLOCK + 2, 0)[0]  # some in the tails of the splines
    with torch.set_grad_enabled(grad):
        for ours, theirs in zip(fast.forward(z), slow.forward(z), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("elementwise", [Affine(), RationalQuadraticSpline(bins=4)])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.usefixtures("float64")
def test_gradients_through_sampling_agree(elementwise, residual):
    fast, slow = pair(elementwise, BLOCK + 2, 2, residual=residual, direct=True)
    z, rows = (given.requires_grad_() for given in inputs(BLOCK + 2, 2))
    gradients = []
    for layer in (fast, slow):
        x, log_det = layer.forward(z, rows)
        loss = x.sin().sum() + log_det.square().sum()
        gradients.append(torch.autograd.grad(loss, [z, rows, *layer.parameters()]))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-8)


@pytest.mark.usefixtures("float64")
def test_an_iaf_scores_by_steps():
    fast, slow = pair(Affine(), BLOCK + 2)
    x, _ = inputs(BLOCK + 2, 0)
    ours, theirs = (
        Flow(Inverse(layer), Normal((BLOCK + 2,))).log_prob(x) for layer in (fast, slow)
    )
    torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-12)


def test_the_same_seed_gives_the_same_sample_in_pieces_of_any_size(monkeypatch):
    flow = randomise(recipes.MAF(layers=2, hidden=(16,)).build((5,))).eval()
    samples = []
    for rows in (7, 10_000):
        monkeypatch.setattr("caudal.bijection._VECTORS", (rows, 1))
        samples.append(flow.sample(100, generator=torch.Generator().manual_seed(3)))
    torch.testing.assert_close(*samples, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("float64", "way")
def test_a_whole_flow_samples_what_it_scores():
    flow = randomise(recipes.NSFAR(layers=2, hidden=16).build((30,), (2,))).eval()
    context = torch.randn(8, 2)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            x, log_prob = flow.sample_with_log_prob(8, context)
            torch.testing.assert_close(flow.log_prob(x, context), log_prob)


@pytest.mark.usefixtures("way")
def test_samples_lie_in_memory_as_users_expect():
    flow = randomise(recipes.MAF(layers=1, hidden=(16,)).build((30,))).eval()
    x = flow.sample(4)
    assert x.is_contiguous()
    assert flow.encode(x).is_contiguous()


def test_autocast_steps_in_half_precision_but_data_stay_whole():
    flow = randomise(recipes.MAF(layers=1, hidden=(16,)).build((5,))).eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert flow.sample(4).dtype == torch.float32
