"""Floors under copies of sound, the measures that hear a voice, and what is said of them."""

import json
import math
from dataclasses import replace

import pytest
import torch

from caudal.data.audio import log_mel
from caudal.data.audio.schema import AudioSchema
from caudal.report.audio.copied import IN_ALL, copy_clips
from caudal.report.audio.copies import Copy
from caudal.report.audio.floors import draw_floors, prediction_alone
from caudal.report.audio.hearing import MISSING, hearing, hears
from caudal.report.audio.likeness import measure_copies, measured
from caudal.report.audio.verdict import beside_floors
from test_sound_report import Waves

pytestmark = pytest.mark.usefixtures("one_thread")
RATE = 8000
SCHEMA = AudioSchema(RATE, crop=640, hop=64, mels=40, window=256)


def vowel(hertz, seconds=0.5, hiss=0.002, seed=0):
    """Harmonics that fall off, with a hiss."""
    t = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    tones = sum(torch.sin(2 * math.pi * k * hertz * t) / k for k in range(1, int(3500 / hertz)))
    return 0.1 * tones + hiss * white(len(t), seed)


def white(n, seed=0):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def clips_of(*waves, schema=SCHEMA):
    spectra = [log_mel(w[None], RATE, schema.hop, schema.window, schema.mels)[0] for w in waves]
    whole = [(w * schema.full_scale).round() for w in waves]
    return Waves(schema, whole, [spectrum.float() for spectrum in spectra])


@pytest.fixture(scope="module")
def floors():
    clips = clips_of(vowel(120.0), vowel(200.0, 0.3), 0.1 * white(3000))
    return clips, draw_floors(clips, [0, 1, 2], SCHEMA, seed=4)


# --- floors --------------------------------------------------------------------------------------


def test_floors_have_the_loudness_and_the_bands_of_the_originals(floors):
    _, made = floors
    assert list(made) == ["shaped noise", "Griffin-Lim", "prediction"]
    for copies in made.values():
        found = measured(copies, RATE)
        assert abs(found.level.mean) < 1.0
        assert abs(found.treble.mean) < 2.5
        assert found.log_magnitude.mean < 1.2
        assert not any(copy.broken for copy in copies)


def test_iterations_find_the_magnitudes_that_noise_has_on_average(floors):
    clips, made = floors

    def off(copy, index):
        spectrum = log_mel(copy.sample[None].double(), RATE, SCHEMA.hop, SCHEMA.window, 40)[0]
        return float((spectrum - clips.contexts[index]).abs().mean())

    for index in range(3):
        noise, griffin_lim, prediction = (off(some[index], index) for some in made.values())
        assert griffin_lim < 0.7 * noise
        assert noise == pytest.approx(prediction, rel=0.5)


def test_a_floor_is_its_seed_and_its_clip(floors):
    clips, made = floors
    again = draw_floors(clips, [1], SCHEMA, seed=4)
    other = draw_floors(clips, [1], SCHEMA, seed=5)
    for name, copies in again.items():
        assert torch.equal(copies[0].sample, made[name][1].sample)
        assert not torch.equal(copies[0].sample, other[name][0].sample)
        assert len(copies[0].sample) == len(copies[0].original) == clips.lengths[1]


def test_there_is_no_floor_without_the_loudness_of_each_sample():
    apart = replace(SCHEMA, window=96)
    assert draw_floors(clips_of(vowel(120.0), schema=apart), [0], apart) == {}
    assert draw_floors(Waves(SCHEMA, [vowel(120.0)]), [0], replace(SCHEMA, mels=0)) == {}


def test_the_prediction_stands_whatever_the_flow_has():
    without = replace(SCHEMA, prediction=0)
    clips = clips_of(vowel(120.0))
    pair = [draw_floors(clips, [0], s)["prediction"][0].sample for s in (SCHEMA, without)]
    assert torch.equal(*pair)


# --- measures that hear --------------------------------------------------------------------------


@pytest.mark.skipif(not hears(), reason="the extra 'pitch' is not installed")
class TestHearing:
    def test_a_voice_is_no_distance_from_itself(self):
        x = vowel(120.0)
        assert hearing(x, x, RATE) == (1, 0, 0, 0)

    @pytest.mark.parametrize("semitones", [-1.0, 0.5, 12.0])
    def test_pitch_is_in_semitones(self, semitones):
        found = hearing(vowel(120.0), vowel(120.0 * 2 ** (semitones / 12)), RATE)
        assert found.voicing == 1
        assert found.pitch == pytest.approx(abs(semitones), abs=0.02)
        assert found.pitch_rms == pytest.approx(abs(semitones), abs=0.02)

    def test_an_octave_in_a_few_frames_shows_in_the_rms_alone(self):
        x = vowel(240.0, 1.0)
        y = torch.cat([x[: 7 * RATE // 8], vowel(120.0, 0.125)])
        found = hearing(x, y, RATE)
        assert found.pitch < 0.1
        assert found.pitch_rms == pytest.approx(12 * math.sqrt(1 / 8), rel=0.3)

    def test_noise_has_no_pitch(self):
        found = hearing(vowel(120.0), 0.1 * white(RATE // 2), RATE)
        assert found.voicing == 0
        assert math.isnan(found.pitch)
        assert found.harmonicity < -10
        half = torch.cat([vowel(120.0, 0.25), 0.1 * white(RATE // 4)])
        assert hearing(vowel(120.0), half, RATE).voicing == pytest.approx(2 / 3, abs=0.07)

    def test_hiss_is_heard_by_its_decibels(self):
        quiet, loud = vowel(120.0, hiss=0.004), vowel(120.0, hiss=0.04, seed=1)
        assert hearing(quiet, loud, RATE).harmonicity == pytest.approx(-20, abs=2)

    def test_where_there_is_nothing_to_compare(self):
        nothing = torch.zeros(RATE // 2, dtype=torch.float64)
        assert all(map(math.isnan, hearing(nothing, nothing, RATE)))
        assert all(map(math.isnan, hearing(vowel(120.0, 0.05), vowel(120.0, 0.05), RATE)))

    def test_clips_without_a_voice_are_not_counted(self):
        x = [vowel(120.0), 0.1 * white(4000)]
        found = measure_copies(x, [vowel(240.0), x[1]], RATE)
        assert found.pitch.mean == pytest.approx(12, abs=0.05)
        assert math.isnan(found.pitch.se)
        assert found.to_dict()["pitch"] == {"mean": found.pitch.mean, "se": None}


def test_measures_without_the_extra(monkeypatch):
    monkeypatch.setattr("caudal.report.audio.hearing.find_spec", lambda name: None)
    found = measure_copies([vowel(120.0)] * 2, [vowel(240.0)] * 2, RATE)
    assert "pitch" not in found.to_dict()
    assert len(found.taken) == 6
    said = copy_clips(prediction_alone(SCHEMA), clips_of(vowel(120.0)), SCHEMA).sentences()
    assert said[-1] == MISSING


# --- what is said --------------------------------------------------------------------------------


def sides(**samples):
    """Four vowels beside other sounds, by name."""
    originals = [vowel(120.0 + 20 * i, seed=i) for i in range(4)]
    return {
        name: measured([Copy(str(i), "", x, of(x, i)) for i, x in enumerate(originals)], RATE)
        for name, of in samples.items()
    }


def test_the_verdict_names_floors_and_measures():
    found = sides(
        ours=lambda x, i: 0.5 * x,
        same=lambda x, i: x,
        noise=lambda x, i: float(x.std()) * white(len(x), i),
    )
    ours, same, noise = found.values()
    (line,) = beside_floors(ours, {"noise": noise, "copy": same})
    assert line.startswith("below floors that learn nothing: noise in 2 of ")
    assert "measures (loudness error, level); copy in 6 of" in line
    (line,) = beside_floors(same, {"noise": noise, "copy": same})
    assert line.startswith("below no floor: noise and copy, which learn nothing")
    assert beside_floors(ours, {}) == []
    one = measured([Copy("a", "", vowel(120.0), 0.5 * vowel(120.0))], RATE)
    assert beside_floors(one, {"noise": one}) == []


def test_a_difference_within_chance_is_none():
    def of(x, i):
        return x * (1.2 if i % 2 else 1 / 1.2) * (1 + 0.01 * i)

    found = sides(ours=of, other=lambda x, i: of(x, i + 1))
    assert beside_floors(found["ours"], {"a": found["other"]})[0].startswith("below no floor")


def test_copies_beside_floors_as_an_evaluation_tells_them():
    clips = clips_of(*(vowel(110.0 + 10 * i, 0.2, seed=i) for i in range(3)))
    found = copy_clips(prediction_alone(SCHEMA), clips, SCHEMA)
    assert len(found.copies) == 3
    head, rows = found.table().head, found.table().rows
    assert head == ["", "samples", "refined", "shaped noise", "Griffin-Lim", "prediction", ""]
    assert {len(row) for row in rows} == {7}
    said = found.to_dict()
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    # The flow is the floor itself, noise and all.
    assert said["samples"] == said["floors"]["prediction"]
    assert "prediction in none" in found.verdict[0]
    assert "Griffin-Lim in" in found.verdict[0]
    # Refined, it is a sound of nearly its spectrum, as that of Griffin and Lim is.
    assert found.verdict[1].startswith("refined in 32 steps: ")
    assert "prediction in none" in found.verdict[1]
    assert said["refined"]["convergence"]["mean"] < 0.8 * said["samples"]["convergence"]["mean"]
    assert len(copy_clips(prediction_alone(SCHEMA), clips, SCHEMA, limit=2).copies) == 2


def test_long_clips_are_fewer_and_silent_ones_none(monkeypatch):
    monkeypatch.setattr("caudal.report.audio.copied.IN_ALL", 0.45)
    clips = clips_of(*[vowel(120.0, 0.2)] * 4)
    assert IN_ALL > 10
    assert len(copy_clips(prediction_alone(SCHEMA), clips, SCHEMA).copies) == 2
    silent = clips_of(torch.zeros(1000, dtype=torch.float64))
    assert copy_clips(prediction_alone(SCHEMA), silent, SCHEMA) is None
