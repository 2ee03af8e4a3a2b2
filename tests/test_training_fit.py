"""Training against the truth: densities, batch moments, early stopping, averages."""

import math

import numpy as np
import pytest
import torch

from caudal import InputError, NumericalError, assemble, train
from caudal.base import Normal
from caudal.bijection import Chain, walk
from caudal.bijections import Autoregressive, BatchNorm, Flip, Scale
from caudal.data import Rows, open_data
from caudal.elementwise import Affine
from caudal.flow import Flow
from caudal.losses import nll
from caudal.nets import MADE
from caudal.recipes import MAF, NSF, NSFAR
from caudal.training.devices import launch
from caudal.training.engine import Engine
from caudal.training.fit import fit
from caudal.training.options import Training
from caudal.training.rows import calibration_rows, hold_out, sample_rows
from caudal.training.run import Run
from caudal.training.validation import Validator, is_better, tail_share

pytestmark = pytest.mark.usefixtures("one_thread")


def gaussian(n, seed=0, features=3):
    """Correlated rows, and their entropy in nats."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.eye(features) + 0.8 * torch.ones(features, features).tril(-1)
    x = torch.randn(n, features, generator=generator) @ mix.T * 2 + 5
    entropy = features * (0.5 * math.log(2 * math.pi * math.e) + math.log(2))
    return x, entropy


def plain_flow(features=3):
    parts = [Autoregressive(MADE(features, 2, (16,)), Affine())]
    return Flow(Chain(parts), Normal((features,)))


def test_reaches_the_entropy_of_a_correlated_gaussian():
    x, entropy = gaussian(8000)
    flow = MAF(layers=1, hidden=(16,)).build((3,))
    training = Training(steps=400, lr=1e-2, batch_size=200)
    fitted = fit(flow, x, gaussian(4000, seed=1)[0], training=training)
    fresh = gaussian(20_000, seed=2)[0]
    with torch.no_grad():
        assert -flow.log_prob(fresh).mean().item() == pytest.approx(entropy, abs=0.03)
    assert fitted.best_valid == pytest.approx(entropy, abs=0.06)
    assert fitted.flow is flow
    assert not flow.training
    assert fitted.stopped == "steps"


def test_conditional_flow_learns_its_context():
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(4000, 1, generator=generator)
    x = context + 0.5 * torch.randn(4000, 2, generator=generator)
    flow = MAF(layers=1, hidden=(16,)).build((2,), (1,))
    fit(flow, (x, context), training=Training(steps=300, lr=1e-2, batch_size=100))
    truth = 2 * (0.5 * math.log(2 * math.pi * math.e) + math.log(0.5))
    with torch.no_grad():
        assert -flow.log_prob(x, context).mean().item() == pytest.approx(truth, abs=0.1)


def test_a_bare_loop_takes_the_same_steps():
    x, _ = gaussian(256)
    training = Training(steps=5, batch_size=256, lr=1e-2, warmup=0, cosine=False, clip=0.0)
    torch.manual_seed(3)
    ours = fit(plain_flow(), x, x, training=training).flow
    torch.manual_seed(3)
    flow = plain_flow()
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for _ in range(5):
        optimizer.zero_grad()
        nll(flow, x).backward()
        optimizer.step()
    for a, b in zip(ours.parameters(), flow.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_early_stopping_gives_the_best_weights_back():
    x, _ = gaussian(64)
    valid, _ = gaussian(500, seed=1)
    training = Training(epochs=400, lr=3e-2, batch_size=64, patience=5, cosine=False)
    flow = MAF(layers=2, hidden=(32,)).build((3,))
    fitted = fit(flow, x, valid, training=training)
    validations = [r for r in fitted.history if "valid" in r]
    best = min(validations, key=lambda r: r["valid"])
    assert fitted.stopped == "patience"
    assert validations[-1]["step"] - best["step"] == 5
    assert (fitted.best_step, fitted.best_valid) == (best["step"], best["valid"])
    with torch.no_grad():
        assert nll(flow, valid).item() == pytest.approx(best["valid"], rel=1e-5)


def test_validation_uses_the_average_of_the_weights():
    x, _ = gaussian(64)
    seen = []

    def loss(flow, x, context):
        if flow.training:
            seen.append(flow.bijection.parts[0].log_scale.detach().clone())
        return nll(flow, x, context)

    flow = Flow(Chain([Scale((3,))]), Normal((3,)))
    fit(flow, x, x, training=Training(steps=4, batch_size=64, ema=0.3), loss=loss)
    # seen[k] are the weights before step k, so those after step k are seen[k + 1].
    average = seen[0]
    for step, weights in enumerate([*seen[1:]]):
        decay = min(0.3, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weights
    # The last update is missing: take it off the result.
    decay = min(0.3, 4 / 13)
    last = (flow.bijection.parts[0].log_scale.detach() - decay * average) / (1 - decay)
    step_size = (last - seen[-1]).abs()
    assert (step_size < 2e-3).all()
    assert (step_size > 0).all()


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_batch_norm_ends_with_the_moments_of_the_whole_training_set(ema):
    x, _ = gaussian(1000)
    flow = MAF(layers=2, hidden=(8,)).build((3,))
    fit(flow, x, x[:50], training=Training(steps=7, batch_size=64, ema=ema, lr=1e-2))
    norms = 0
    with torch.no_grad():
        for _, part, part_input, _ in walk(flow.bijection, x):
            if isinstance(part, BatchNorm):
                var, mean = torch.var_mean(part_input, 0, correction=0)
                torch.testing.assert_close(part.mean, mean, rtol=1e-4, atol=1e-4)
                torch.testing.assert_close(part.var, var, rtol=1e-4, atol=1e-4)
                norms += 1
    assert norms == 2


def test_a_walk_in_pieces_is_the_walk():
    x = torch.randn(150_000, 2)
    bijection = Chain([Scale((2,)), Flip()])
    *_, (name, _, last, _) = walk(bijection, x)
    assert name == "bijection.parts.0"
    assert torch.equal(last, x.flip(1))


def test_holds_a_tenth_out_by_seed():
    rows = Rows(torch.arange(100.0)[:, None])
    train, valid = hold_out(rows, 0)
    assert (train.n_rows, valid.n_rows) == (90, 10)
    both = torch.cat([train.x, valid.x]).flatten().sort().values
    assert torch.equal(both, torch.arange(100.0))
    assert torch.equal(hold_out(rows, 0)[1].x, valid.x)
    assert not torch.equal(hold_out(rows, 1)[1].x, valid.x)
    with pytest.raises(InputError, match="too few"):
        hold_out(Rows(torch.randn(4, 1)), 0)


def test_samples_of_rows_are_fixed():
    rows = Rows(torch.randn(500, 2))
    first, again = (sample_rows(rows, 50, seed=3).x for _ in range(2))
    assert first.shape == (50, 2)
    assert torch.equal(first, again)
    assert torch.equal(calibration_rows(rows, 0).x, rows.x)


def test_arrays_are_rows_too():
    x = gaussian(300)[0]
    losses = []
    for rows in (x, x.double().numpy()):
        torch.manual_seed(0)
        flow = NSF(layers=1, hidden=8).build((3,))
        fitted = fit(flow, rows, rows, training=Training(steps=3, batch_size=64))
        losses.append(fitted.history[0]["train"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize("rows", [[[1.0, 2.0, 3.0]], np.array(["a"]), None, (1, 2, 3)])
def test_other_rows_are_refused(rows):
    with pytest.raises(InputError, match="cannot train on rows given as"):
        fit(plain_flow(), rows)


@pytest.mark.parametrize(
    "other", [NSF(layers=2, hidden=8), NSF(layers=1, hidden=9), MAF(layers=1)]
)
def test_a_recipe_that_is_not_the_flows_is_refused(other, tmp_path):
    flow = NSF(layers=1, hidden=8).build((3,))
    with pytest.raises(InputError, match=f"`recipe` {other.name} is not that of the flow"):
        fit(flow, gaussian(300)[0], out=Run(tmp_path / "run", other))
    assert not (tmp_path / "run").exists()


def test_a_flow_without_weights_is_refused():
    flow = Flow(Flip(), Normal((3,)))
    with pytest.raises(InputError, match="there is nothing to train"):
        fit(flow, torch.randn(20, 3))
    with pytest.raises(InputError, match="there is nothing to train"):
        train("maf", np.random.randn(20, 3), layers=0, steps=1)


@pytest.mark.parametrize("rows", [20, 100])
def test_a_batch_has_no_more_rows_than_there_are(rows):
    fitted = fit(plain_flow(), torch.randn(rows, 3), training=Training(epochs=3))
    assert fitted.history[-1]["step"] == 3


@pytest.mark.parametrize("recipe", [NSF, NSFAR])
def test_share_in_the_tails_of_splines(recipe):
    flow = recipe(layers=1, hidden=8, blocks=1, bound=1.0).build((2,))
    x = torch.randn(20_000, 2)
    truth = math.erfc(1 / math.sqrt(2))
    assert tail_share(flow, x) == pytest.approx(truth, abs=0.01)  # an identity start
    assert tail_share(MAF(layers=1, hidden=(8,)).build((2,)), x) is None


def test_tails_are_in_the_history():
    flow = NSF(layers=1, hidden=8, blocks=1, bound=1.0).build((2,))
    x = torch.randn(200, 2)
    fitted = fit(flow, x, x, training=Training(steps=2, batch_size=64))
    assert fitted.history[-1]["tails"] == tail_share(flow, x)


def test_double_precision_and_bfloat16():
    x, _ = gaussian(300)
    fitted = fit(plain_flow(), x, training=Training(steps=3, batch_size=64, precision="64-true"))
    assert fitted.flow.base.like.dtype == torch.float64
    fitted = fit(plain_flow(), x, training=Training(steps=3, precision="bf16-mixed"))
    assert fitted.flow.base.like.dtype == torch.float32
    assert math.isfinite(fitted.best_valid)


def test_only_matrices_decay():
    flow = plain_flow()
    before = {name: p.detach().clone() for name, p in flow.named_parameters()}
    x = torch.randn(64, 3)
    training = Training(steps=1, batch_size=64, lr=0.1, weight_decay=1.0, warmup=0)

    def nothing(flow, x, context):
        return 0 * sum(p.sum() for p in flow.parameters()) + 0 * x.sum()

    fit(flow, x, x, training=training, loss=nothing)
    for name, p in flow.named_parameters():
        factor = 0.9 if sum(size > 1 for size in p.shape) > 1 else 1.0
        torch.testing.assert_close(p, factor * before[name])


def test_a_validation_row_outside_the_support_is_named():
    from caudal.bijections import Support

    support = Support(torch.tensor([0.0, -math.inf]), torch.tensor([math.inf, math.inf]))
    flow = Flow(Chain([Scale((2,)), support]), Normal((2,)))
    x = torch.rand(64, 2) + 0.1
    bad = x.clone()
    bad[3, 0] = -0.5
    with pytest.raises(NumericalError, match=r"validation batch 0 .*Support.*x\[0\] = -0.5"):
        fit(flow, x, bad, training=Training(steps=1, batch_size=64))


def test_a_gain_is_one_only_beyond_chance():
    rng = np.random.default_rng(0)
    start = rng.normal(size=30)
    assert is_better(start - 0.1, start)
    assert is_better(start - 0.5 + 0.5 * rng.normal(size=30), start)
    assert not is_better(start - 0.05 + 0.5 * rng.normal(size=30), start)
    assert not is_better(start + 0.1, start)
    assert not is_better([0.0], [1.0])


@pytest.mark.parametrize("rows", [100, 10_001])
def test_parts_of_a_validation_are_means_of_its_rows(rows):
    """A row each where there are few; else at most 256 parts, which together are the whole."""
    flow = Flow(Scale((2,)), Normal((2,)))
    x = torch.randn(rows, 2, generator=torch.Generator().manual_seed(1))
    training = Training(steps=1)
    validator = Validator(Engine(flow, nll, training, launch(training), 1), Rows(x), Rows(x))
    mean = validator.measure()["valid"]
    losses = -flow.log_prob(x).detach().double()
    assert mean == pytest.approx(losses.mean().item(), rel=1e-6)
    if rows == 100:
        assert validator.parts == pytest.approx(losses.tolist())
    else:
        assert len(validator.parts) == 255  # as many of each of three batches
        error = np.std(validator.parts, ddof=1) / math.sqrt(len(validator.parts))
        assert error == pytest.approx(losses.std().item() / math.sqrt(rows), rel=0.1)


def test_a_validation_of_some_rows_takes_the_same_ones_each_time():
    flow = Flow(Scale((2,)), Normal((2,)))
    x = torch.randn(300, 2, generator=torch.Generator().manual_seed(1))
    training = Training(steps=1, validate_rows=200)
    validator = Validator(Engine(flow, nll, training, launch(training), 1), Rows(x), Rows(x))
    first = validator.measure()
    assert len(validator.parts) == 200
    assert set(validator.parts) <= set((-flow.log_prob(x)).tolist())
    assert validator.measure() == first


def test_few_rows_without_structure_keep_the_copula_and_many_with_it_do_not():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * math.pi, 600)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1) + 0.1 * rng.normal(size=(600, 2))
    for rows, kept in ((rng.normal(size=(60, 3)), True), (ring, False)):
        data = open_data(rows)
        torch.manual_seed(0)
        flow = assemble(NSF(2, 16, 1), data.schema)
        training = Training(epochs=20, lr=1e-2, batch_size=100)
        fitted = fit(flow, data.train, data.valid, training=training)
        assert (fitted.best_step == 0) == kept


def failing_watch(step):
    raise NumericalError("no picture")


@pytest.mark.parametrize(
    ("options", "watch", "said", "left"),
    [
        ({"lr": 1e30, "steps": 9}, None, "not finite|is inf|is nan", 1),  # all processes meet it
        ({"steps": 2}, failing_watch, "no picture", 0),  # the first one alone
    ],
)
def test_weights_are_gathered_after_an_error_of_all_processes_alone(
    options, watch, said, left, monkeypatch
):
    calls = []

    def leave(engine, weights=None):
        calls.append(weights)
        raise RuntimeError("gloo: another process is gone")

    monkeypatch.setattr(Engine, "leave", leave)
    training = Training(batch_size=50, validate_every=1, clip=0, warmup=0, **options)
    with pytest.raises(NumericalError, match=said):
        fit(plain_flow(), gaussian(100)[0], training=training, watch=watch)
    assert len(calls) == left
