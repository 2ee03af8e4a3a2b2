"""What a user gets wrong is refused in one line that helps, from Python and as a command."""

import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

import caudal
from caudal.cli.screen import with_advice
from caudal.errors import InputError, as_flags, one_line
from caudal.modality import Voice
from caudal.recipes import MAF
from command_line import caudal as command
from command_line import exact_run, people, people_csv, people_run, refused

pytestmark = pytest.mark.usefixtures("one_thread", "timed_once")

TINY = {"layers": 2, "hidden": (8,), "steps": 4, "batch_size": 64}
FEW = ("--layers", 2, "--hidden", 8, "--steps", 4, "--batch-size", 64, "--no-report")


class Heard(Voice):
    """Keeps the notes."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def model():
    return caudal.train("realnvp", people(), context=["city"], **TINY)


# --- resuming ------------------------------------------------------------------------------------


def test_a_run_that_is_not_there_is_not_resumed(capsys, tmp_path):
    out = tmp_path / "typo"
    with pytest.raises(InputError, match="typo is not there, so that no run can go on in it"):
        caudal.train("realnvp", people(), out=out, resume=True, **TINY)
    words = ("realnvp", "--data", people_csv(), *FEW, "--out", out, "--resume")
    assert "typo is not there" in refused(capsys, "train", *words)
    said = refused(capsys, "train", "--out", out, "--resume")
    assert said.endswith("typo holds no run to resume: there is no such folder")
    assert not out.exists()
    out.mkdir()
    said = refused(capsys, "train", "--out", out, "--resume")
    assert said.endswith("typo holds no run to resume: no config.yaml is in it")
    (out / "letter.txt").write_text("")
    assert "folder with other files (letter.txt)" in refused(capsys, "train", *words)


def test_resuming_needs_a_folder(model):
    with pytest.raises(InputError, match="`resume=True` needs the folder"):
        caudal.train("realnvp", people(), resume=True, **TINY)
    with pytest.raises(InputError, match="`resume=True` needs the folder"):
        caudal.load(exact_run()).distill(resume=True)


def test_a_run_without_a_state_starts_anew_with_a_word(capsys, tmp_path):
    for name in ("python", "command"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("recipe: realnvp\n")  # killed at its start
    heard, out = Heard(), tmp_path / "python"
    options = {**TINY, "report": False}
    caudal.train("realnvp", people(), out=out, resume=True, voice=heard, **options)
    assert heard.notes == [f"{out}: nothing to resume, starting anew"]
    out = tmp_path / "command"
    words = ("--data", people_csv(), *FEW)
    assert command("train", "realnvp", *words, "--out", out, "--resume") == 0
    assert f"note: {out}: nothing to resume, starting anew" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seed", 4), "--seed was 0 and is 4"),
        (("--batch-size", 50), "--batch-size was 64 and is 50"),
        (("--layers", 5), "--layers was 2 and is 5"),
        (("--split-seed", 5), "--split-seed was 0 and is 5"),
        (("--types", "age=real"), "--types was [] and is ['age=real']"),
    ],
)
def test_what_differs_from_the_run_has_the_name_of_its_flag(words, said, capsys, tmp_path):
    out = shutil.copytree(people_run(), tmp_path / "run")
    assert f"cannot resume, {said}: give" in refused(
        capsys, "train", "--out", out, "--resume", *words
    )


def test_a_student_whose_samples_are_others_names_the_option(capsys, tmp_path):
    out = tmp_path / "student"
    words = (*FEW, "--hidden", 8, "--pool", 200, "--out", out)
    assert command("distill", exact_run(), *words) == 0
    for name, before in (("seed", 0), ("pool", 200)):
        said = refused(capsys, "distill", exact_run(), *words, "--resume", f"--{name}", 300)
        assert f"--{name} was {before} and is 300" in said


# --- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: m.sample(2.5), "`n` 2.5: must be a whole number"),
        (lambda m: m.sample("3"), "`n` '3': must be a whole number"),
        (lambda m: m.sample(True), "`n` True: must be a whole number"),
        (lambda m: m.sample(3, seed="x"), "`seed` x: must be a whole number"),
        (lambda m: m.sample(3, temperature="x"), "`temperature` 'x': must be a number"),
        (lambda m: m.sample(3, exact_steps=5), "`exact_steps` 5: is for `exact`"),
        (lambda m: m.evaluate(draws=1.5), "`draws` 1.5: must be a whole number"),
        (lambda m: m.evaluate(limit="x"), "`limit` 'x': must be a whole number"),
        (lambda m: m.log_prob(people(5), seed=1.5), "`seed` 1.5: must be a whole number"),
        (lambda m: m.save(3), "`folder` 3: must be a path"),
        (lambda m: m.score(people(5), 3), "`out` 3: must be a path"),
        (lambda m: m.interpolate(n="x"), "`n` 'x': must be a whole number"),
        (lambda m: caudal.load(3), "`run` 3: must be a path"),
        (lambda m: caudal.load(None), "`run` None: must be a path"),
        (lambda m: caudal.train("maf", people(), out=3), "`out` 3: must be a path"),
        (lambda m: caudal.train(3, people()), "`recipe` 3: give a name"),
        (lambda m: m.report(), r"save the model first, with model.save"),
        (lambda m: caudal.train("wavenet", []), "the list of clips is empty"),
        (
            lambda m: caudal.train("wavenet", [np.zeros(99)]),
            "clip 1 is a ndarray without its rate: give pairs",
        ),
        (
            lambda m: caudal.train(MAF(layers=2), people(), preset="power"),
            "an instance of MAF: give 'maf' with the preset",
        ),
    ],
)
def test_arguments_of_a_wrong_kind_are_refused(call, said, model):
    with pytest.raises(InputError, match=said):
        call(model)


def test_an_array_of_another_width_is_not_scored(capsys, tmp_path):
    numbers = np.random.default_rng(0).normal(size=(400, 3))
    model = caudal.train("realnvp", numbers[:, :2], **TINY)
    for call in (model.log_prob, model.evaluate):
        with pytest.raises(InputError, match="^array has 3 columns, the model 2$"):
            call(numbers)
    np.save(tmp_path / "wide.npy", numbers)
    run = model.save(tmp_path / "run")
    words = ("--data", tmp_path / "wide.npy", "--out", tmp_path / "scored.csv")
    assert refused(capsys, "score", run, *words).endswith("has 3 columns, the model 2")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sample", "RUN", "-n", 0, "--out", "a.csv"), "-n 0: must be a whole number, at"),
        (("sample", "RUN", "--out", "a"), "a: no suffix, which chooses the form; known are"),
        (
            ("sample", "RUN", "--out", "a.csv", "--exact-steps", 5),
            "--exact-steps 5: is for --exact",
        ),
        (("train", "maf", "--data", "moons", "--steps", -1), "at least 1; see caudal train maf"),
        (("train", "maf", "--data", "moons", "--split", 0.5, 0.5), "--split: must be 3 numbers"),
        (("train", "maf", "--data", "moons", "--hiden", 3), "did you mean --hidden? See caudal"),
        (("train", "nsf", "--data", "vowels"), "spirals eight-gaussians pinwheel"),
        (("distill", "MAF", "--student", "glow"), "take nice, realnvp, iaf, nsf, nsf-iaf"),
        (
            ("interpolate", "RUN", "--out", "a.png"),
            "tables of the pixels of images",
        ),
    ],
)
def test_hints_help(words, said, capsys):
    runs = {"RUN": people_run(), "MAF": exact_run()}
    line = refused(capsys, *(runs.get(word, word) for word in words))
    assert said in line
    assert "None" not in line
    assert not line.endswith("vowels")


@pytest.mark.parametrize(("name", "recipe"), [("a.png", "glow"), ("a.wav", "wavenet")])
def test_a_file_that_cannot_be_read_is_not_called_too_few(name, recipe, capsys, tmp_path):
    (tmp_path / name).write_text("neither a picture nor sound")
    said = refused(capsys, "train", recipe, "--data", tmp_path / name)
    assert f"{name} cannot be read as" in said


def test_a_pattern_that_takes_the_whole_name_is_blamed(capsys, tmp_path):
    rng = np.random.default_rng(0)
    for index in range(40):
        clip = 0.5 * rng.normal(size=4000).clip(-1, 1)
        soundfile.write(tmp_path / f"{index % 2}_a_{index}.wav", clip, 8000)
    words = ("--data", tmp_path, "--labels", "{digit}", "--context", "digit")
    assert "has another digit" in refused(capsys, "train", "wavenet", *words)


# --- words of others -----------------------------------------------------------------------------


def test_words_of_others_are_not_taken_for_flags():
    error = RuntimeError("`CUDAAccelerator` can not run:\n use `accelerator` of `Fabric`")
    assert (
        as_flags(one_line(error)) == "'CUDAAccelerator' can not run: use 'accelerator' of 'Fabric'"
    )


def test_an_accelerator_that_is_not_here(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = ("--data", "moons", *FEW, "--accelerator", "cuda", "--out", tmp_path / "run")
    said = refused(capsys, "train", "realnvp", *words)
    assert said == "no CUDA device here: use --accelerator cpu"


def test_help_for_data_that_are_not_there(capsys):
    assert command("train", "realnvp", "--data", "photos", "--help") == 0
    out = capsys.readouterr().out
    assert "There is no file or folder photos" in out
    assert "{None}" not in out


def test_a_broken_config_is_told_alike_by_all(capsys, tmp_path):
    out = shutil.copytree(people_run(), tmp_path / "run")
    (out / "config.yaml").write_text("a: [")
    lines = {
        refused(capsys, "train", "--out", out, "--resume"),
        refused(capsys, "train", "--config", out / "config.yaml"),
        refused(capsys, "eval", out),
    }
    assert len(lines) == 1
    assert "config.yaml: not YAML: " in lines.pop()


def test_sigterm_at_the_start_ends_with_a_line(tmp_path):
    code = "import caudal.cli.entry as e, time, sys; e.overview = lambda: print('on', flush=True)"
    code += " or time.sleep(60); sys.exit(e.main([]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err.strip() == "caudal: interrupted"


def test_a_signal_keeps_its_exit_code(tmp_path):
    from caudal.cli.entry import Terminated

    (tmp_path / "state.safetensors").write_text("")
    error = with_advice(Terminated(), tmp_path, "caudal train")
    assert error.exit_code == 143
    assert "what was trained is in" in str(error)


# --- saved models --------------------------------------------------------------------------------


def test_saving_over_a_run_names_the_arguments_of_save(model, tmp_path):
    shutil.copytree(people_run(), tmp_path / "run")
    with pytest.raises(InputError, match="another `folder` leaves it alone") as caught:
        model.save(tmp_path / "run")
    assert "resume" not in str(caught.value)


def test_data_from_python_are_given_again(tmp_path):
    frame = pd.DataFrame(people().to_pandas())
    model = caudal.train("realnvp", frame, context=["city"], report=False, **TINY)
    run = model.save(tmp_path / "run")
    bare = caudal.load(run)
    for call in (bare.evaluate, bare.report, lambda: bare.sample(2)):
        with pytest.raises(InputError, match=r"as caudal.load\('.*', data=...\)"):
            call()
    with pytest.raises(InputError) as caught:
        bare.report()
    assert "`data`" not in str(caught.value)
    again = caudal.load(run, data=frame)
    assert again.evaluate().score == model.evaluate().score
    assert again.sample(5, seed=1).equals(model.sample(5, seed=1))
    assert again.report().exists()


def test_another_file_in_a_run_is_not_its_model(tmp_path):
    out = shutil.copytree(people_run(), tmp_path / "run")
    shutil.copy(out / "model.safetensors", out / "other.safetensors")
    assert caudal.load(out / "other.safetensors").folder is None
    assert caudal.load(out / "model.safetensors").folder == out


def test_other_data_are_no_split():
    result = caudal.load(people_run()).evaluate(str(people_csv()))
    assert "split" not in result.to_dict()
    assert result.to_dict()["data"] == str(people_csv())
    assert str(people_csv()) in result.title
