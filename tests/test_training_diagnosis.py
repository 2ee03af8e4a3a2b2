"""The first number that is not finite is found, named and explained."""

import math
from types import SimpleNamespace

import pytest
import torch

from caudal import Chain, Distillation, NumericalError
from caudal.base import Normal
from caudal.bijection import Bijection
from caudal.bijections import Scale, Support
from caudal.data import Batch, Rows
from caudal.flow import Flow
from caudal.losses import nll
from caudal.numerics import own_randomness
from caudal.recipes import MAF
from caudal.training.cautions import after
from caudal.training.chains import Chains
from caudal.training.checkpoint import load_model
from caudal.training.devices import launch
from caudal.training.engine import Engine, NotFiniteError
from caudal.training.fit import fit
from caudal.training.options import Training
from caudal.training.run import Run

TRAINING = Training(steps=20, batch_size=64, warmup=0, validate_every=4)


def data(n=640, features=2):
    return torch.rand(n, features, generator=torch.Generator().manual_seed(0)) + 0.1


def test_a_shortened_gradient_is_told_where_a_longer_one_may_help():
    flow = MAF(layers=1, hidden=(8,)).build((2,))
    pair = [MAF(layers=1, hidden=(8,)).build((2,)) for _ in range(2)]
    student = Distillation().objective(*pair)
    for loss, told in ((nll, True), (student, False)):
        engine = SimpleNamespace(flow=flow, loss=loss, clipped=100, training=Training(clip=5.0))
        assert any("larger `clip` than 5" in line for line in after(engine, 100, [])) is told


def test_rows_outside_the_support_are_named():
    support = Support(torch.zeros(2), torch.full((2,), math.inf))
    flow = Flow(Chain([Scale((2,)), support]), Normal((2,)))
    x = data()
    x[17, 1] = -0.5
    with pytest.raises(NumericalError) as caught:
        fit(flow, x, data(), training=TRAINING)
    text = str(caught.value)
    assert "first in bijection.parts.1 (Support), 1 of 64 rows of the batch" in text
    assert "outside the support" in text
    assert "(x[1] = -0.5 in the first)" in text
    assert f"the first is [{x[17, 0]:.4g}, -0.5]" in text
    assert "\n" not in text


def test_chains_that_have_moved_on_are_named_where_they_were():
    support = Support(torch.zeros(2), torch.full((2,), math.inf))
    flow, chains = Flow(Chain([Scale((2,)), support]), Normal((2,))), Chains(data())
    chains.x[17, 1] = -0.5

    def loss(flow, x, context):
        losses = nll(flow, x, context)
        if flow.training:
            chains.put(x.abs())
        return losses

    with pytest.raises(NumericalError, match=r"\(x\[1\] = -0.5 in the first\)"):
        fit(flow, chains, data(), training=TRAINING, loss=loss)


def test_a_learning_rate_that_is_too_high_names_layer_step_and_run(tmp_path):
    recipe = MAF(layers=2, hidden=(8,), batch_norm=False)
    calls = []

    def loss(flow, x, context):
        if flow.training:
            calls.append(1)
            if len(calls) == 11:  # after two validations
                with torch.no_grad():
                    next(flow.bijection.parts[2].parameters()).fill_(math.nan)
        return nll(flow, x, context)

    with pytest.raises(NumericalError) as caught:
        fit(recipe.build((2,)), data(), data(), training=TRAINING, loss=loss,
            out=Run(tmp_path, recipe))  # fmt: skip
    text = str(caught.value)
    assert "not finite at step 11 (epoch 2)" in text
    assert "first in bijection.parts.2 (Autoregressive): its weights" in text
    assert "lower `lr`" in text
    assert f"the model of step 8 stays in {tmp_path}: `from_best=True` goes on from there" in text
    assert torch.isfinite(load_model(tmp_path).flow.log_prob(data())).all()


class Burst(Bijection):
    """Overflows from the third row on."""

    def forward(self, z, context=None):
        return z, z.new_zeros(len(z))

    def inverse(self, x, context=None):
        log_det = x.new_zeros(len(x))
        return torch.where(torch.arange(len(x))[:, None] < 2, x, x * math.inf), log_det


def test_an_overflow_names_the_module_and_the_rows():
    flow = Flow(Chain([Scale((2,)), Burst(), Scale((2,))]), Normal((2,)))
    words = r"bijection\.parts\.1 \(Burst\), 62 of 64 rows of the batch \(2, 3, 4, 5, 6, \.\.\.;"
    with pytest.raises(NumericalError, match=words):
        fit(flow, data(), data(), training=TRAINING)


class BadGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * math.nan


class Poison(Scale):
    def inverse(self, x, context=None):
        z, log_det = super().inverse(x, context)
        return BadGradient.apply(z), log_det


def test_a_gradient_that_is_not_finite_is_named():
    flow = Flow(Chain([Poison((2,))]), Normal((2,)))
    words = r"first in the gradient of 'bijection.parts.0.log_scale': not finite"
    with pytest.raises(NumericalError, match=words):
        fit(flow, data(), data(), training=TRAINING)


def test_a_loss_of_its_own_that_is_not_finite_is_blamed():
    def loss(flow, x, context):
        return nll(flow, x, context) * math.nan

    flow = Flow(Chain([Scale((2,))]), Normal((2,)))
    with pytest.raises(NumericalError, match="first in the loss function"):
        fit(flow, data(), data(), training=TRAINING, loss=loss)


def test_a_value_far_out_is_told_from_the_rest():
    flow = Flow(Chain([Scale((2,))]), Normal((2,)))
    x = data()
    x[5] = 1e30
    with pytest.raises(NumericalError, match=r"first in the base, 1 of 64 .* outliers\?"):
        fit(flow, Rows(x), data(), training=TRAINING)


def test_an_accelerator_latches_the_first_bad_step():
    """What a GPU does, on the CPU: no look at each step, yet the weights stay as they were."""
    flow = Flow(Chain([Scale((2,))]), Normal((2,)))
    engine = Engine(flow, nll, TRAINING, launch(TRAINING), total=20)
    engine.check_every = 8
    weights = flow.bijection.parts[0].log_scale
    batch, bad = Batch(data(64), None), Batch(data(64) * math.nan, None)
    with own_randomness():
        for step in range(1, 4):
            engine.step(step, batch)
        before = weights.detach().clone()
        engine.step(4, bad)
        for step in range(5, 8):
            engine.step(step, batch)
        assert torch.equal(weights, before)
        with pytest.raises(NotFiniteError) as caught:
            engine.step(8, batch)
    assert caught.value.step == 4
    assert torch.equal(weights, before)
