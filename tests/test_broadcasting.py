"""Rows and contexts of any shapes before the event, in every way that a flow takes them."""

import numpy as np
import pytest
import torch

from cases import randomise
from caudal import Chain, Flow, InputError, losses
from caudal.base import Normal
from caudal.recipes import MAF, RealNVP

FLOW = randomise(RealNVP(layers=2, hidden=(8,)).build((2,), (3,)).eval())
X, CONTEXT = torch.randn(4, 5, 2), torch.randn(5, 3)
ALL = CONTEXT.expand(4, 5, 3)


def by_rows(x, context):
    return FLOW.log_prob(x.reshape(-1, 2), context.reshape(-1, 3)).reshape(x.shape[:-1])


@pytest.mark.parametrize(
    ("x", "context", "whole"),
    [
        (X, CONTEXT, (X, ALL)),
        (X, CONTEXT[0], (X, CONTEXT[0].expand(4, 5, 3))),
        (X[0], CONTEXT[:1], (X[0], CONTEXT[:1].expand(5, 3))),
        (X[0, 0], CONTEXT, (X[0, 0].expand(5, 2), CONTEXT)),
        (X[0, 0], CONTEXT[0], (X[0, 0], CONTEXT[0])),
        (X[:, :1], CONTEXT, (X[:, :1].expand(4, 5, 2), ALL)),
    ],
)
def test_rows_and_contexts_broadcast(x, context, whole):
    expected = by_rows(*whole)
    torch.testing.assert_close(FLOW.log_prob(x, context), expected)
    z = FLOW.encode(x, context)
    assert z.shape == whole[0].shape
    torch.testing.assert_close(FLOW.decode(z, context), whole[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(FLOW.log_prob_with_error(x, context)[0], expected)
    torch.testing.assert_close(losses.nll(FLOW, x, context), -expected.mean())
    torch.testing.assert_close(losses.nll_per_element(FLOW, x, context), -expected.mean() / 2)
    teacher = RealNVP(layers=1, hidden=(8,)).build((2,), (3,)).eval()
    assert losses.forward_kl(FLOW, teacher, x, context).shape == ()


@pytest.mark.parametrize(
    ("n", "context", "shape"),
    [
        (7, CONTEXT[0], (7,)),
        (5, CONTEXT, (5,)),
        (7, CONTEXT[:1], (7,)),
        ((7,), CONTEXT, (7, 5)),
        ((), CONTEXT, (5,)),
        ((2, 3), CONTEXT[0], (2, 3)),
        ((), CONTEXT[0], ()),
    ],
)
def test_samples_of_shapes(n, context, shape):
    assert FLOW.sample(n, context).shape == (*shape, 2)
    x, log_prob = FLOW.sample_with_log_prob(n, context)
    assert log_prob.shape == shape
    torch.testing.assert_close(log_prob, FLOW.log_prob(x, context), atol=1e-4, rtol=1e-4)


def test_samples_follow_their_own_context():
    flow = MAF(layers=1, hidden=(8,)).build((2,), (3,)).eval()
    randomise(flow, 1.0)
    draw = lambda n, c: flow.sample(n, c, generator=torch.Generator().manual_seed(0))  # noqa: E731
    many = draw((4,), CONTEXT)
    torch.testing.assert_close(many, draw(20, CONTEXT.repeat(4, 1)).view(4, 5, 2))


def test_without_context():
    flow = Flow(Chain([]), Normal((2,)))
    assert flow.sample((5,)).shape == (5, 2)
    assert flow.sample(5).shape == (5, 2)
    assert flow.log_prob(X).shape == (4, 5)
    torch.testing.assert_close(flow.log_prob(X[0, 0]), flow.log_prob(X[0])[0])


def test_losses_of_samples_take_one_context_or_all():
    teacher = RealNVP(layers=1, hidden=(8,)).build((2,), (3,)).eval()
    for context in (CONTEXT, CONTEXT[0]):
        assert losses.reverse_kl(FLOW, teacher, 5, context).isfinite()


def test_numpy_arrays():
    x, context = X.numpy().astype(np.float64), CONTEXT.numpy()
    torch.testing.assert_close(FLOW.log_prob(x, context), by_rows(X, ALL))
    assert FLOW.sample((2,), context).shape == (2, 5, 2)
    z = FLOW.encode(x, context).numpy(force=True)
    torch.testing.assert_close(FLOW.decode(z, context), X, atol=1e-4, rtol=1e-4)
    many = FLOW.distribution(context)
    torch.testing.assert_close(many.log_prob(x), by_rows(X, ALL))
    with pytest.raises(InputError, match="`x` must be a tensor or an array of numbers, got ndarr"):
        FLOW.log_prob(np.array(["a"]), context)
    with pytest.raises(InputError, match="`x` must be a tensor or an array of numbers, got list"):
        FLOW.log_prob([1.0], context)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: FLOW.log_prob(X, torch.randn(3, 3)), "do not broadcast"),
        (lambda: FLOW.sample(4, CONTEXT), r"4 samples for contexts of shape \(5,\)"),
        (lambda: FLOW.sample((-1,), CONTEXT), "must be at least 0"),
        (lambda: losses.reverse_kl(FLOW, FLOW, 4, CONTEXT), r"for \(4,\) rows: give one, or all"),
        (lambda: FLOW.log_prob(torch.randn(2), torch.randn(4)), "`context` must have shape"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(InputError, match=words):
        call()
