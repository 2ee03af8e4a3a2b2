"""Linear prediction from a spectrum: closed forms, both directions, gradients, edges of clips."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad
from torch.autograd.functional import jacobian as jacobian_of

import caudal
from caudal import initialize
from caudal.base import Normal
from caudal.bijections import LinearPrediction
from caudal.bijections.prediction import predictors
from caudal.data import open_audio
from caudal.data.audio import AudioSchema
from caudal.data.audio.mel import filters
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses import conditionals
from caudal.modality import assemble
from caudal.nets import ColumnEmbedding, WithLast
from caudal.nets import WaveNet as WaveNetOf
from caudal.recipes import ParallelWaveNet, WaveNet
from caudal.training.clip_terms import AudioTerms
from caudal.training.dressing import dress_as
from caudal.training.validation import begins_fitted

pytestmark = pytest.mark.usefixtures("one_thread")
WINDOW, HOP, MELS = 64, 8, 12
BANDS = filters(8000, WINDOW, MELS)
BINS = torch.eye(WINDOW // 2 + 1)  # as many bands as bins: the spectrum says all
A1, A2 = 1.6, -0.81
"""An AR(2) process with poles of radius 0.9, driven by normal noise of deviation 1."""


def mel(frames=6, rows=2, spread=1.0):
    """Log-mels of nothing in particular."""
    return spread * torch.randn(rows, MELS, frames) - 2


def log_magnitudes(power):
    """The frame (1, bins, 1) that says this power spectrum (bins,)."""
    return (0.5 * (power * 0.375 * WINDOW).log())[None, :, None]


def process_power():
    """The power spectrum of the AR(2) process."""
    turn = torch.exp(-2j * math.pi * torch.arange(WINDOW // 2 + 1) / WINDOW)
    return 1 / (1 - A1 * turn - A2 * turn**2).abs() ** 2


@pytest.mark.parametrize("length", [1, 3, 10, 41, 48])
@pytest.mark.parametrize("frames", [1, 6])
@pytest.mark.parametrize("order", [1, 10])
@pytest.mark.usefixtures("float64")
def test_round_trip_and_log_det(length, frames, order):
    layer, context = LinearPrediction(BANDS, WINDOW, HOP, order), mel(frames)
    x = torch.randn(2, 1, length)
    z, log_det = layer.inverse(x, context)
    again, log_det_back = layer(z, context)
    torch.testing.assert_close(again, x, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(log_det, -log_det_back)
    torch.testing.assert_close(log_det, -layer.log_scale(x, context).sum((1, 2)))
    for function, point, told in ((layer.inverse, x, log_det), (layer, z, log_det_back)):
        found = jacobian_of(
            lambda v, f=function: f(v.view(1, 1, -1), context[:1])[0].flatten(), point[0, 0]
        )
        assert not found.triu(1).any()  # causal, exactly
        assert torch.linalg.slogdet(found)[1].item() == pytest.approx(told[0].item(), abs=1e-8)


@pytest.mark.parametrize("length", [1, 7, 41, 48])
@pytest.mark.parametrize(("hop", "frames"), [(HOP, 6), (HOP, 1), (3, 16)])
@pytest.mark.usefixtures("float64")
def test_compiled_loops_find_what_tensors_find(length, hop, frames):
    pytest.importorskip("numba")
    layer, context = LinearPrediction(BANDS, WINDOW, hop, 10), mel(frames)
    z = torch.randn(2, 1, length)
    expected, filters = layer(z, context)[0], layer.filters(context, length)
    with torch.no_grad():
        torch.testing.assert_close(layer(z, context)[0], expected)
        torch.testing.assert_close(layer.filters(context, length), filters)
        pieces = list(layer.in_pieces(z.split(5, -1), context, length))
        assert torch.equal(torch.cat(pieces, -1), layer(z, context)[0])


@pytest.mark.usefixtures("float64")
def test_gradients_go_both_ways():
    layer, context = LinearPrediction(BANDS, WINDOW, HOP, 10), mel()
    x = torch.randn(2, 1, 48, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: layer(v, context)[0], x)
    assert torch.autograd.gradcheck(lambda v: layer.inverse(v, context)[0], x)


@pytest.mark.usefixtures("float64")
def test_transforms_go_through_it_where_no_gradients_are_asked_for():
    layer, context = LinearPrediction(BANDS, WINDOW, HOP, 10), mel()
    z, along = torch.randn(2, 1, 48), torch.randn(2, 1, 48)

    def sound(v):
        return layer(v, context)[0]

    with torch.no_grad(), forward_ad.dual_level():
        x, slope = forward_ad.unpack_dual(sound(forward_ad.make_dual(z, along)))
    with torch.no_grad():
        found = torch.func.jvp(sound, (z,), (along,))
        rows = torch.func.vmap(sound)(torch.stack([z, along]))
        torch.testing.assert_close(x, sound(z))
        torch.testing.assert_close(slope, sound(along))  # it is linear
        torch.testing.assert_close(torch.stack(found), torch.stack([x, slope]))
        torch.testing.assert_close(rows, torch.stack([x, slope]))


def test_single_precision_loses_nothing_on_the_way(vowels):
    schema = vowels.schema
    bands = filters(schema.rate, schema.window, schema.mels)
    layer = LinearPrediction(bands, schema.window, schema.hop, 24)
    context = vowels.train.clip(0).context[None, :, :15]
    z = torch.randn(1, 1, 15 * schema.hop)
    x, _ = layer(z, context)
    torch.testing.assert_close(layer.inverse(x, context)[0], z, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("order", [1, 5])
@pytest.mark.usefixtures("float64")
def test_a_flat_spectrum_makes_it_a_scale(order):
    layer = LinearPrediction(BINS, WINDOW, HOP, order)
    x = torch.randn(1, 1, 20)
    z, log_det = layer.inverse(x, log_magnitudes(torch.full((WINDOW // 2 + 1,), 4.0)))
    torch.testing.assert_close(z, x / 2, rtol=1e-4, atol=1e-6)
    assert log_det.item() == pytest.approx(-20 * math.log(2), rel=1e-4)


@pytest.mark.parametrize("order", [2, 9])
@pytest.mark.usefixtures("float64")
def test_the_residual_of_a_known_process_is_what_drove_it(order):
    layer = LinearPrediction(BINS, WINDOW, HOP, order)
    driven = torch.randn(200)
    x = torch.zeros(200)
    for t in range(200):
        x[t] = A1 * x[t - 1] + A2 * x[t - 2] + driven[t]
    z, _ = layer.inverse(x.view(1, 1, -1), log_magnitudes(process_power()))
    # A window of 64 holds the process to a part in 10^3.
    torch.testing.assert_close(z[0, 0, order:], driven[order:], atol=0.05, rtol=0)


@pytest.mark.usefixtures("float64")
def test_the_first_samples_are_those_of_a_stationary_sound():
    """With a normal base it is the normal law whose covariance the spectrum says."""
    length = 12
    layer, context = LinearPrediction(BINS, WINDOW, HOP, length), log_magnitudes(process_power())
    flow = Flow(layer, Normal((1, length)), context_shape=(WINDOW // 2 + 1, 1))
    correlation = torch.fft.irfft(process_power())[:length]
    correlation[0] *= 1 + 1e-5
    apart = (torch.arange(length)[:, None] - torch.arange(length)).abs()
    truth = torch.distributions.MultivariateNormal(torch.zeros(length), correlation[apart])
    x = truth.sample((3,))
    found = flow.log_prob(x[:, None], context.expand(3, -1, -1))
    torch.testing.assert_close(found, truth.log_prob(x), atol=1e-6, rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_the_recursion_solves_the_normal_equations():
    correlation = torch.fft.irfft(torch.rand(3, 33) + 0.01)[:, :6]
    for order, (found, variance) in enumerate(predictors(correlation)):
        apart = (torch.arange(order)[:, None] - torch.arange(order)).abs()
        wanted = correlation[:, 1 : order + 1]
        truth = torch.linalg.solve(correlation[:, apart], wanted.unsqueeze(-1)).squeeze(-1)
        torch.testing.assert_close(found, truth)
        torch.testing.assert_close(variance, correlation[:, 0] - (truth * wanted).sum(1))


@pytest.mark.usefixtures("float64")
def test_the_filter_of_any_spectrum_is_stable():
    """However steep the spectrum, sound is as loud as it says."""
    layer, context = LinearPrediction(BANDS, WINDOW, HOP, 24), mel(frames=1, rows=20, spread=4)
    x, _ = layer(torch.randn(20, 1, 4000), context)
    power, said = x.square().mean((1, 2)), layer._autocorrelation(context)[:, 0, 0]
    assert (power / said < 2).all()
    assert (power / said > 0.5).all()


def test_silence_is_as_loud_as_the_noise_that_it_is():
    layer = LinearPrediction(BANDS, WINDOW, HOP, 24, noise=1e-10)
    silence = torch.full((1, MELS, 1), math.log(1e-9))
    z, _ = layer.inverse(1e-5 * torch.randn(1, 1, 5000), silence)
    assert z.std().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("order", "context", "message"),
    [
        (0, mel(), "`order` must be from 1 to 63, got 0"),
        (64, mel(), "`order` must be from 1 to 63, got 64"),
        (4, None, "needs a spectrum"),
        (4, mel(frames=2), "20 samples at 8 a frame need 3 frames of context, got 2"),
    ],
)
def test_refuses(order, context, message):
    with pytest.raises(ValueError, match=message):
        LinearPrediction(BANDS, WINDOW, HOP, order).inverse(torch.randn(2, 1, 20), context)


# --- in flows of sound -------------------------------------------------------------------------

SMALL = {"channels": 6, "cycle": 3, "hop": 64}


@pytest.fixture(scope="module")
def vowels():
    return open_audio("vowels", hop=64, seconds=0.064, mels=20, window=128, prediction=16)


def test_a_flow_given_a_spectrum_begins_at_its_prediction(vowels):
    """What training begins with is white, and far better than a flow without."""
    x, context = next(vowels.train.shuffled(64, 0))
    bits = {}
    for prediction in (0, 16):
        schema = open_audio(
            "vowels", hop=64, seconds=0.064, mels=20, window=128, prediction=prediction
        ).schema
        flow = assemble(WaveNet(layers=2, **SMALL), schema).eval()
        initialize(flow, x, context)
        assert begins_fitted(flow) == (prediction > 0)
        with torch.no_grad():
            bits[prediction] = -flow.log_prob(x, context).mean().item() / 512 / math.log(2)
            z = flow.encode(x, context)[:, 0]
    assert bits[16] < bits[0] - 1
    whiteness = (z[:, 1:] * z[:, :-1]).mean() / z.square().mean()
    assert abs(whiteness.item()) < 0.15
    plain = assemble(WaveNet(layers=2, law="softmax", **SMALL), vowels.schema)
    assert not begins_fitted(plain)  # a density on [-1, 1] stays as it is
    assert not begins_fitted(WaveNet(layers=2, **SMALL).build((1, -1), (20, -1)))


@pytest.fixture(params=[False, True], ids=["linear", "updated"])
def pair(vowels, request):
    """A student and a teacher that are dressed alike, contexts (4, C, F), noise (4, 1, T)."""
    schema = replace(vowels.schema, update=request.param)
    x, context = (value.double() for value in next(vowels.train.shuffled(64, 0)))
    torch.manual_seed(0)
    flows = []
    for recipe in (ParallelWaveNet(flows=(2, 2), **SMALL), WaveNet(layers=2, **SMALL)):
        flow = assemble(recipe, schema).double().eval()
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        flows.append(flow)
    student, teacher = flows
    initialize(teacher, x, context)
    dress_as(student, teacher)
    return student, teacher, context[:4], torch.randn(4, 1, 512)


@pytest.mark.usefixtures("float64")
def test_a_log_ratio_is_the_same_before_and_behind_the_prediction(pair):
    student, teacher, context, z = pair
    terms, rows = AudioTerms(student, teacher), teacher.embed(context)
    with torch.no_grad():
        drawn = conditionals(terms.student, z, rows)
        before = terms.teacher.log_prob(drawn.x, rows) + drawn.log_scale.sum((1, 2))
        y, log_det = student.bijection(z, rows)
        behind = teacher.continuous().log_prob(y, context) + log_det
    torch.testing.assert_close(before, behind)


@pytest.mark.usefixtures("float64")
def test_conditionals_given_another_spectrum_are_of_the_same_sound(pair):
    student, teacher, context, z = pair
    terms, rows = AudioTerms(student, teacher), teacher.embed(context)
    other = rows.roll(1, 0)
    with torch.no_grad():
        drawn = conditionals(terms.student, z, rows)
        given = terms._given(other, drawn, rows)
        (x, log_det), (y, log_det_given) = terms.inner(drawn.x, rows), terms.inner(given.x, other)
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(given.mean + given.log_scale.exp() * z, given.x)
    ours = drawn.log_scale.sum((1, 2)) + log_det
    torch.testing.assert_close(given.log_scale.sum((1, 2)) + log_det_given, ours)


def test_a_new_student_is_the_teacher_that_begins(vowels):
    """Both turn white noise into the sound that the spectrum says."""
    x, context = next(vowels.train.shuffled(8, 0))
    flows = [
        assemble(recipe, vowels.schema).eval()
        for recipe in (ParallelWaveNet(flows=(2, 2), **SMALL), WaveNet(layers=2, **SMALL))
    ]
    initialize(flows[1], x, context)
    dress_as(*flows)
    z = torch.randn(8, 1, 512)
    sounds = [flow.decode(z, context) for flow in flows]
    torch.testing.assert_close(*sounds, atol=2, rtol=1e-3)
    louder = sounds[0].square().mean() / x.square().mean()
    assert 0.5 < louder < 2


def test_the_prediction_stands_beside_a_run_and_is_what_its_flow_began_with():
    clips = [(0.1 * np.sin(0.3 * k * np.arange(900)), 8000) for k in range(1, 31)]
    rng = np.random.default_rng(0)
    noisy = [(x + 0.01 * rng.normal(size=900), rate) for x, rate in clips]
    options = {"mels": 20, "window": 128, "seconds": 0.05, "layers": 2, "channels": 4, "hop": 32}
    model = caudal.train("wavenet", noisy, steps=1, lr=1e-12, batch_size=4, **options)
    found = model.evaluate()
    assert found.beginning == pytest.approx(found.score, abs=1e-3)
    assert found.beginning_gain == pytest.approx(0, abs=1e-3)
    assert found.beginning < found.baseline
    assert "flow below that prediction" in str(found)
    assert {"prediction_bits_per_sample", "prediction_gain"} <= found.to_dict().keys()
    unconditioned = caudal.train("wavenet", noisy, steps=1, context=["none"], **options)
    assert unconditioned.evaluate().beginning is None


def test_the_order_is_that_of_the_schema_and_of_no_older_file(vowels):
    described = vowels.schema.to_dict()
    assert AudioSchema.from_dict(described) == vowels.schema
    assert vowels.schema.order == 16
    older = {name: value for name, value in described.items() if name != "prediction"}
    assert AudioSchema.from_dict(older).order == 0
    usual = replace(vowels.schema, prediction=AudioSchema.prediction)
    assert usual.order == 64
    assert replace(usual, hop=8, window=32).order == 16  # a window tells no more
    assert replace(usual, window=127).order == 0  # windows overlap by less than half
    assert replace(usual, mels=0).order == 0
    assert not AudioSchema.from_dict(older | {"prediction": 16}).update
    with pytest.raises(InputError, match="`update`: there is no prediction to update"):
        replace(usual, mels=0, update=True)
    with pytest.raises(InputError, match="`prediction` -1: must be at least 0"):
        replace(usual, prediction=-1)


def test_nets_do_not_see_what_the_prediction_is_given():
    net = WaveNetOf(2, layers=3, cycle=3, channels=4, context=3, hop=4)
    torch.nn.init.normal_(net.last.weight)
    x, context = torch.randn(2, 1, 12), torch.randn(2, 5, 3)
    assert torch.equal(net(x, context), net(x, context[:, :3]))
    embedding = WithLast(ColumnEmbedding([3, 0, 0]), 2)
    context = torch.cat([torch.ones(2, 1, 3), torch.randn(2, 2, 3)], 1)
    embedding.observe(context)
    found = embedding(context)
    assert found.shape == (2, embedding.n_features, 3)
    assert torch.equal(found[:, -2:], context[:, 1:])
