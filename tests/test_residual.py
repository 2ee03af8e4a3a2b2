"""Residual bijections: their estimates, what repeats, what is drawn anew, and their gradients."""

import math

import pytest
import torch

from caudal import Chain, Flow, NumericalError
from caudal.base import Normal
from caudal.bijections import Residual
from caudal.bijections.iterated import EXACT
from caudal.numerics import Roulette, Truncated, drawing
from caudal.recipes import IResNet, MintNet
from contractions import Contraction

LARGE = EXACT + 6
SERIES = {"unbiased": Roulette(terms=3, mean=1.0), "biased": Truncated(terms=4)}


def block(elements=LARGE, kind="unbiased", lipschitz=0.7, context=0):
    net = Contraction(elements, lipschitz, context=context)
    return Residual(net, (elements,), Roulette(1), SERIES[kind]).eval()


def truth(bijection, x):
    eye = torch.eye(x.shape[1])
    rows = [torch.autograd.functional.jacobian(lambda v: bijection.net(v[None])[0], r) for r in x]
    return torch.linalg.slogdet(torch.stack(rows) + eye).logabsdet


@pytest.mark.parametrize("kind", SERIES)
@pytest.mark.usefixtures("float64")
def test_large_events_are_estimated_and_say_so(kind):
    large, small = block(kind=kind), block(EXACT, kind)
    assert (large.kind, small.kind) == (kind, "exact")
    assert small.bias_bound() == 0
    expected = LARGE * Truncated(4).bias_bound(0.7) if kind == "biased" else 0
    assert large.bias_bound() == expected
    x = torch.randn(4, EXACT)
    torch.testing.assert_close(small.inverse(x)[1], truth(small, x), atol=1e-10, rtol=0)


@pytest.mark.usefixtures("float64")
def test_repeated_scores_are_equal_and_do_not_depend_on_other_rows():
    flow = Flow(Chain([block(), block()]), Normal((LARGE,))).eval()
    x = torch.randn(30, LARGE)
    whole = flow.log_prob(x)
    assert torch.equal(whole, flow.log_prob(x))
    torch.testing.assert_close(flow.log_prob(x[7:9]), whole[7:9], atol=1e-9, rtol=0)
    again = Flow(Chain([block(), block()]), Normal((LARGE,))).eval()
    again.load_state_dict(flow.state_dict())
    assert torch.equal(whole, again.log_prob(x))


@pytest.mark.parametrize("kind", SERIES)
@pytest.mark.usefixtures("float64")
def test_drawn_scores_are_spread_around_the_truth(kind):
    bijection = block(kind=kind)
    x = torch.randn(1, LARGE)
    rows, generator = x.expand(200, LARGE), torch.Generator().manual_seed(5)
    with drawing(generator), torch.no_grad():
        found = torch.stack([bijection.inverse(rows)[1] for _ in range(50)])
    assert len(found[0].unique()) == 200  # of one call, each row has its own
    error = float(found.mean(1).std()) / math.sqrt(50)
    off = abs(float(found.mean() - truth(bijection, x)))
    assert error > 0
    assert off < 4 * error + bijection.bias_bound()


@pytest.mark.usefixtures("float64")
def test_in_training_every_pass_draws_anew():
    bijection = block().train()
    x = torch.randn(3, LARGE)
    assert not torch.equal(bijection.inverse(x)[1], bijection.inverse(x)[1])


@pytest.mark.parametrize("elements", [3, 12])
@pytest.mark.usefixtures("float64")
def test_gradients_of_an_exact_score_are_right(elements):
    x = torch.randn(3, elements, requires_grad=True)
    torch.autograd.gradcheck(block(elements).inverse, (x,))


@pytest.mark.usefixtures("float64")
def test_gradients_of_an_estimated_score_are_right_in_the_mean():
    bijection = block(kind="biased", lipschitz=0.4)
    bijection.series[False] = Truncated(30)
    x = torch.randn(1, LARGE, requires_grad=True)
    rows = x.detach().repeat(4000, 1).requires_grad_()
    with drawing(torch.Generator().manual_seed(0)):
        (drawn,) = torch.autograd.grad(bijection.inverse(rows)[1].sum(), rows)
    jacobian = torch.func.jacrev(lambda v: bijection.net(v[None])[0])(x[0])
    (expected,) = torch.autograd.grad(
        torch.linalg.slogdet(jacobian + torch.eye(LARGE)).logabsdet, x
    )
    error = drawn.std(0) / math.sqrt(len(drawn))
    assert float(((drawn.mean(0) - expected[0]).abs() / error).max()) < 5
    assert float((expected[0].abs() / error).max()) > 10  # it would find a term left out


@pytest.mark.usefixtures("float64")
def test_samples_are_reparameterised():
    bijection = block(5, context=2)
    z, context = torch.randn(4, 5, requires_grad=True), torch.randn(4, 2, requires_grad=True)
    torch.autograd.gradcheck(bijection.forward, (z, context), atol=1e-5)


def test_scores_under_no_grad_and_inference_mode_are_those_with_gradients():
    bijection = block()
    x = torch.randn(6, LARGE)
    z, log_det = bijection.inverse(x)
    assert log_det.requires_grad
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            z_again, log_det_again = bijection.inverse(x.clone())
            back, _ = bijection.forward(z_again)
        assert not log_det_again.requires_grad
        torch.testing.assert_close(z_again, z)
        torch.testing.assert_close(log_det_again, log_det)
        torch.testing.assert_close(back, x, atol=1e-4, rtol=0)


def test_a_net_that_is_no_contraction_raises():
    bijection = block(6, lipschitz=400.0)
    with pytest.raises(
        NumericalError,
        match=r"whose net caudal.calibrate makes a contraction: \d+ of 50 rows have not",
    ):
        bijection.forward(10 * torch.randn(50, 6))


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_half_precision_leaves_the_log_det_alone(precision):
    bijection = block()
    x = torch.randn(6, LARGE)
    plain = bijection.inverse(x)[1]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        torch.testing.assert_close(bijection.inverse(x)[1], plain)


def test_samples_under_half_precision_are_those_of_full():
    bijection, z = block(), torch.randn(6, LARGE)
    plain = bijection.forward(z)[0]
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(bijection.forward(z)[0], plain)


@pytest.mark.parametrize("recipe", [IResNet(blocks=1, hidden=(8,)), MintNet(layers=1, latents=4)])
def test_context_may_come_in_half_precision(recipe):
    """The context comes from an embedding under autocast; these layers keep full precision."""
    inner = recipe.build((3,), (4,))
    embedding = torch.nn.Linear(2, 4)
    flow = Flow(inner.bijection, inner.base, context_shape=(2,), embedding=embedding)
    x, context = torch.randn(5, 3), torch.randn(5, 2)
    with torch.autocast("cpu", torch.bfloat16):
        log_prob = flow.log_prob(x, context)
        assert flow.sample(5, context).isfinite().all()
    assert log_prob.dtype == torch.float32
    log_prob.sum().backward()
    assert embedding.weight.grad.isfinite().all()


def test_samples_and_codes_do_without_log_dets():
    flow = Flow(block(), Normal((LARGE,))).eval()
    pushed = []
    linearised = flow.bijection.net.linearised
    flow.bijection.net.linearised = lambda x, c=None: (
        linearised(x, c)[0],
        lambda v: pushed.append(v) or linearised(x, c)[1](v),
    )
    x = flow.sample(5)
    torch.testing.assert_close(flow.decode(flow.encode(x)), x, atol=1e-4, rtol=0)
    assert not pushed
    assert bool(flow.bijection.forward(x)[1].all())
    assert pushed


def test_noise_that_is_no_number_is_said_to_be_none():
    z = torch.randn(5, 6)
    z[2, 1] = math.nan
    with pytest.raises(NumericalError, match=r"a contraction: 1 of 5 rows are not finite"):
        block(6).forward(z)
