"""Sound as people have it: one long recording, speakers, spectra from elsewhere, other players."""

import json
import re
import stat
import sys
from functools import cache
from importlib import import_module

import numpy as np
import pytest
import soundfile
import torch

import caudal
from audio_files import fill, save, tone
from caudal import Bijection, Flow
from caudal.base import FREE, Normal
from caudal.data import AudioSchema, Column, Rows, open_audio
from caudal.data.audio import log_mel
from caudal.data.audio.stretches import GAP
from caudal.errors import InputError
from caudal.model.rest import Rest
from caudal.model.settings import settings
from caudal.report import copying_seconds, recognise
from command_line import caudal as cli

SMALL = {"layers": 3, "cycle": 3, "channels": 8, "seconds": 0.1, "batch_size": 4, "mels": 8}


pytestmark = pytest.mark.usefixtures("one_thread", "timed_once", "few_rows", "few_vowels")


@cache
def model():
    """A model of vowels given their spectrum and name."""
    return caudal.train("wavenet", "vowels", context=["mel", "vowel"], steps=2, **SMALL)


# --- copies -----------------------------------------------------------------------------------


def test_copies_are_as_long_and_as_loud_as_the_clip_unless_asked(tmp_path):
    quiet = np.concatenate([np.zeros(2000), 0.05 * tone(0.2), np.zeros(2000)])
    clip, given = save(tmp_path / "quiet.wav", quiet), {"given": ("vowel=a",)}
    (plain,) = model().sample(mel_of=str(clip), **given)
    assert len(plain.samples) == len(quiet)
    (asked,) = model().sample(mel_of=str(clip), trim=True, normalize=True, **given)
    assert len(asked.samples) < len(quiet)
    level = np.abs(asked.samples).mean() / np.abs(plain.samples).mean()
    assert level > 10  # 0.025 to 0.95, and no silence in the mean


def test_a_spectrum_is_copied_as_its_clip_is():
    clip = model().dataset.test.clip(0)
    mels = clip.context[1:].numpy()
    (sound,) = model().sample(mel_of=mels, given=(f"vowel={'aeiou'[int(clip.context[0, 0])]}",))
    (copy,) = model().sample()
    length = clip.x.shape[-1]
    assert len(sound.samples) == mels.shape[1] * model().schema.hop
    assert np.abs(sound.samples[: length // 2] - copy.samples[: length // 2]).max() < 0.05


# --- parts ------------------------------------------------------------------------------------


def test_one_recording_is_cut_in_time(tmp_path):
    wave = tone(60.0)
    save(tmp_path / "talk.wav", wave)
    found = open_audio(tmp_path / "talk.wav", trim=False)
    parts = found.train, found.valid, found.test
    starts = [[float(name.split(" from ")[1][:-2]) for name in part.names] for part in parts]
    assert [len(part.names) for part in parts] == [1, 4, 4]
    assert starts[1][0] == pytest.approx(found.train.duration + GAP, abs=0.11)
    assert starts[2][0] == pytest.approx(starts[1][0] + found.valid.duration + GAP, abs=0.11)
    assert sum(part.duration for part in parts) == pytest.approx(60 - 2 * GAP, abs=0.01)
    assert "is cut in time: 47.2 s for training, 5.9 s for validation" in found.notes[0]
    again = open_audio(tmp_path / "talk.wav", schema=found.schema)
    assert again.test.names == found.test.names
    save(tmp_path / "short.wav", tone(2.0))
    with pytest.raises(InputError, match=r"has 2\.0 s, too few to be cut in time into 3 parts"):
        open_audio(tmp_path / "short.wav")


@pytest.mark.parametrize("count", [3, 10])
def test_small_folders_have_a_clip_in_every_part(count, tmp_path):
    found = open_audio(fill(tmp_path, count))
    sizes = [len(part.names) for part in (found.train, found.valid, found.test)]
    assert sum(sizes) == count
    assert min(sizes) >= 1


@pytest.mark.parametrize(("by", "options"), [("who", {"labels": "{who}_{n}"}), (r"^(\w)_", {})])
def test_speakers_stay_together(by, options, tmp_path):
    for who in "abcdef":
        fill(tmp_path, 4, names=f"{who}_{{}}")
    found = open_audio(tmp_path, split_by=by, **options)
    speakers = [
        {name[0] for name in part.names} for part in (found.train, found.valid, found.test)
    ]
    assert sum(map(len, speakers)) == 6
    assert set().union(*speakers) == set("abcdef")


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("who", "has no such label"),
        ("(x", "no regular expression"),
        ("x(.)", "fits nothing in the name"),
        ("[.]wav", "has 1 group for 2 parts"),
    ],
)
def test_groups_that_are_none(by, words, tmp_path):
    with pytest.raises(InputError, match=words):
        open_audio(fill(tmp_path, 2), split_by=by, test=fill(tmp_path / "other", 1))


# --- what is odd ------------------------------------------------------------------------------


def test_offsets_and_clipping_are_said_and_antiphase_is_refused(tmp_path):
    fill(tmp_path, 4)
    save(tmp_path / "offset.wav", tone(level=0.3) + 0.5)
    wave = tone(2.0, level=0.9)
    wave[100:110] = 1.0
    save(tmp_path / "loud.wav", wave)
    notes = open_audio(tmp_path).notes
    assert any(
        "took a constant off 1 of 6 clips" in n and "0.5 of full scale in offset" in n
        for n in notes
    )
    assert any("1 of 6 clips are clipped, loud.wav in 0.06% of" in note for note in notes)
    noise = np.random.default_rng(0).normal(0, 0.001, (4800, 2))
    save(tmp_path / "stereo.wav", np.stack([tone(), -tone()], 1) + noise)
    with pytest.raises(InputError, match=r"stereo\.wav is out of phase, its channels cancel out"):
        open_audio(tmp_path)


FAKE = """#!{python}
import shutil, sys
if "bad" in sys.argv[sys.argv.index("-i") + 1]:
    sys.exit(sys.argv[sys.argv.index("-i") + 1] + ": moov atom not found")
shutil.copy(sys.argv[sys.argv.index("-i") + 1], sys.argv[-1])
"""


def program(folder, name, text):
    """A program of that name, alone on the path."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return str(folder)


def test_other_files_go_through_ffmpeg(tmp_path, monkeypatch):
    clips = tmp_path / "clips"
    fill(clips, 3)
    save(tmp_path / "x.wav", tone()).rename(clips / "x.m4a")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(InputError, match=r"x\.m4a is \.m4a audio, which ffmpeg reads, and there"):
        open_audio(clips)
    monkeypatch.setenv("PATH", program(tmp_path / "bin", "ffmpeg", FAKE))
    found = open_audio(clips)
    assert sum(len(part.names) for part in (found.train, found.valid, found.test)) == 4
    (clips / "bad.m4a").write_bytes(b"x")
    with pytest.raises(InputError, match=r"cannot be read by ffmpeg \(moov atom not found\)"):
        open_audio(clips)


# --- streams ----------------------------------------------------------------------------------


@cache
def student():
    """A student of the model."""
    return model().distill(student="parallel-wavenet", flows=(2, 3), steps=1, batch_size=2)


@pytest.mark.parametrize("make", [model, student])
def test_pieces_are_the_whole_to_the_bit(make, tmp_path):
    clip = save(tmp_path / "clip.wav", tone(0.7))  # 5600 samples, no whole number of pieces
    asked = {"mel_of": str(clip), "given": ("vowel=a",), "seed": 3}
    (whole,) = make().sample(**asked)
    pieces = list(make().stream(**asked))
    assert len(pieces) == 6
    assert np.array_equal(np.concatenate([piece.samples for piece in pieces]), whole.samples)
    assert {piece.rate for piece in pieces} == {whole.rate}


def test_a_stream_begins_before_the_clip_is_made(monkeypatch, tmp_path):
    made = []
    layer = model().flow.bijection.parts[0]
    monkeypatch.setattr(
        layer, "forward_in_pieces", lambda z, c: (made.append(p) or p for p in z.split(512, -1))
    )
    clip = save(tmp_path / "clip.wav", tone(0.7))
    next(model().stream(str(clip), given=("vowel=a",)))
    assert len(made) == 2


def test_samples_are_refined_by_their_spectrum(tmp_path, capsys):
    run, clip = tmp_path / "run", save(tmp_path / "clip.wav", tone(0.3))
    model().save(run)
    asked = {"mel_of": str(clip), "given": ("vowel=a",)}
    (plain,), (refined,) = (model().sample(**asked, refine=n) for n in (0, 8))
    off = [_off(sound, model().schema, tone(0.3)) for sound in (plain, refined)]
    assert off[1] < 0.7 * off[0]
    words = ["sample", run, "--mel-of", clip, "--given", "vowel=a", "--refine", 8]
    out = tmp_path / "copy.wav"
    assert cli(*words, "--out", out, "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["refine"] == 8
    assert "after 8 steps of refinement, these are not samples of the density" in said.err
    wave, _ = soundfile.read(out, dtype="int16")
    assert np.array_equal(wave, np.round(refined.samples[:, 0] * 2**15))
    assert cli(*words, "--out", "-") == 2
    assert "--refine: each step takes the whole clip" in capsys.readouterr().err


def _off(sound, schema, wave):
    """Mean distance of the bands of a sound from those of a clip, in nepers, where it is loud."""
    waves = [torch.from_numpy(np.asarray(w, float)).reshape(1, -1) for w in (sound.samples, wave)]
    made, given = (log_mel(w, schema.rate, schema.hop, schema.window, schema.mels) for w in waves)
    return float((made - given)[given > given.max() - 4].abs().mean())


def test_without_a_spectrum_nothing_is_refined():
    small = {**SMALL, "mels": 0} | {"context": ["vowel"], "steps": 1}
    with pytest.raises(InputError, match="`refine`: .* is given no spectrum"):
        caudal.train("wavenet", "vowels", **small).sample(seconds=0.1, refine=2)
    with pytest.raises(InputError, match="`refine`"):
        model().sample(refine=-1)


def test_only_sound_is_streamed():
    moons = caudal.train("nsf", "moons", layers=1, hidden=4, steps=1)
    with pytest.raises(InputError, match="only sound is streamed"):
        next(moons.stream())


PLAYER = """#!{python}
import sys
open({out!r}, "wb").write(sys.stdin.buffer.read())
"""


def test_sound_is_played_or_piped_as_it_is_made(tmp_path, monkeypatch, capfdbinary):
    run, clip, heard = tmp_path / "run", save(tmp_path / "clip.wav", tone(0.3)), tmp_path / "heard"
    model().save(run)
    words = ["sample", run, "--mel-of", clip, "--given", "vowel=a"]
    assert cli(*words, "--out", "-") == 0
    piped, said = capfdbinary.readouterr()
    (whole,) = model().sample(mel_of=str(clip), given=("vowel=a",))
    assert piped == (whole.samples * 2**15).astype("<i2").tobytes()
    assert said.startswith(b"-: 0.3 s sampled from")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert cli(*words, "--play") == 2
    assert b"none of aplay, ffplay, play, afplay is there" in capfdbinary.readouterr().err
    text = PLAYER.replace("{out!r}", repr(str(heard)))
    monkeypatch.setenv("PATH", program(tmp_path / "bin", "aplay", text))
    assert cli(*words, "--play") == 0
    assert heard.read_bytes() == piped


# --- while it trains, and afterwards ----------------------------------------------------------


def test_a_test_clip_is_heard_at_each_validation_and_labels_are_recognised(tmp_path, capsys):
    out = tmp_path / "run"
    words = ["--layers", 3, "--cycle", 3, "--channels", 8, "--seconds", 0.1, "--mels", 8]
    words += ["--steps", 6, "--validate-every", 2, "--context", "mel", "vowel", "--out", out]
    trainer = import_module("caudal.training.trainer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "_WATCHING", 100.0)
        assert cli("train", "wavenet", "--data", "vowels", *words) == 0
    said = capsys.readouterr().out
    name = caudal.load(out).dataset.test.names
    assert (
        re.search(
            r"to listen to while it trains, at each validation a copy of test clip (\S+):", said
        )[1]
        in name
    )
    heard = sorted(path.name for path in (out / "pictures" / "training").glob("*.wav"))
    assert heard == ["recording.wav", *(f"step-{step:06}.wav" for step in (2, 4, 6))]
    page = (out / "report.html").read_text("utf-8")
    assert page.index("Samples as training went on") < page.index("step 6</span>")
    (found,) = json.loads((out / "eval.json").read_text("utf-8"))["recognitions"]
    assert (found["label"], found["values"]) == ("vowel", 5)
    assert 0 <= found["right"] <= found["items"]
    assert "By the likelihood given each vowel, of 5, the right one is the likeliest" in said


def test_a_label_that_explains_its_items_is_recognised():
    flow = Flow(Louder(), Normal((1, FREE)), context_shape=(2, FREE))
    loud = Column.of_categories("loud", ("no", "yes"), "string")
    schema = AudioSchema(8000, 128, 128, 0, 512, context=(Column("take", "real"), loud))
    x = torch.randn(40, 1, 500)
    codes = torch.arange(40.0) % 4 == 0
    context = torch.stack([torch.zeros(40), codes.float()], 1)[:, :, None]
    rows = Rows(x * (1 + 4 * codes.float())[:, None, None], context)
    (found,) = recognise(flow, rows, schema, 40, seed=0)
    assert (found.label, found.right, found.items, found.majority) == ("loud", 40, 40, 0.75)
    assert found.two_se == 0
    (wrong,) = recognise(flow, Rows(rows.x, 1 - context), schema, 40, seed=0)
    assert wrong.right == 0


class Louder(Bijection):
    """Sound five times as loud where the second column of the context says so."""

    def scale(self, context):
        return 1 + 4 * context[:, 1:2]

    def forward(self, z, context=None):
        return z * self.scale(context), self.scale(context).log()[:, 0, 0] * z.shape[-1]

    def inverse(self, x, context=None):
        return x / self.scale(context), -self.scale(context).log()[:, 0, 0] * x.shape[-1]


def test_copies_and_labels_are_counted_in_the_plan(monkeypatch):
    kind = type(model().kind)
    monkeypatch.setattr(kind, "copying", lambda *_: (1.0, 16))
    made = settings("wavenet", model().kind, {"data": "vowels", "minutes": 1.0, "report": False})
    rest = Rest(made, model().dataset, evaluates=True, flow=model().flow)
    alone = Rest(made, model().dataset, evaluates=True).seconds(row=1e-6, left=60.0)
    assert rest.seconds(row=1e-6, left=60.0) == pytest.approx(alone + 9)
    assert (rest.extent.copies, rest.extent.recognised) == (9, None)
    rest.seconds(row=1.0, left=60.0)
    assert rest.extent.recognised == 0


def test_copying_is_timed_and_leaves_the_flow_as_it_was():
    flow, dataset = model().flow, model().dataset
    before = flow.training, torch.get_rng_state()
    each, count = copying_seconds(flow, dataset.test, model().schema)
    shortest = min(dataset.test.lengths) / dataset.schema.rate
    assert 0.3 * shortest <= each < 60  # no less than refinement, floors and measures take
    assert count == min(16, len(dataset.test.names))
    assert flow.training == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
