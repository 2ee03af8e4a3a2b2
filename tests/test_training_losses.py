"""Losses that take derivatives of x, weights of rows, and modules that are no flows."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import caudal
from caudal import Flow, InputError, Training
from caudal.base import Normal
from caudal.bijections import Scale
from caudal.data import Rows
from caudal.recipes import NICE

TRAINING = Training(steps=60, batch_size=100, lr=3e-2, warmup=0, validate_every=30)


def scale():
    """A normal law of two columns, whose deviations are learned: the simplest flow."""
    return Flow(Scale((2,)), Normal((2,)))


def deviations(flow):
    return flow.sample_with_log_prob(4000)[0].std(0).detach()


def score_matching(flow, x, context):
    """Hyvarinen's loss, tr H + |grad|^2 / 2 of log p, of each row."""
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(flow.log_prob(x).sum(), x, create_graph=True)
    columns = (torch.autograd.grad(slope[:, i].sum(), x, create_graph=True)[0] for i in (0, 1))
    trace = sum(column[:, i] for i, column in enumerate(columns))
    return trace + slope.square().sum(1) / 2


def test_a_loss_may_take_derivatives_of_x():
    torch.manual_seed(0)
    x = torch.randn(1000, 2) * torch.tensor([0.5, 2.0])
    flow = scale()
    fitted = caudal.fit(flow, x, training=TRAINING, loss=score_matching)
    torch.testing.assert_close(deviations(flow), x.std(0), atol=0.2, rtol=0.1)
    # With the right deviations s the loss is -sum 1 / (2 s^2).
    assert fitted.best_valid == pytest.approx(-0.5 * (1 / 0.25 + 1 / 4), rel=0.2)


@pytest.mark.parametrize("loss", [caudal.losses.nll, lambda f, x, c: -f.log_prob(x)])
@pytest.mark.parametrize("kind", [torch.as_tensor, np.asarray, list])
def test_rows_have_weights(loss, kind):
    torch.manual_seed(0)
    x = torch.cat([0.5 * torch.randn(500, 2), 3 * torch.randn(500, 2)])
    weights = torch.cat([torch.full((500,), 5.0), torch.zeros(500)])
    flow = scale()
    fitted = caudal.fit(flow, x, weights=kind(weights.tolist()), training=TRAINING, loss=loss)
    torch.testing.assert_close(deviations(flow), torch.full((2,), 0.5), atol=0.1, rtol=0)
    entropy = math.log(2 * math.pi * math.e * 0.25)
    assert fitted.best_valid == pytest.approx(entropy, abs=0.4)


def test_equal_weights_change_nothing():
    x = torch.randn(300, 2)
    brief = Training(steps=4, batch_size=50)
    results = []
    for weights in (None, torch.full((300,), 7.0)):
        torch.manual_seed(1)
        results.append(
            caudal.fit(NICE(hidden=(8,)).build((2,)), x, weights=weights, training=brief)
        )
    assert results[0].best_valid == pytest.approx(results[1].best_valid, abs=1e-5)


class Joint(nn.Module):
    """A flow of codes, and an encoder of rows, which are trained together."""

    def __init__(self):
        super().__init__()
        self.flow = scale()
        self.encoder = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(3)


def joint_loss(module, x, context):
    codes = module.encoder(module.norm(x))
    return -module.flow.log_prob(codes + 0.1 * torch.randn_like(codes))


def test_a_module_of_ones_own_is_trained():
    torch.manual_seed(0)
    module, x = Joint(), torch.randn(300, 3)
    before = joint_loss(module, x, None).mean()
    fitted = caudal.fit(module, x, training=TRAINING, loss=joint_loss)
    assert fitted.flow is module
    assert not module.training
    assert fitted.best_valid < before
    assert module.norm.running_mean.abs().sum() > 0


BRIEF = Training(steps=1, batch_size=10)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: caudal.fit(Joint(), x, training=BRIEF), "Joint is no Flow: give the `loss"),
        (
            lambda x: caudal.fit(Joint(), x, training=BRIEF, loss=joint_loss, out="run"),
            "Joint is not a Flow, so it leaves no run",
        ),
        (lambda x: caudal.fit(nn.Tanh(), x, loss=joint_loss), "Tanh has no weights to train"),
        (
            lambda x: caudal.fit(scale(), x[:, :2], weights=torch.ones(3), training=BRIEF),
            r"`weights` must be one number a row, \(50,\), got \(3,\)",
        ),
        (
            lambda x: caudal.fit(scale(), x[:, :2], weights=-torch.ones(50), training=BRIEF),
            "`weights` must be at least 0",
        ),
        (
            lambda x: caudal.fit(scale(), Rows(x[:, :2]), weights=torch.ones(50), training=BRIEF),
            "`weights` of a source are its own",
        ),
        (
            lambda x: caudal.fit(
                scale(),
                x[:, :2],
                weights=torch.ones(50),
                training=BRIEF,
                loss=lambda f, x, c: -f.log_prob(x).mean(),
            ),
            "rows with `weights` need a loss of each row.*leave its mean out",
        ),
    ],
)
def test_refusals(call, words):
    with pytest.raises(InputError, match=words):
        call(torch.randn(50, 3))
