"""The update of a prediction by the spectra of open frames: exact, causal, and worth its bits."""

import math
from dataclasses import replace

import pytest
import torch
from torch.autograd.functional import jacobian as jacobian_of

from caudal.bijections import LinearPrediction, SpectralUpdate
from caudal.data import open_audio
from caudal.data.audio.mel import filters, log_mel
from caudal.data.audio.prediction import prediction
from caudal.report.audio.measures import log_spectral_distance

pytestmark = pytest.mark.usefixtures("one_thread")
RATE, MELS = 8000, 10
SHAPES = [(32, 8), (32, 16), (33, 10)]
"""Windows and hops: frames that end within a block, with it, and odd ones."""


def layer(window=32, hop=8, order=6, **options):
    bands = filters(RATE, window, MELS)
    return SpectralUpdate(LinearPrediction(bands, window, hop, order), bands, **options)


def sound(length, rows=2):
    """A voice of sorts, which its spectrum tells much of."""
    steps = torch.arange(length)
    pulses = (steps % 20 == 0).to(torch.get_default_dtype())
    return 0.1 * (0.1 * torch.randn(rows, length) + torch.stack([pulses] * rows))[:, None]


def spectrum(x, window, hop):
    return log_mel(x[:, 0], RATE, hop, window, MELS)


@pytest.mark.parametrize(
    ("window", "hop", "right"), [*((*shape, True) for shape in SHAPES), (33, 10, False)]
)
@pytest.mark.parametrize("length", [1, 20, 47])
@pytest.mark.usefixtures("float64")
def test_round_trip_log_det_and_causality(window, hop, length, right):
    """Whether the spectrum is that of the sound, or that of another one."""
    update, x = layer(window, hop), sound(length)
    context = spectrum(x, window, hop)
    context = context if right else spectrum(1.5 * sound(length), window, hop)
    z, log_det = update.inverse(x, context)
    again, log_det_back = update(z, context)
    torch.testing.assert_close(again, x, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(log_det, -log_det_back)
    torch.testing.assert_close(log_det, -update.log_scale(x, context).sum((1, 2)))
    for function, point, told in ((update.inverse, x, log_det), (update, z, log_det_back)):
        found = jacobian_of(
            lambda v, f=function: f(v.view(1, 1, -1), context[:1])[0].flatten(), point[0, 0]
        )
        assert not found.triu(1).any()
        assert torch.linalg.slogdet(found)[1].item() == pytest.approx(told[0].item(), abs=1e-7)


@pytest.mark.usefixtures("float64")
def test_gradients_go_both_ways():
    update, x = layer(), sound(48, rows=1).requires_grad_()
    context = spectrum(x.detach(), 32, 8)
    assert torch.autograd.gradcheck(lambda v: update.inverse(v, context)[0], x, fast_mode=True)
    z = update.inverse(x, context)[0].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: update(v, context)[0], z, fast_mode=True)


@pytest.mark.parametrize(("window", "hop"), SHAPES)
@pytest.mark.usefixtures("float64")
def test_measurements_are_those_of_the_frames_and_their_slopes(window, hop):
    update = layer(window, hop)
    x = sound(update.seen + update.ends[1])[:, 0]
    bands = torch.rand(2, 2, MELS) + 0.5
    error, slopes = update._measured(x, bands)
    frames = x.unfold(1, window, hop)[:, :2] * torch.hann_window(window)
    truth = torch.fft.rfft(frames).abs() @ filters(RATE, window, MELS)
    torch.testing.assert_close(error, (1 - truth / bands).flatten(1), atol=1e-5, rtol=1e-5)
    found = jacobian_of(lambda v: -update._measured(v[None], bands[:1])[0][0], x[0])
    torch.testing.assert_close(slopes[0].T, found[:, update.seen :])
    assert not found[:MELS, update.seen + update.ends[0] :].any()


@pytest.mark.parametrize(("window", "hop"), SHAPES)
@pytest.mark.usefixtures("float64")
def test_frames_that_are_not_whole_say_nothing(window, hop):
    """Neither those that begin before the sound, nor those that end behind it."""
    update = layer(window, hop)
    whole = update.first * hop - (window // 2 - hop // 2) + window  # where the first one ends
    for length, same in ((whole - 1, True), (whole, False)):
        x = sound(length)
        context = spectrum(x, window, hop)
        z, found = update.inverse(x, context)[0], update.prior.inverse(x, context)[0]
        assert torch.allclose(z, found) == same
    unsure = layer(window, hop, deviation=1e6)
    x = sound(100)
    context = spectrum(x, window, hop)
    torch.testing.assert_close(unsure.inverse(x, context), unsure.prior.inverse(x, context))


@pytest.fixture(scope="module")
def vowels():
    return open_audio("vowels", hop=32, seconds=0.128, mels=64, window=128, prediction=32)


@torch.no_grad()
def test_open_frames_say_much_of_a_voice(vowels):
    """Nothing is learned, and fewer bits tell a clip; what is made of noise is more like it."""
    schema, bits, far = vowels.schema, {}, {}
    x, context = next(vowels.train.shuffled(12, 0))
    x = x.double() / schema.full_scale
    z = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).double()
    for update in (False, True):
        fixed = prediction(replace(schema, update=update))
        noise, log_det = fixed.inverse(x, context)
        nats = 0.5 * noise.square().sum((1, 2)) - log_det
        bits[update] = nats.mean().item() / x.shape[-1] / math.log(2)
        assert noise.square().mean().item() == pytest.approx(1, abs=0.35)
        made = fixed(z, context)[0][:, 0]
        far[update] = log_spectral_distance(x[:, 0], made, schema.rate).mean().item()
    assert bits[True] < bits[False] - 0.1
    assert far[True] < far[False]
