"""Sound on the command line: every command end to end, and every refusal in one line."""

import json
import re
import shutil
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pytest
import soundfile
import torch
import yaml

from audio_files import save, tone
from caudal.base import FREE
from caudal.cli.screen import teacher_line
from caudal.cli.train import read_options
from caudal.model import load as caudal_load
from caudal.recipes import WaveNet
from caudal.recipes.presets import PRESETS
from caudal.training.checkpoint import load, load_model
from caudal.training.run import Run, write_config
from command_line import (
    caudal,
    folder,
    image_run,
    interrupted,
    people_csv,
    people_run,
    refused,
    shapes_folder,
)

pytestmark = pytest.mark.usefixtures("one_thread", "timed_once", "few_vowels")

SMALL = ("--channels", 8, "--layers", 4, "--cycle", 4, "--seconds", 0.1, "--batch-size", 4)
BRIEF = (*SMALL, "--steps", 4, "--mels", 8, "--no-report")
LABELS = ("--labels", "{vowel}_{speaker}_{take}")
STUDENT = ("--flows", 3, 2, "--steps", 4, "--batch-size", 4, "--validate-every", 2)
PITCHES = {"a": 300, "i": 500, "u": 700}


def voices(path, takes=4):
    """Clips of two speakers' vowels, 0.3 s and longer."""
    for take in range(takes):
        for vowel, pitch in PITCHES.items():
            for speaker, scale in {"ann": 1.5, "bob": 1.0}.items():
                wave = tone(0.3 + 0.02 * take, scale * pitch, seed=take)
                save(path / f"{vowel}_{speaker}_{take}.wav", wave)
    return path


@cache
def clips():
    """A folder of them."""
    return voices(folder() / "voices")


@cache
def mel_run():
    """A run on them given the spectrum, with its report."""
    out = folder() / "mel"
    words = (*SMALL, "--steps", 6, "--mels", 8, "--validate-every", 3, "--out", out)
    assert caudal("train", "wavenet", "--data", clips(), *words) == 0
    return out


@cache
def label_run():
    """A run given the vowel alone."""
    out = folder() / "labels"
    words = ("--context", "vowel", *LABELS, "--law", "softmax", *BRIEF, "--out", out)
    assert caudal("train", "wavenet", "--data", clips(), *words) == 0
    return out


@cache
def free_run():
    """A run given nothing, of a mixture."""
    out = folder() / "free"
    words = ("--context", "none", "--law", "logistics", "--components", 2, *BRIEF, "--out", out)
    assert caudal("train", "wavenet", "--data", clips(), *words) == 0
    return out


@cache
def student_run():
    """The student of the first, with its report."""
    out = folder() / "parallel"
    assert caudal("distill", mel_run(), "--out", out, *STUDENT) == 0
    return out


def files_of(path):
    return {file.name for file in path.iterdir()}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


# --- train -----------------------------------------------------------------------------------


def test_train_leaves_a_complete_run_behind():
    out = mel_run()
    assert files_of(out) >= {
        "config.yaml", "model.safetensors", "state.safetensors", "metrics.jsonl", "eval.json",
        "gaussian.safetensors", "report.html", "pictures", "originals", "samples",
    }  # fmt: skip
    assert all((out / side).glob("*.wav") for side in ("originals", "samples"))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") >= 2
    assert f"caudal train wavenet --data {clips()}" in page
    found = read(out / "eval.json")
    assert (found["unit"], found["split"], found["bits"]) == ("bits/sample", "test", 16)
    assert found.keys() >= {
        "bits_per_sample", "nats_per_sample", "gaussian_bits_per_sample", "duration", "rows",
    }  # fmt: skip


def test_train_says_what_it_found_and_what_comes_next(capsys, tmp_path):
    out = tmp_path / "run"
    words = ("--data", clips(), "--context", "mel", "vowel", *LABELS, *BRIEF, "--out", out)
    assert caudal("train", "wavenet", *words) == 0
    said, progress = capsys.readouterr()
    assert re.search(
        r"8 kHz, 16 bits; clips: \d+ training \(\d\.\d s\), \d validation \(.*\), \d test \(", said
    )
    assert re.search(r"trains on crops of 768 samples \(0\.096 s\), \d+ in a pass", said)
    assert "given the log-mel spectrum, 8 bands every 16 ms\ngiven vowel, of 3: a, i, u" in said
    assert "receptive field 16 samples, 2 ms" in said
    assert re.search(r"step 4/4 .* nats \(\d+\.\d+ bits/sample\)", progress)
    assert re.search(r"flow +\d+\.\d{3}( ± \d+\.\d{3})? +lower bound of the likelihood", said)
    assert re.search(r"linear prediction +\d+\.\d{3}", said)
    assert f"caudal sample {out} --mel-of FILE.wav" in said
    assert f"caudal distill {out}" in said
    assert not (out / "report.html").exists()


def test_config_repeats_the_run_and_names_what_was_resolved(tmp_path):
    config = mel_run() / "config.yaml"
    first = yaml.safe_load(config.read_text(encoding="utf-8"))
    assert (first["rate"], first["window"], first["corrupt"]) == (8000, 512, "refuse")
    assert not {"columns", "types", "missing", "bits", "crop"} & first.keys()
    again = tmp_path / "again"
    assert caudal("train", "--config", config, "--out", again, "--no-report") == 0
    runs = [Run(path).metrics() for path in (mel_run(), again)]
    assert [m["train"] for m in runs[0]] == [m["train"] for m in runs[1]]
    made = yaml.safe_load((again / "config.yaml").read_text(encoding="utf-8"))
    assert made == {**first, "report": False}


def test_ctrl_c_saves_and_resume_gives_the_same(monkeypatch, capsys, tmp_path):
    out, whole = tmp_path / "run", tmp_path / "whole"
    words = ("train", "wavenet", "--data", clips(), *SMALL, "--mels", 8, "--no-report")
    words = (*words, "--validate-every", 5, "--no-cosine", "--warmup", 0)
    last = interrupted(monkeypatch, capsys, 7, *words, "--steps", 100, "--out", out)
    assert last.endswith(f"caudal train --out {out} --resume")
    assert caudal("train", "--out", out, "--resume", "--steps", 10) == 0
    assert caudal(*words, "--steps", 10, "--out", whole) == 0
    one, two = (load(path).state_dict() for path in (out, whole))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_built_in_sounds_and_a_pattern_of_test_clips(capsys, tmp_path):
    words = ("--context", "pitch", "vowel", "--test", "*_low_1", *BRIEF, "--out", tmp_path / "run")
    assert caudal("train", "wavenet", "--data", "vowels", *words) == 0
    said = capsys.readouterr().out
    assert "5 test (" in said
    assert "given pitch, a number\ngiven vowel, of 5: a, e, i, o, u" in said
    assert "--given pitch=NUMBER vowel=a --seconds 2 --out clip.wav" in said
    assert caudal("eval", tmp_path / "run", "--limit", 2) == 0
    assert "changed since" not in capsys.readouterr().out


# --- eval and score --------------------------------------------------------------------------


def test_eval_gives_the_same_numbers_again(capsys):
    before = read(mel_run() / "eval.json")
    capsys.readouterr()
    assert caudal("eval", mel_run(), "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == before == read(mel_run() / "eval.json")
    assert "changed since" not in err


def test_eval_of_other_clips_leaves_the_runs_own(capsys, tmp_path):
    before = (mel_run() / "eval.json").read_bytes()
    other = save(tmp_path / "one.wav", tone(0.4))
    capsys.readouterr()
    assert caudal("eval", mel_run(), "--data", other, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["data"], found["rows"]) == (str(other), 1)
    assert (mel_run() / "eval.json").read_bytes() == before


def test_score_writes_a_row_a_clip(capsys, tmp_path):
    out, run = tmp_path / "scored.csv", label_run()
    capsys.readouterr()
    assert caudal("score", run, "--data", clips(), "--out", out, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    rows = pa_csv.read_csv(out)
    assert rows.column_names == ["clip", "seconds", "log_prob", "bits_per_sample"]
    assert rows.num_rows == result["rows"] == 24
    one = rows.slice(0, 1).to_pylist()[0]
    samples = one["seconds"] * 8000
    assert one["bits_per_sample"] == pytest.approx(-one["log_prob"] / samples / np.log(2))
    assert {f"{name}.wav" for name in ("a_ann_0", "u_bob_3")} <= set(rows["clip"].to_pylist())


# --- sample ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["wav", "flac", "npy", "npz"])
def test_a_seed_is_a_file(suffix, tmp_path):
    files = [tmp_path / f"{name}.{suffix}" for name in ("one", "two", "other")]
    for file, seed in zip(files, (1, 1, 2), strict=True):
        words = ("--given", "vowel=a", "--seconds", 0.02, "--seed", seed, "--out", file)
        assert caudal("sample", label_run(), *words) == 0
    one, two, other = (file.read_bytes() for file in files)
    assert one == two != other
    if suffix in ("wav", "flac"):
        wave, rate = soundfile.read(files[0])
        assert (len(wave), rate) == (160, 8000)


def test_copy_synthesis_is_as_long_as_the_clip(capsys, tmp_path):
    clip, out, run = clips() / "a_ann_0.wav", tmp_path / "copy.wav", mel_run()
    capsys.readouterr()
    assert caudal("sample", run, "--mel-of", clip, "--out", out, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["rows"] == 1
    assert 0 < len(soundfile.read(out)[0]) <= 2400
    assert caudal("sample", run, "-n", 2, "--out", tmp_path / "two") == 0
    assert len(files_of(tmp_path / "two")) == 2


def test_a_slow_sampler_says_beforehand_how_long_it_takes(capsys, tmp_path, monkeypatch):
    module = import_module("caudal.model.sampling")
    monkeypatch.setattr(module, "_SHORT", 10)
    monkeypatch.setattr(module, "_LONG", 0.0)
    words = ("--given", "vowel=i", "--seconds", 0.05, "--out", tmp_path / "x.wav")
    assert caudal("sample", label_run(), *words) == 0
    assert re.search(
        r"400 samples, one after the other at about [\d,]+ a second: ", capsys.readouterr().out
    )


def test_a_run_given_nothing(tmp_path):
    out = tmp_path / "clips"
    assert caudal("sample", free_run(), "-n", 2, "--seconds", 0.01, "--out", out) == 0
    assert files_of(out) == {"0001.wav", "0002.wav"}


# --- distill ---------------------------------------------------------------------------------


def test_a_student_leaves_a_complete_run_behind():
    out = student_run()
    assert files_of(out) >= {
        "config.yaml", "model.safetensors", "state.safetensors", "metrics.jsonl", "compare.json",
        "report.html", "pictures", "originals", "samples",
    }  # fmt: skip
    found = read(out / "compare.json")
    assert found.keys() == {
        "teacher", "terms", "verdict", "kl_per_sample", "kl_per_sample_two_se",
        "teacher_copies", "student_copies", "refined_copies", "floor_copies", "speed",
    }  # fmt: skip
    assert found["terms"][0] == "KL(student||teacher), closed form"
    last = Run(out).metrics()[-1]
    assert last.keys() >= {"valid_kl", "valid_spectral", "train_kl"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Beside its teacher" in page
    assert page.count("<audio") >= 3


def test_a_student_is_a_run_as_any_other(tmp_path):
    out = tmp_path / "copy.wav"
    assert caudal("sample", student_run(), "--mel-of", clips() / "i_bob_1.wav", "--out", out) == 0
    assert len(soundfile.read(out)[0]) > 2000
    one = save(tmp_path / "one.wav", tone(0.05))
    words = ("--data", one, "--out", tmp_path / "scored.csv")
    assert caudal("score", student_run(), *words) == 0


def test_a_mixture_is_distilled_too(capsys, tmp_path, monkeypatch):
    module = import_module("caudal.report.audio.distilled")
    monkeypatch.setattr(module, "COMPARED", 1)
    words = (free_run(), "--out", tmp_path / "run", *STUDENT, "--no-report", "--json")
    capsys.readouterr()
    assert caudal("distill", *words, "--draws", 2) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["fidelity"] == read(tmp_path / "run/compare.json")
    assert result["fidelity"]["terms"][0] == "KL(student||teacher), 2 draws a sample"
    assert load_model(tmp_path / "run").recipe.noise == "logistic"


@pytest.mark.parametrize(("gain", "said"), [(1.25, "1.25 better"), (-0.5, "0.5 worse")])
def test_a_student_is_told_how_good_its_teacher_is(gain, said, tmp_path):
    found = json.dumps({"bits_per_sample": 9.5, "gain": gain})
    (tmp_path / "eval.json").write_text(found)
    teacher = caudal_load(mel_run())
    teacher.folder = tmp_path
    line = teacher_line(teacher)
    assert f"its test score is 9.5 bits/sample, {said} than the baseline" in line
    assert ("train it longer first" in line) == (gain < 0)
    (tmp_path / "eval.json").unlink()
    assert not teacher_line(teacher)


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--data", "TABLE"], "has rows of a table, which wavenet does not model"),
        (["--data", "IMAGES"], "has images, which wavenet does not model"),
        (["--data", "digits"], "digits has rows of a table, which wavenet does not model"),
        (["--data", "no/where"], "no file"),
        (["--data", "EMPTY"], "empty holds no audio"),
        (["--bits", "4"], "no option --bits"),
        (["--types", "a=integer"], "no option --types"),
        (["--missing", "drop"], "no option --missing"),
        (["--preset", "nope"], "--preset nope: wavenet has none of that name"),
        (["--context", "zzz"], "--context zzz: "),
        (["--context", "vowl", *LABELS], "did you mean 'vowel'?"),
        (["--context", "none", "mel"], "'none' goes alone"),
        (["--test", "zzz*"], "--test zzz*: no file fits it"),
        (["--metadata", "no.csv"], "no file no.csv: --metadata is a table"),
        (["--seconds", "-1"], "--seconds -1: must be above 0"),
        (["--seconds", "0"], "--seconds 0: must be above 0"),
        (["--seconds", "nan"], "--seconds nan: must be a number"),
        (["--seconds", "1000000"], "the longest clip has 0.36 s"),
        (["--mels", "-3"], "--mels -3: must be a whole number, at least 0"),
        (["--mels", "0"], "--mels 0: 'mel' in --context needs at least 1 band"),
        (["--mels", "1000"], "--mels 1000: a window of 512 samples tells 257 frequencies apart"),
        (["--window", "1"], "--window 1: give 16 to 8000 samples"),
        (["--window", "9000"], "--window 9000: give 16 to 8000 samples"),
        (["--hop", "0"], "--hop 0: must be a whole number, at least 1"),
        (["--hop", "1000"], "--hop 1000: crops of 0.1 s have 800 samples at 8000 Hz"),
        (["--rate", "16"], "--rate 16: give samples a second"),
    ],
)
def test_training_refusals(words, expected, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    places = {"TABLE": people_csv(), "IMAGES": shapes_folder(), "EMPTY": tmp_path / "empty"}
    words = [places.get(word, word) for word in words]
    data = [] if "--data" in words else ["--data", clips()]
    said = refused(capsys, "train", "wavenet", *data, *SMALL, "--out", tmp_path / "x", *words)
    assert expected in said
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("recipe", "words", "expected"),
    [
        ("maf", ["--data", "CLIPS"], "has audio, which maf does not model: take wavenet"),
        ("glow", ["--data", "vowels"], "has audio, which glow does not model: take wavenet"),
        ("maf", ["--data", "TABLE", "--seconds", "1"], "no option --seconds"),
        ("glow", ["--data", "IMAGES", "--mels", "3"], "no option --mels"),
        (
            "parallel-wavenet",
            ["--data", "CLIPS"],
            "one sample at a time, and would train for ever",
        ),
    ],
)
def test_recipes_and_data_that_do_not_go_together(recipe, words, expected, capsys, tmp_path):
    places = {"TABLE": people_csv(), "IMAGES": shapes_folder(), "CLIPS": clips()}
    words = [places.get(word, word) for word in words]
    assert expected in refused(capsys, "train", recipe, *words, "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def spoil(path, how):
    """Writes a file that is no clip."""
    wave = tone()
    if how == "corrupt":
        path.write_bytes(b"RIFF" * 50)
    elif how == "renamed":
        shutil.copy(next(shapes_folder().rglob("*.png")), path)
    elif how == "silent":
        save(path, 0 * wave)
    elif how == "clipped":
        save(path, (4 * wave).clip(-1, 1))
    elif how == "too short":
        save(path, wave[:20])
    else:
        wave[100] = np.nan
        save(path, wave, subtype="FLOAT")


SPOILT = {
    "corrupt": "cannot be read as audio",
    "renamed": "cannot be read as audio",
    "silent": "is silent",
    "clipped": "is clipped in",
    "too short": "is too short",
    "NaN": "has samples that are NaN",
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_bad_file_is_refused_by_name(how, capsys, tmp_path):
    data = voices(tmp_path / "data", takes=1)
    spoil(data / "bad.wav", how)
    said = refused(capsys, "train", "wavenet", "--data", data, "--out", tmp_path / "run", *BRIEF)
    assert f"bad.wav {SPOILT[how]}" in said
    assert "--corrupt skip" in said


def test_bad_files_are_skipped(capsys, tmp_path):
    data = voices(tmp_path / "data")
    for how in SPOILT:
        spoil(data / f"bad-{how}.wav", how)
    words = ("--data", data, *BRIEF, "--steps", 1, "--corrupt", "skip", "--out", tmp_path / "run")
    assert caudal("train", "wavenet", *words) == 0
    assert "note: skipped 6 of 30 clips" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["MEL", "--mel-of", "no.wav"], "no file no.wav"),
        (["MEL", "--seconds", "1"], "is given a spectrum, which says how long a clip is"),
        (["MEL", "--given", "vowel=a"], "the flow is told of none: leave --given out"),
        (["MEL", "--mel-of", "CLIPS"], "24 clips do not go into one .wav file"),
        (["MEL", "--exact", "MEL"], "no option --exact"),
        (["FREE", "-n", "3"], "3 clips do not go into one .wav file: give a folder"),
        (["FREE", "--out", "x.xyz"], "cannot write '.xyz' files"),
        (["FREE", "--mel-of", "CLIPS"], "was not given a spectrum, so it copies none"),
        (["FREE", "--seconds", "0"], "--seconds 0.0: must be a positive number"),
        (["FREE", "--seconds", "nan"], "--seconds nan: must be a positive number"),
        (["LABEL", "--given", "vowel=z"], "unknown category 'z'; known are 'a', 'i', 'u'"),
        (["LABEL", "--given", "wovel=a"], "did you mean 'vowel'?"),
        (["FREE", "--context-file", "TABLE"], "no option --context-file"),
        (["TABLE RUN", "--seconds", "1"], "no option --seconds"),
        (["IMAGE RUN", "--mel-of", "CLIPS"], "no option --mel-of"),
    ],
)
def test_sampling_refusals(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = {
        "MEL": mel_run, "FREE": free_run, "LABEL": label_run, "CLIPS": clips, "TABLE": people_csv,
        "TABLE RUN": people_run, "IMAGE RUN": image_run,
    }  # fmt: skip
    words = [places[word]() if word in places else word for word in words]
    out = [] if "--out" in words else ["--out", "x.wav"]
    assert expected in refused(capsys, "sample", *words, *out)
    assert not list(tmp_path.iterdir())


def test_files_are_never_overwritten_silently(capsys, tmp_path):
    out = tmp_path / "x.wav"
    out.write_text("mine")
    said = refused(capsys, "sample", free_run(), "--out", out)
    assert "exists: give --overwrite" in said
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["LABEL"], "a softmax is flat within its bins"),
        (["MEL", "--student", "maf"], "--student maf: "),
        (
            ["MEL", "--student", "wavenet"],
            "one position at a time; take parallel-wavenet",
        ),
        (["STUDENT"], "parallel-wavenet scores one position at a time: it cannot teach"),
        (["MEL", "--kl", "0", "--spectral", "0"], "nothing to learn from: give --kl"),
        (["MEL", "--hop", "64"], "--hop 64: the data's frames are of 128 samples"),
        (["MEL", "--flows", "0"], "must be 1 or more whole numbers, at least 1 each"),
        (["IMAGE RUN"], "glow samples in one pass already"),
    ],
)
def test_distilling_refusals(words, expected, capsys, tmp_path):
    places = {
        "MEL": mel_run, "LABEL": label_run, "STUDENT": student_run, "IMAGE RUN": image_run,
    }  # fmt: skip
    words = [places[word]() if word in places else word for word in words]
    said = refused(capsys, "distill", *words, "--out", tmp_path / "x")
    assert expected in said
    assert not said.startswith("error")
    assert not (tmp_path / "x").exists()


def test_other_commands_refuse_what_is_not_for_sound(capsys, tmp_path):
    out = tmp_path / "x.csv"
    assert "no option --crop" in refused(capsys, "eval", mel_run(), "--crop", 3)
    words = ("--data", clips(), "--out", out)
    assert "no option --resize" in refused(capsys, "score", mel_run(), *words, "--resize", 3)
    said = refused(capsys, "interpolate", mel_run(), "--out", tmp_path / "x.png")
    assert "models audio, and interpolate draws pictures" in said
    said = refused(capsys, "eval", mel_run(), "--data", people_csv())
    assert "audio is a folder of audio" in said
    assert not out.exists()


def test_damaged_and_moved_runs(capsys, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(mel_run(), run)
    write_config(run, {**Run(run).read_config(), "data": str(tmp_path / "gone")})
    for words in (["eval"], ["distill", "--out", tmp_path / "x"], ["sample", "--out", "x.wav"]):
        said = refused(capsys, words[0], run, *words[1:])
        assert f"no file {tmp_path / 'gone'}" in said
        assert "put it back, or " in said
    one = clips() / "a_ann_0.wav"
    alone = shutil.copy(run / "model.safetensors", tmp_path / "alone.safetensors")
    for path in (run, alone):
        words = ("--mel-of", one, "--out", tmp_path / "x.wav", "--overwrite")
        assert caudal("sample", path, *words) == 0
    assert caudal("eval", alone, "--data", one) == 0
    model = run / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-64])
    assert "not a safetensors file, or damaged" in refused(capsys, "eval", run)


def test_a_run_finds_its_table_of_labels_from_any_folder(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = (f"{file.name},{file.name[0]}" for file in sorted(clips().iterdir()))
    Path("said.csv").write_text("\n".join(["file,vowel", *rows]))
    words = ("--metadata", "said.csv", "--context", "mel", "vowel", *BRIEF, "--out", "run")
    assert caudal("train", "wavenet", "--data", clips(), *words) == 0
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert caudal("eval", "../run") == 0
    (tmp_path / "said.csv").unlink()
    said = refused(capsys, "eval", "../run")
    assert f"no file {tmp_path / 'said.csv'}" in said
    assert "(--metadata): put it back" in said


@pytest.mark.parametrize("option", ["labels", "metadata"])
def test_an_edited_config_is_named(option, capsys, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(mel_run(), run)
    write_config(run, {**Run(run).read_config(), option: 5})
    said = refused(capsys, "eval", run)
    assert f"config.yaml: --{option} 5: must be a string" in said


@pytest.mark.parametrize("name", PRESETS["wavenet"])
def test_presets_set_what_is_not_typed_and_have_the_parameters_they_say(name):
    preset = PRESETS["wavenet"][name]
    recipe = WaveNet(**preset.fields)
    _, made = read_options(["wavenet", "--data", "x", "--preset", name, "--batch-size", "7"])
    assert made.recipe == recipe
    assert {k: getattr(made.data, k) for k in preset.options} == dict(preset.options)
    assert (made.training.batch_size, made.training.steps) == (7, 1_000_000)
    flow = recipe.build((1, FREE), (preset.options["mels"], FREE))
    assert sum(p.numel() for p in flow.parameters()) == preset.parameters


def test_options_of_sound_are_read_without_data():
    _, made = read_options(["wavenet", "--data", "x", "--seconds", "0.2", "--context", "none"])
    assert made.data.seconds == 0.2
    assert made.data.context == ("none",)
    assert made.training.batch_size == 8


def test_epochs_in_a_config_replace_the_usual_steps(tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("recipe: wavenet\ndata: vowels\nepochs: 3\n", encoding="utf-8")
    _, made = read_options(["--config", str(file)])
    assert (made.training.epochs, made.training.steps) == (3, None)
