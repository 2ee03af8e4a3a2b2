"""What is told of flows over audio: bits a sample, an autoregression, spectra, a page to hear."""

import base64
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from caudal.base import FREE, Normal, Uniform
from caudal.bijection import Chain
from caudal.bijections import Autoregressive, Rescale
from caudal.data import Dataset
from caudal.data.audio.clips import Clip, Clips
from caudal.data.audio.schema import AudioSchema
from caudal.data.schema import Column
from caudal.dequantization import Dequantization
from caudal.elementwise import Affine
from caudal.errors import InputError, NumericalError
from caudal.flow import Flow
from caudal.nets import CausalNet
from caudal.numerics import uniform
from caudal.recipes import RECIPES
from caudal.report import (
    AudioTeller,
    Autoregression,
    Story,
    evaluate,
    load_baseline,
    save_baseline,
    write_report,
)
from caudal.report.audio.copies import (
    beginning,
    clips_to_copy,
    draw_copies,
    encode,
    refine_copies,
    whole,
)
from caudal.report.audio.distilled import compare_copies
from caudal.report.audio.floors import draw_floors
from caudal.report.audio.likeness import measure_copies
from caudal.report.audio.measures import (
    level,
    log_spectral_distance,
    loudness_error,
    magnitudes,
    sizes,
    stft_distance,
    treble_difference,
)
from caudal.report.audio.pictures import autocorrelation, find_noise, normal_scores
from caudal.report.audio.teller import _curves
from caudal.report.numbers import ratio_two_se
from caudal.report.speed import SamplingRate

pytestmark = pytest.mark.usefixtures("one_thread")
TELLER = AudioTeller(seconds=0.25)
RATE, STD = 4000, 900.0  # of the innovations, in whole numbers
A1, A2 = 1.6, -0.8
DIGIT = Column("digit", "categorical", categories=("one", "two"))
SCHEMA = AudioSchema(RATE, crop=400, hop=40, mels=0)
WITH_MELS = replace(SCHEMA, mels=3, context=(DIGIT,))


class Waves(Clips):
    """Clips in memory, whole numbers (T,)."""

    def __init__(self, schema, waves, contexts=None):
        self.schema, self.waves, self.contexts = schema, waves, contexts
        self.names = [f"speaker/{i}.wav" for i in range(len(waves))]
        self.lengths = [len(wave) for wave in waves]

    @property
    def n_rows(self):
        return sum(-(-length // self.schema.crop) for length in self.lengths)

    def shuffled(self, batch_size, seed, skip=0):
        raise NotImplementedError

    def ordered(self, batch_size):
        raise NotImplementedError

    def clip(self, index):
        context = None if self.contexts is None else self.contexts[index]
        return Clip(self.names[index], self.waves[index][None].float(), context)


class Steps(Dequantization):
    """Uniform noise in [0, 1) on top of 16-bit numbers."""

    event_shape = (1, FREE)

    def lift(self, x, generator=None):
        off = (x != x.round()) | (x < -(2**15)) | (x > 2**15 - 1)
        below = torch.nextafter(x + 1, x)
        y = torch.minimum(x + uniform(x, generator), below)
        return y, torch.where(off.flatten(1).any(1), torch.inf, x.new_zeros(len(x)))

    def lower(self, y):
        return y.floor().clamp(-(2**15), 2**15 - 1)

    def observe(self, x):
        return None


class SecondOrder(CausalNet):
    """The mean is linear in the two samples before; with a context, in its mean as well."""

    def __init__(self, log_std):
        super().__init__()
        self.log_std = nn.Parameter(torch.tensor(log_std))

    def forward(self, x, context=None):
        x1 = torch.nn.functional.pad(x, (1, 0))[..., :-1]
        x2 = torch.nn.functional.pad(x, (2, 0))[..., :-2]
        return self._params(x1, x2)

    def start(self, like, context=None):
        zero = torch.zeros_like(like[..., :1])
        return (zero, zero)

    def step(self, value, state):
        before = state if value is None else (value, state[0])
        return self._params(*before), before

    def unroll(self, z, scalar, context=None):
        return None

    def _params(self, x1, x2):
        mean = A1 * x1 + A2 * x2
        return torch.stack([mean, self.log_std.expand_as(mean)], 1)


def ar2_flow(std=STD, context_shape=None):
    full = 2.0**15
    layer = Autoregressive(SecondOrder(math.log(std / full)), Affine(floor=-20.0))
    chain = Chain([layer, Rescale(1 / full)])
    base = Normal((1, FREE))
    return Flow(chain, base, context_shape=context_shape, dequantization=Steps())


def uniform_flow():
    """Every whole number as likely as any other."""
    return Flow(Rescale(2.0**-15), Uniform((1, FREE)), dequantization=Steps())


def process(n, generator, std=STD):
    """N samples of the autoregression of second order, in whole numbers."""
    e = (torch.randn(n, generator=generator, dtype=torch.float64) * std).tolist()
    y, a, b = [], 0.0, 0.0
    for value in e:
        a, b = A1 * a + A2 * b + value, a
        y.append(a)
    return torch.tensor(y).floor().clamp(-(2**15), 2**15 - 1)


def waves(lengths, seed=0, std=STD):
    generator = torch.Generator().manual_seed(seed)
    return [process(n, generator, std) for n in lengths]


@pytest.fixture(scope="module")
def train():
    return Waves(SCHEMA, waves([40_000]))


@pytest.fixture(scope="module")
def test():
    return Waves(SCHEMA, waves([1000, 4000, 2500, 800, 3000], seed=1))


@pytest.fixture(scope="module")
def baseline(train):
    return Autoregression.fit(None, train, SCHEMA)


# --- the autoregression ------------------------------------------------------------------------


def test_the_autoregression_finds_the_process(train, baseline):
    second = Autoregression.fit(None, train, SCHEMA, order=2)
    assert second.coefficients.tolist() == pytest.approx([A1, A2], abs=0.02)
    assert second.std == pytest.approx(STD, rel=0.02)
    assert baseline.coefficients[:2].tolist() == pytest.approx([A1, A2], abs=0.03)
    assert baseline.coefficients[2:].abs().max() < 0.04
    assert "order 32" in baseline.note


def test_its_bits_are_the_entropy_rate(baseline):
    rate = 0.5 * math.log2(2 * math.pi * math.e * STD**2)
    held = torch.stack(waves([30_000], seed=7))
    bits = -float(baseline.log_mass(held)) / (held.numel() * math.log(2))
    se = 1 / math.sqrt(2 * held.numel()) / math.log(2)
    assert bits == pytest.approx(rate, abs=4 * se + 32 / 40_000)


def test_its_density_is_the_product_of_its_conditionals(baseline):
    x, u = waves([50], seed=3)[0], torch.Generator().manual_seed(5)
    y = x.double() + torch.rand(1, 50, generator=u, dtype=torch.float64)[0]
    total, c = 0.0, baseline.coefficients
    for t in range(50):
        mean = baseline.bias + sum(float(c[k - 1] * y[t - k]) for k in range(1, 33) if t >= k)
        std = torch.tensor(baseline.std, dtype=torch.float64)
        normal = torch.distributions.Normal(torch.tensor(mean, dtype=std.dtype), std)
        total += float(normal.log_prob(y[t]))
    got = baseline.log_mass(x[None], torch.Generator().manual_seed(5))
    assert float(got) == pytest.approx(total, rel=1e-10)


def test_what_is_no_16_bit_number_has_no_mass(baseline):
    x = torch.zeros(3, 40)
    x[1, 3], x[2, 5] = 0.5, 2.0**15
    assert (baseline.log_mass(x) > -torch.inf).tolist() == [True, False, False]


def test_it_takes_so_many_samples_and_silence(train):
    some = Autoregression.fit(None, train, SCHEMA, most=5000)
    assert "5,000 samples" in some.note
    silent = Autoregression.fit(None, Waves(SCHEMA, [torch.zeros(5000)]), SCHEMA)
    assert silent.std == pytest.approx(math.sqrt(1 / 12), rel=0.05)
    assert math.isfinite(float(silent.log_mass(torch.zeros(1, 100))))


def test_it_comes_back_from_its_file(baseline, tmp_path):
    path = tmp_path / "gaussian.safetensors"
    save_baseline(path, baseline)
    back, x = load_baseline(path, "audio"), torch.zeros(1, 99)
    assert back.note == baseline.note
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    assert float(back.log_mass(x, generators[0])) == float(baseline.log_mass(x, generators[1]))
    path.write_bytes(b"no such thing")
    with pytest.raises(InputError, match="damaged"):
        load_baseline(path, "audio")


# --- bits a sample -----------------------------------------------------------------------------


def test_a_uniform_flow_takes_16_bits(test, baseline):
    result = evaluate(uniform_flow(), test, baseline, SCHEMA)
    assert result.score == pytest.approx(16, abs=1e-5)
    assert result.two_se == pytest.approx(0, abs=1e-5)
    assert result.nats_per_sample == pytest.approx(-16 * math.log(2), rel=1e-6)
    # Uniform from -1 to 1: a density of 1/2.
    assert result.density_nats_per_sample == pytest.approx(-math.log(2), abs=1e-5)
    assert result.uniform == 16
    assert (result.rows, result.samples, result.rows_outside) == (5, 11_300, 0)
    assert result.duration == pytest.approx(11_300 / RATE)


def test_the_true_flow_takes_the_entropy_rate(test, baseline):
    rate = 0.5 * math.log2(2 * math.pi * math.e * STD**2)
    result = evaluate(ar2_flow(), test, baseline, SCHEMA)
    assert result.score == pytest.approx(rate, abs=0.04)
    assert result.baseline == pytest.approx(rate, abs=0.04)
    assert result.gain == pytest.approx(result.baseline - result.score, abs=1e-9)
    assert abs(result.gain) < 0.01
    assert result.kind == "lower bound"
    said = result.to_dict()
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert "discretized_bits_per_sample" not in said
    again = evaluate(ar2_flow(), test, baseline, SCHEMA)
    assert again == result


def test_means_are_by_samples_and_errors_by_clips():
    generator = torch.Generator().manual_seed(0)
    n = torch.randint(500, 5000, (60,), generator=generator).double()
    totals = n * (9 + torch.randn(60, generator=generator, dtype=torch.float64))
    mean, two_se = ratio_two_se(totals, n)
    assert mean == pytest.approx(float(totals.sum() / n.sum()))
    chosen = torch.randint(60, (4000, 60), generator=generator)
    spread = float((totals[chosen].sum(1) / n[chosen].sum(1)).std())
    assert two_se == pytest.approx(2 * spread, rel=0.08)
    assert math.isnan(ratio_two_se(totals[:1], n[:1])[1])


def test_clips_outside_are_counted_aloud(baseline):
    some = waves([500, 600, 700], seed=4)
    some[1][7] = 0.5
    result = evaluate(ar2_flow(), Waves(SCHEMA, some), baseline, SCHEMA)
    assert (result.rows, result.rows_outside) == (3, 1)
    assert result.score == math.inf
    assert math.isfinite(result.score_inside)
    assert math.isfinite(result.gain)
    assert result.to_dict()["bits_per_sample"] is None
    none = evaluate(ar2_flow(), Waves(SCHEMA, some[1:2]), baseline, SCHEMA)
    assert math.isnan(none.score_inside)


def test_nan_raises_and_no_clips_are_refused(test):
    flow = ar2_flow()
    flow.bijection.parts[0].net.log_std.data.fill_(math.nan)
    with pytest.raises(NumericalError, match="not a number"):
        evaluate(flow, test, None, SCHEMA)
    with pytest.raises(InputError, match="no test clips"):
        evaluate(ar2_flow(), Waves(SCHEMA, []), None, SCHEMA)


def test_a_limit_takes_the_same_clips_and_masses_are_taken_whole(test, monkeypatch):
    seen = []

    def track(items, what, total):
        for item in items:
            seen.append((item.x.shape, what, total))
            yield item

    def mass(flow, x, context):
        return x.new_full((1,), -8 * math.log(2) * x.shape[-1])

    monkeypatch.setattr("caudal.report.scoring.is_discretizable", lambda flow: True)
    monkeypatch.setattr("caudal.report.scoring.discretized_log_prob", mass)

    def evaluated():
        return evaluate(ar2_flow(), test, None, SCHEMA, limit=3, track=track, split="valid")

    result = evaluated()
    assert result.discretized == pytest.approx(8)
    assert (result.rows, result.split, result.gain) == (3, "valid", None)
    assert len({index for index, _, _ in seen}) == 3
    assert seen[0][1:] == ("evaluating", 3)
    assert evaluated() == result


# --- spectra -----------------------------------------------------------------------------------


def noises(n=3, t=8000, seed=0):
    return 0.1 * torch.randn(n, t, generator=torch.Generator().manual_seed(seed))


def test_a_sound_is_no_distance_from_itself():
    x = noises()
    assert all((part == 0).all() for part in stft_distance(x, x, RATE))
    assert all((part == 0).all() for part in loudness_error(x, x, RATE))
    assert (log_spectral_distance(x, x, RATE) == 0).all()
    assert (treble_difference(x, x, RATE) == 0).all()


def test_half_the_amplitude_is_6_db():
    x, half = noises(), 20 * math.log10(0.5)
    y = 0.5 * x
    convergence, log_magnitude = stft_distance(x, y, RATE)
    assert convergence.tolist() == pytest.approx([0.5] * 3)
    assert log_magnitude.tolist() == pytest.approx([math.log(2)] * 3, rel=1e-3)
    error, below = loudness_error(x, y, RATE)
    assert below.tolist() == pytest.approx([half] * 3)
    assert error.tolist() == pytest.approx([-half] * 3)
    assert log_spectral_distance(x, y, RATE).tolist() == pytest.approx([-half] * 3, rel=1e-3)
    assert treble_difference(x, y, RATE).tolist() == pytest.approx([half] * 3)


def test_a_sine_of_full_scale_is_0_db():
    t = torch.arange(RATE, dtype=torch.float64) / RATE
    x = torch.sin(2 * math.pi * 600 * t)[None]
    size = sizes(RATE)[1]
    assert float(magnitudes(x, size, size // 4).max()) == pytest.approx(1, rel=1e-3)
    assert float(level(x)) == pytest.approx(10 * math.log10(0.5), abs=1e-3)


def test_pauses_do_not_count_and_silence_is_no_error():
    x = torch.cat([noises(1), torch.zeros(1, 8000)], 1)
    y = x.clone()
    y[:, 8000:] = 1e-3
    error, below = loudness_error(x, y, RATE)
    assert (float(error), float(below)) == (0, 0)
    silent = torch.zeros(2, 800)
    assert all((part == 0).all() for part in loudness_error(silent, silent, RATE))
    assert all((part == 0).all() for part in stft_distance(silent, silent, RATE))
    assert stft_distance(noises(1, 30), noises(1, 30), RATE)[0].isfinite().all()


def test_measures_are_means_over_clips():
    x = [row[: 2000 + 500 * i] for i, row in enumerate(noises())]
    y = [0.5 * x[0], x[1], x[2]]
    found = measure_copies(x, y, RATE)
    low = 20 * math.log10(0.5)
    assert found.level.mean == pytest.approx(low / 3)
    assert found.level.se == pytest.approx(-low / 3)
    said = found.to_dict()
    assert said["clips"] == 3
    assert said["convergence"]["mean"] == pytest.approx(1 / 6)
    with pytest.raises(InputError, match="same lengths"):
        measure_copies(x, x[:2], RATE)


# --- noise and copies --------------------------------------------------------------------------


def test_the_noise_of_the_true_flow_is_white(test):
    z = find_noise(ar2_flow(), test, [1, 4], SCHEMA)
    assert [len(part) for part in z] == [4000, 3000]
    assert float(torch.cat(z).std()) == pytest.approx(1, abs=0.04)
    assert autocorrelation(z, 20).abs().max() < 4 / math.sqrt(7000)
    at = torch.tensor([-30.0, -1.0, 0.0, 2.0, 30.0]).double()
    assert normal_scores(at, Normal((1, FREE))).tolist() == pytest.approx(at.tolist(), abs=1e-6)


def with_context():
    schema, lengths = WITH_MELS, [4000, 1000, 1000, 30_000]
    contexts = [
        torch.cat([torch.full((1, f), float(i % 2)), torch.randn(3, f)])
        for i, f in enumerate(map(schema.frames, lengths))
    ]
    return Waves(schema, waves(lengths, seed=2), contexts)


def test_copies_are_as_long_as_clips_and_as_their_contexts():
    clips, schema = with_context(), WITH_MELS
    short = beginning(clips.clip(3), schema)
    assert short.x.shape == (1, 5 * RATE)
    assert short.context.shape == (4, schema.frames(5 * RATE))
    flow = ar2_flow(context_shape=(4, FREE))
    copies = draw_copies(flow, clips, [2, 0, 1], schema, seed=3, seconds=0.5)
    assert [len(c.sample) for c in copies] == [1000, 2000, 1000]
    assert [len(c.original) for c in copies] == [1000, 2000, 1000]
    assert [c.label for c in copies] == ["digit one", "digit one", "digit two"]
    assert torch.equal(copies[0].original * 2**15, clips.waves[2][:1000].float())
    # Each has noise of its own, whatever the others are.
    alone = draw_copies(flow, clips, [1], schema, seed=3)[0]
    assert torch.equal(alone.sample, copies[2].sample)
    cold = draw_copies(flow, clips, [1], schema, seed=3, temperature=0.0)[0]
    assert not cold.sample.any()
    broken = draw_copies(flow, clips, [1], schema, temperature=math.inf)[0]
    assert broken.broken
    assert not copies[0].broken
    assert broken.sample.isfinite().all()
    silent = Waves(SCHEMA, [torch.zeros(50), torch.ones(50)])
    assert clips_to_copy(silent) == [1]


# --- a student ---------------------------------------------------------------------------------


def softened(copies, change):
    return [replace(c, sample=change(c.original)) for c in copies]


def dull(x):
    """A moving average of five, at the same loudness."""
    y = torch.nn.functional.conv1d(x[None, None], torch.ones(1, 1, 5) / 5, padding="same")[0, 0]
    return y * (x.norm() / y.norm())


@pytest.fixture(scope="module")
def copies(test):
    some = Waves(SCHEMA, [1000 * torch.randn(4000).round() for _ in range(3)])
    return draw_copies(ar2_flow(), some, [0, 1, 2], SCHEMA)


def compared(copies, change):
    speeds = [SamplingRate("teacher", 1.0, 20.0, RATE), SamplingRate("student", 1.0, 0.1, RATE)]
    student, teacher = softened(copies, change), softened(copies, lambda x: x)
    terms, kl = ["reverse KL"], (0.02, 0.001)
    return compare_copies(student, teacher, RATE, "teacher", terms, kl, speeds)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x, ["neither quiet nor dull"]),
        (lambda x: 0.5 * x, ["quiet"]),
        (dull, ["dull"]),
        (lambda x: 0.5 * dull(x), ["quiet", "dull"]),
    ],
)
def test_what_a_kl_hides_is_said_aloud(copies, change, words):
    found = compared(copies, change)
    assert [line.split(":")[0] for line in found.verdict] == words
    said = found.to_dict()
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said["speed"][1]["times_real"] == pytest.approx(10)
    assert said["speed"][1]["samples_per_second"] == pytest.approx(10 * RATE)
    assert found.tables()[0].rows[0][2] == "0.0200 ± 0.0010"


# --- the page ----------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects sounds, and complains of tags left open."""

    EMPTY = ("meta", "img", "br", "link", "input")

    def __init__(self):
        super().__init__()
        self.open, self.sounds, self.sources = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.EMPTY:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href"):
                self.sources.append(value)
                if tag == "audio":
                    self.sounds.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(path):
    page = Page()
    page.feed(path.read_text("utf-8"))
    assert page.open == []
    assert all(source.startswith("data:") for source in page.sources)
    return page


def story_of(schema, clips, flow, **changes):
    metrics = [{"step": 10 * i, "train": 7 - i / 10, "valid": 7.1 - i / 10} for i in range(5)]
    story = Story(
        name="run <1>",
        recipe=RECIPES["maf"](),
        flow=flow,
        dataset=Dataset("waves", schema, clips, clips, clips, notes=("a note",)),
        evaluation=evaluate(flow, clips, Autoregression.fit(None, clips, schema), schema),
        metrics=metrics,
        command="caudal train maf --data waves",
        config="seed: 0\n",
        seconds=12.0,
        seed=0,
    )
    return replace(story, **changes)


@pytest.mark.usefixtures("drawn")
def test_a_report_has_its_sounds_in_it(tmp_path):
    schema = WITH_MELS
    clips = with_context()
    story = story_of(schema, clips, ar2_flow(context_shape=(4, FREE)))
    path = write_report(tmp_path, story, TELLER)
    page, text = read(path), path.read_text("utf-8")
    copies = draw_copies(story.flow, clips, clips_to_copy(clips), schema, seconds=0.25)
    floors = draw_floors(clips, clips_to_copy(clips), schema, seconds=0.25)
    refined = refine_copies(copies, clips, clips_to_copy(clips), schema, seconds=0.25)
    waves = [
        wave
        for copy, *below in zip(copies, refined, *floors.values(), strict=True)
        for wave in (copy.original, copy.sample, *(made.sample for made in below))
    ]
    assert len(page.sounds) == 4 * (2 + 1 + 3)
    for sound, wave in zip(page.sounds, waves, strict=True):
        data = base64.b64decode(sound.removeprefix("data:audio/flac;base64,"))
        found, rate = soundfile.read(io.BytesIO(data), dtype="int16")
        assert rate == RATE
        assert np.array_equal(found, whole(wave))
    assert "run &lt;1&gt;" in text
    assert "3 bands" in text
    assert "4 training, 4 validation, 4 test clips" in text  # clips, not the crops of training
    assert "3-band log-mel spectrum and its digit alone" in text
    assert "loudness error" in text
    assert re.search(r"below (no floor|floors that)", text)
    assert re.search(r"A sample has -?[\d.]+ nats", text)
    assert re.search(r"as a density of amplitudes", text)
    pictures = {p.stem for p in (tmp_path / "pictures").glob("*.png")}
    assert pictures == {"spectrograms", "averages", "noise", "curves"}
    for side in ("originals", "samples"):
        assert len(list((tmp_path / side).glob("*.wav"))) == 4
    names = [{p.name for p in (tmp_path / s).iterdir()} for s in ("originals", "samples")]
    assert names[0] == names[1]


def test_a_students_report_has_three_sounds_a_clip(tmp_path, copies):
    clips = Waves(SCHEMA, waves([2000, 2000, 2000]))
    distilled = compared(copies, lambda x: 0.5 * x)
    story = story_of(SCHEMA, clips, ar2_flow(), distilled=distilled, evaluation=None)
    text = write_report(tmp_path, story, TELLER).read_text("utf-8")
    assert len(read(tmp_path / "report.html").sounds) == 9
    assert "quiet: its copies are 6.0 dB softer" in text
    assert "A KL alone hides" in text
    assert "times real time" in text


def test_wav_bytes_are_16_bit_and_clipped():
    wave = torch.tensor([0.0, 0.5, 2.0, -2.0])
    info = soundfile.info(io.BytesIO(encode(wave, RATE)))
    assert (info.format, info.subtype, info.samplerate) == ("WAV", "PCM_16", RATE)
    found, _ = soundfile.read(io.BytesIO(encode(wave, RATE)), dtype="int16")
    assert found.tolist() == [0, 2**14, 2**15 - 1, -(2**15)]


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("of_student", [False, True])
def test_curves_are_in_the_unit_of_their_axis(of_student, copies):
    clips = Waves(SCHEMA, waves([2000, 2000, 2000]))
    distilled = compared(copies, lambda x: x) if of_student else None
    figure = next(_curves(story_of(SCHEMA, clips, ar2_flow(), distilled=distilled)))[3]
    scale = 1 if of_student else 1 / math.log(2)
    losses = figure.axes[0].lines[1].get_ydata()
    assert losses == pytest.approx([scale * (7.1 - i / 10) for i in range(5)])
    named = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert ("linear prediction" in named) is not of_student
