"""Sound made consistent with a mel spectrum: what stays, what is met, in every convention."""

import math
from dataclasses import replace

import pytest
import torch

from caudal.data.audio import log_mel
from caudal.data.audio.convention import CONVENTIONS
from caudal.data.audio.refinement import _Bands, overlapped, refined, spectra
from caudal.data.audio.schema import AudioSchema
from caudal.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")
RATE, LENGTH = 8000, 3001  # no whole number of frames
SCHEMA = AudioSchema(RATE, crop=640, hop=64, mels=32, window=256)
SCHEMAS = {name: replace(SCHEMA, convention=made) for name, made in CONVENTIONS.items()}


def voice():
    """Two sounds (2, T): harmonics of 120 and 190 Hz, with a hiss."""
    t = torch.arange(LENGTH, dtype=torch.float64) / RATE
    tones = [sum(torch.sin(2 * math.pi * k * f * t) / k for k in range(1, 15)) for f in (120, 190)]
    return 0.1 * torch.stack(tones) + 1e-3 * noise()


def noise():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, LENGTH, generator=generator, dtype=torch.float64)


def bands_of(x, schema):
    return log_mel(x, RATE, schema.hop, schema.window, schema.mels, schema.convention)


@pytest.fixture(params=SCHEMAS)
def schema(request):
    return SCHEMAS[request.param]


def test_frames_of_a_sound_give_it_back(schema):
    x = voice()
    assert torch.allclose(overlapped(spectra(x, schema), schema, LENGTH), x, atol=1e-12)


def test_a_sound_of_these_bands_stays_as_it_is(schema):
    x = voice()
    assert torch.allclose(refined(x, bands_of(x, schema), schema, 5), x, atol=1e-9)
    assert torch.equal(refined(noise(), bands_of(x, schema), schema, 0), noise())


def test_steps_come_nearer_to_the_bands_and_to_the_level(schema):
    x, start = voice(), 0.3 * noise()
    wanted = bands_of(x, schema)

    def off(y):
        return float((bands_of(y, schema).exp() - wanted.exp()).norm() / wanted.exp().norm())

    far = [off(refined(start, wanted, schema, steps)) for steps in (1, 4, 16)]
    assert far[2] < far[1] < far[0] < off(start)
    assert far[2] < 0.12 * schema.convention.power
    level = refined(start, wanted, schema, 16).square().mean(1) / x.square().mean(1)
    assert (level.log10().abs() < 0.1).all()  # within 1 dB, of a start that is 20 dB off


def test_blocks_of_frames_make_the_same_sound(schema, monkeypatch):
    wanted = bands_of(voice(), schema)
    whole = refined(noise(), wanted, schema, 3)
    monkeypatch.setattr("caudal.data.audio.refinement._BLOCK", 2 * 256 * 5)  # 5 frames
    assert torch.allclose(refined(noise(), wanted, schema, 3), whole, atol=1e-9)


def test_what_bands_leave_open_stays(schema):
    spectrum = spectra(noise(), schema)
    scaled = _Bands(bands_of(voice(), schema), schema)(spectrum)
    assert torch.allclose(scaled.angle(), spectrum.angle())
    ends = schema.convention.ends(RATE)
    hertz = torch.fft.rfftfreq(schema.window, 1 / RATE)
    outside = (hertz < ends[0]) | (hertz > ends[1])
    assert torch.equal(scaled[..., outside], spectrum[..., outside])


def test_bins_within_a_band_keep_their_proportion():
    """Bands that do not overlap are met at once, and their bins scaled alike."""
    bands = _Bands(bands_of(voice(), SCHEMA), SCHEMA)
    bands.weights = torch.zeros_like(bands.weights)
    bands.weights[torch.arange(128), torch.arange(128) // 4] = 0.5
    bands.shares, bands.outside = (bands.weights > 0).double().T, ~(bands.weights > 0).any(1)
    spectrum = spectra(noise(), SCHEMA)
    scaled = bands(spectrum)
    assert torch.allclose(scaled.abs() @ bands.weights, bands.target)
    gains = (scaled.abs() / spectrum.abs())[..., :128].unflatten(-1, (32, 4))
    assert torch.allclose(gains, gains[..., :1].expand_as(gains))
    assert torch.equal(scaled[..., 128], spectrum[..., 128])


def test_without_overlap_there_is_nothing_to_meet():
    apart = replace(SCHEMA, window=96)
    with pytest.raises(InputError, match="`refine`"):
        refined(voice(), bands_of(voice(), apart), apart, 1)
