"""Spectra of other conventions beside their formulas, and spectra that come from elsewhere."""

import math

import numpy as np
import pytest
import torch

from caudal.data import AudioSchema
from caudal.data.audio import log_mel
from caudal.data.audio.convention import CONVENTIONS
from caudal.data.audio.spectra import Written, finds_spectra, hop_in, read_spectra
from caudal.errors import InputError


def hann(window):
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)


def triangles(points, rate, window):
    """Triangles between points in Hz, (bins, bands)."""
    hertz = np.arange(window // 2 + 1)[:, None] * rate / window
    up = (hertz - points[:-2]) / (points[1:-1] - points[:-2])
    down = (points[2:] - hertz) / (points[2:] - points[1:-1])
    return np.maximum(0, np.minimum(up, down))


def slaney(hertz):
    return hertz / (200 / 3) if hertz < 1000 else 15 + 27 * math.log(hertz / 1000, 6.4)


def hertz_of(mel):
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def spectra(x, window, hop, pad):
    """FFTs (F, bins) of a clip that is reflected by `pad` samples at both ends."""
    wide = np.pad(x, pad, mode="reflect")
    starts = range(0, len(wide) - window + 1, hop)
    return np.array([np.fft.rfft(wide[s : s + window] * hann(window)) for s in starts])


def published(x, rate, hop, window, mels, pad):
    """Log-mels as in the published HiFi-GAN and Tacotron 2, which differ in the padding."""
    points = np.array([hertz_of(m) for m in np.linspace(0, slaney(8000.0), mels + 2)])
    bands = triangles(points, rate, window) * 2 / (points[2:] - points[:-2])
    z = spectra(x, window, hop, pad)
    magnitudes = np.sqrt(z.real**2 + z.imag**2 + 1e-9)
    return np.log(np.maximum(magnitudes @ bands, 1e-5))


def transformed(x, rate, hop, window, mels):
    """torchaudio's MelSpectrogram of defaults, then AmplitudeToDB."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    points = 700 * (10 ** (np.linspace(0, top, mels + 2) / 2595) - 1)
    power = np.abs(spectra(x, window, hop, window // 2)) ** 2
    return 10 * np.log10(np.maximum(power @ triangles(points, rate, window), 1e-10))


@pytest.mark.parametrize("name", ["hifigan", "tacotron2", "torchaudio"])
def test_a_convention_is_its_formula(name):
    rate, hop, window, mels = (
        (16000, 200, 400, 40) if name == "torchaudio" else (22050, 256, 1024, 80)
    )
    x = np.random.default_rng(0).normal(0, 0.1, 20 * hop)
    convention = CONVENTIONS[name]
    if name == "torchaudio":
        wanted = transformed(x, rate, hop, window, mels)
    else:
        pad = (window - hop) // 2 if name == "hifigan" else window // 2
        wanted = published(x, rate, hop, window, mels, pad)
    got = log_mel(torch.from_numpy(x)[None], rate, hop, window, mels, convention)[0].T
    assert len(got) == 20
    assert np.allclose(got * convention.unit, wanted[:20], atol=1e-4)  # those have one frame more


def schema(name="caudal", **other):
    sizes = {"rate": 8000, "crop": 512, "hop": 128, "mels": 20, "window": 512}
    return AudioSchema(**{**sizes, "convention": CONVENTIONS[name], **other})


def spectrum(name="caudal", hop=128, unit=1.0):
    x = 0.1 * torch.randn(1, 2048, generator=torch.Generator().manual_seed(0)).double()
    return unit * log_mel(x, 8000, hop, 512, 20, CONVENTIONS[name])[0].numpy()


def test_bases_and_hops_come_over():
    wanted = torch.from_numpy(spectrum()).float()
    bases = [("e", 1.0), ("10", 1 / math.log(10)), ("db", 20 / math.log(10))]
    for log, unit in bases:
        written = Written.of(schema(), None, None, log)
        ((name, got),) = read_spectra(spectrum(unit=unit), schema(), written)
        assert name == "0001"
        assert torch.allclose(got, wanted, atol=1e-5)
    every = spectrum("tacotron2", hop=64)  # the middles of whose odd frames are ours
    of_middle = schema("hifigan", convention=CONVENTIONS["hifigan"])
    ((_, got),) = read_spectra(every, of_middle, Written(CONVENTIONS["tacotron2"], 64))
    ours = log_mel(
        0.1 * torch.randn(1, 2048, generator=torch.Generator().manual_seed(0)).double(),
        8000, 128, 512, 20, CONVENTIONS["hifigan"],
    )[0]  # fmt: skip
    assert torch.allclose(got.double(), ours, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "written", "words"),
    [
        (spectrum()[:12], {}, "12 bands in 16 frames, the model 20 bands: make it of 20 bands"),
        (spectrum().T, {}, "16 bands in 20 frames, the model 20 bands: transpose it"),
        (spectrum(unit=8.7), {}, "say how it was made (`mel_log`, `mel_convention`)"),
        (spectrum(), {"name": "torchaudio"}, "the scale of htk, the model bands on the scale"),
        (spectrum(), {"hop": 100}, "frames every 100 samples, the model every 128"),
        (spectrum(), {"hop": 64}, "their middles do not meet"),
        (spectrum() * np.nan, {}, "values that are not finite"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(values, written, words):
    asked = {"name": None, "hop": None, "log": None, **written}
    with pytest.raises(InputError) as error:
        read_spectra(values, schema(), Written.of(schema(), **asked))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_files_say_what_they_are(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, mel=spectrum(), hop_length=128, sr=8000)
    assert finds_spectra(path)
    assert finds_spectra(tmp_path)
    assert hop_in(path) == 128
    assert [
        name for name, _ in read_spectra(path, schema(), Written.of(schema(), None, None, None))
    ] == ["a"]
    np.savez(path, mel=spectrum(), fmax=3000)
    with pytest.raises(InputError, match="says fmax 3000, and the model has 4000"):
        read_spectra(path, schema(), Written.of(schema(), None, None, None))


def test_a_schema_keeps_its_convention_and_older_ones_have_ours():
    made = schema("hifigan")
    assert AudioSchema.from_dict(made.to_dict()) == made
    older = made.to_dict()
    del older["convention"]
    assert (
        AudioSchema.from_dict({k: v for k, v in older.items() if k != "kind"}).convention
        == CONVENTIONS["caudal"]
    )
