"""The log-mel spectrum beside closed forms and SciPy's transform."""

import numpy as np
import pytest
import torch
from scipy.signal import stft

from caudal.data.audio import log_mel
from caudal.data.audio.mel import filters, framed_log_mel, margins

SIZES = [(8000, 128, 512, 64), (22050, 256, 1024, 80), (8000, 128, 512, 80), (16000, 100, 333, 20)]


def sine(hertz, rate, seconds=1.0):
    return torch.sin(2 * torch.pi * hertz * torch.arange(int(seconds * rate)) / rate).double()


@pytest.mark.parametrize(("rate", "hop", "window", "mels"), [*SIZES, (8000, 512, 256, 10)])
@pytest.mark.parametrize("count", [1, 100, 3000, 4096])
def test_shapes(rate, hop, window, mels, count):
    found = log_mel(torch.randn(2, count), rate, hop, window, mels)
    assert found.shape == (2, mels, -(-count // hop))
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()


@pytest.mark.parametrize(("rate", "hop", "window", "mels"), SIZES)
def test_no_filter_is_empty_and_all_have_unit_area(rate, hop, window, mels):
    bands = filters(rate, window, mels)
    assert (bands >= 0).all()
    assert (bands > 0).any(0).all()
    assert (bands > 0).any(1)[1:-1].all()  # and no bin is lost
    areas = bands.sum(0) * rate / window
    assert torch.allclose(areas, torch.ones_like(areas), atol=0.15)


def test_bands_are_those_of_slaney():
    bands = filters(22050, 2048, 128)
    centres = bands.argmax(0) * 22050 / 2048
    top = 15 + 27 * np.log(11.025) / np.log(6.4)
    mel = np.arange(1, 129) * top / 129
    hertz = np.where(mel < 15, mel / 0.015, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
    assert np.abs(centres.numpy() - hertz).max() <= 22050 / 2048


@pytest.mark.parametrize("hertz", [150.0, 440.0, 1000.0, 2500.0])
def test_a_sine_is_loudest_in_its_band(hertz):
    found = log_mel(sine(hertz, 8000)[None], 8000, 128, 512, 40)[0, :, 10:50]
    weights = filters(8000, 512, 40)[round(hertz / 8000 * 512)]
    assert (found.argmax(0) == int(weights.argmax())).float().mean() > 0.9


def test_twice_as_loud_is_log_2_more():
    x = torch.randn(3, 5000, dtype=torch.float64)
    one, two = (log_mel(factor * x, 8000, 128, 512, 64) for factor in (1, 2))
    assert torch.allclose(two - one, torch.full_like(one, np.log(2)))


def test_silence_is_the_floor():
    assert torch.allclose(
        log_mel(torch.zeros(1, 999), 8000, 128, 512, 64), torch.tensor(1e-5).log()
    )


@pytest.mark.parametrize(("rate", "hop", "window", "mels"), SIZES[:3])
def test_magnitudes_are_those_of_scipy(rate, hop, window, mels):
    x = np.random.default_rng(0).normal(size=20 * hop)
    before, after = margins(hop, window)
    shape = torch.hann_window(window, dtype=torch.float64).numpy()
    padded = np.pad(x, (before, after))
    _, _, z = stft(
        padded, window=shape, nperseg=window, noverlap=window - hop, boundary=None, padded=False
    )
    wanted = np.log((np.abs(z).T * shape.sum()) @ filters(rate, window, mels).numpy())
    got = log_mel(torch.from_numpy(x)[None], rate, hop, window, mels)[0].T
    assert got.shape == wanted.shape == (20, mels)
    assert np.allclose(got, wanted)


def test_a_frame_is_centred_on_its_samples():
    x = torch.zeros(1, 4096, dtype=torch.float64)
    x[0, 1664] = 1  # the middle of frame 13 of 128 samples
    loud = log_mel(x, 8000, 128, 512, 8).exp().mean(1)[0]
    assert int(loud.argmax()) == 13 or float(loud[12] - loud[13]) < 1e-9
    x = torch.zeros(1, 4096, dtype=torch.float64)
    x[0, 13 * 128 + 64] = 1
    loud = log_mel(x, 8000, 128, 512, 8).exp().mean(1)[0]
    assert int(loud.argmax()) == 13
    assert float(loud[12]) == pytest.approx(float(loud[14]))


def test_pieces_with_their_margins_give_the_same_and_gradients_flow():
    x = torch.randn(1, 1280, dtype=torch.float64, requires_grad=True)
    every = log_mel(x, 8000, 128, 512, 16)
    before, after = margins(128, 512)
    piece = x[:, 384 - before : 640 + after]
    assert torch.allclose(framed_log_mel(piece, 8000, 128, 512, 16), every[:, :, 3:5])
    every.sum().backward()
    assert torch.isfinite(x.grad).all()
