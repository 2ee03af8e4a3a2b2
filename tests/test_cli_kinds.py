"""What the command line promises for every kind of data: one form of results, one of refusals."""

import json
from functools import cache

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from caudal.training.checkpoint import load_model
from command_line import (
    QUICK,
    TINY,
    caudal,
    folder,
    people_csv,
    refused,
    shapes,
    shapes_file,
)

pytestmark = pytest.mark.usefixtures("one_thread", "few_vowels")

AUDIO = ("--layers", 4, "--cycle", 2, "--channels", 4, "--steps", 4, "--batch-size", 4)
CLIPS = ("--seconds", 0.05, "--context", "vowel", "--validate-every", 2, "--no-report")
KINDS = {
    "table": ("realnvp", people_csv, QUICK),
    "images": ("glow", shapes_file, (*TINY, "--scales", 2, "--no-report")),
    "audio": ("wavenet", lambda: "vowels", (*AUDIO, *CLIPS)),
}
FEW = {"table": ("-n", 5), "images": ("-n", 5), "audio": ("-n", 1, "--seconds", 0.02)}
SAMPLES = {"table": "s.csv", "images": "s.npz", "audio": "s.wav"}
UNITS = {"table": "log_prob", "images": "bits_per_dim", "audio": "bits_per_sample"}


@cache
def run_of(kind):
    """A run of little training."""
    recipe, data, words = KINDS[kind]
    out = folder() / f"kinds-{kind}"
    assert caudal("train", recipe, "--data", data(), *words, "--out", out) == 0
    return out


@cache
def to_score(kind):
    """Data of this kind that are scored quickly; the built-in vowels are no files."""
    if kind != "audio":
        return KINDS[kind][1]()
    path = folder() / "kinds-clips"
    import soundfile

    path.mkdir()
    rng = np.random.default_rng(0)
    for vowel in "aei":
        soundfile.write(path / f"{vowel}.wav", 0.1 * rng.standard_normal(1200), 8000)
    (path / "metadata.csv").write_text("file,vowel\na,a\ne,e\ni,i\n")
    return path


def result(capsys, *words):
    capsys.readouterr()
    assert caudal(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def damaged(run, path):
    """A copy of a run whose weights are finite, and so large that no density is a number."""
    path.mkdir()
    (path / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    file = run / "model.safetensors"
    with safe_open(file, "pt") as content:
        metadata = content.metadata()
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    trained = {name for name, _ in load_model(file).flow.named_parameters()}
    for name in trained:
        tensors[name] = torch.full_like(tensors[name], 1e30)
    (path / "model.safetensors").write_bytes(save(tensors, metadata))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_run_does_not_score(kind, capsys, tmp_path):
    run, out = damaged(run_of(kind), tmp_path / "run"), tmp_path / "scored.csv"
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert caudal("score", run, "--data", to_score(kind), "--out", out) == 1
    text, error = capsys.readouterr()
    assert len(error.strip().splitlines()) == 1, error
    assert error.startswith("caudal: error: ")
    assert "Traceback" not in text + error
    assert sorted(tmp_path.rglob("*")) == before


def test_scores_are_told_alike(capsys, tmp_path):
    results = {}
    for kind in KINDS:
        words = ("--data", to_score(kind), "--out", tmp_path / f"{kind}.csv")
        results[kind] = result(capsys, "score", run_of(kind), *words)
    keys = {
        *("out", "rows", "rows_outside", "rows_unscored", "log_prob_inside"),
        *("lowest", "lowest_row", "unit", "kind"),
    }
    for kind, found in results.items():
        own = {f"{UNITS[kind]}_inside"}  # for a table, log_prob_inside itself
        own |= set() if kind == "audio" else {"log_prob_se"}  # a clip is scored once
        assert found.keys() == keys | own, kind


def test_samples_are_told_alike(capsys, tmp_path):
    for kind in KINDS:
        out = tmp_path / SAMPLES[kind]
        found = result(capsys, "sample", run_of(kind), *FEW[kind], "--out", out)
        assert found == {
            "out": str(out),
            "rows": FEW[kind][1],
            "seed": 0,
            "temperature": 1.0,
            "guidance": 0.0,
        }
        out.unlink()


NOISE = {"noise_std", "noise_two_se"}
ONLY = {
    "table": {
        *("gaussian_log_prob_inside", "copula", "copula_log_prob"),
        *("copula_gain", "copula_gain_two_se", *NOISE),
    },
    "images": {"elements", "bits", *NOISE},
    "audio": {
        *("bits", "rate", "samples", "duration", "nats_per_sample", "density_nats_per_sample"),
        *("discretized_bits_per_sample", "discretized_two_se", "uniform_bits_per_sample"),
        "recognitions",
    },
}
"""Keys of eval.json that one kind of data has, as they mean nothing for another."""


def test_evaluations_are_told_alike(capsys):
    shared = {
        *("kind", "rows", "rows_outside", "split", "seed", "draws", "unit", "gaussian"),
        *("log_prob", "log_prob_two_se", "two_se", "gain", "gain_two_se"),
    }
    for kind, unit in UNITS.items():
        found = result(capsys, "eval", run_of(kind))
        own = {unit, f"{unit}_inside", f"gaussian_{unit}"}
        assert found.keys() == shared | own | ONLY[kind], kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", ["train", "score", "sample"])
def test_nothing_is_overwritten_silently(command, kind, capsys, tmp_path):
    recipe, data, options = KINDS[kind]
    out = tmp_path / (SAMPLES[kind] if command == "sample" else "taken.csv")
    out.write_text("mine")
    words = {
        "train": (recipe, "--data", data(), *options, "--out", run_of(kind)),
        "score": (run_of(kind), "--data", to_score(kind), "--out", out),
        "sample": (run_of(kind), *FEW[kind], "--out", out),
    }[command]
    model = (run_of(kind) / "model.safetensors").read_bytes()
    assert "--overwrite" in refused(capsys, command, *words)
    assert out.read_text() == "mine"
    assert (run_of(kind) / "model.safetensors").read_bytes() == model
    if command != "train":
        assert caudal(command, *words, "--overwrite") == 0
        assert out.read_bytes() != b"mine"


TEACHERS = {
    "iresnet": (4, ("--blocks", 1, "--maps", 4, "--scales", 1)),
    "maf": (8, ("--layers", 1, "--hidden", 16)),
}
STUDENTS = {
    "iresnet": ("glow", ("--layers", 1, "--maps", 4, "--scales", 1)),
    "maf": ("iaf", ()),
}


@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.usefixtures("timed_once")
def test_a_run_on_images_teaches(name, capsys, tmp_path):
    side, options = TEACHERS[name]
    student, size = STUDENTS[name]
    np.save(tmp_path / "images.npy", shapes(100, side=side)[0])
    teacher, out = tmp_path / "teacher", tmp_path / "student"
    brief = ("--steps", 4, "--batch-size", 32)
    words = ("--data", tmp_path / "images.npy", *options, *brief, "--no-report")
    assert caudal("train", name, *words, "--out", teacher) == 0
    assert f"caudal distill {teacher} --out {teacher}-student" in capsys.readouterr().out
    words = (*size, *brief, "--pool", 100, "--out", out)
    words = words if name == "iresnet" else (*words, "--no-report")
    found = result(capsys, "distill", teacher, *words)
    assert found["fidelity"] == json.loads((out / "compare.json").read_text())
    assert found["fidelity"]["teacher"] == str(teacher)
    assert load_model(out).recipe.name == student
    if name == "iresnet":
        page = (out / "report.html").read_text(encoding="utf-8")
        assert f"caudal distill {teacher} --student {student}" in page
    assert caudal("sample", out, "-n", 6, "--out", tmp_path / "s.npz") == 0
    images = np.load(tmp_path / "s.npz")["images"]
    assert images.shape == (6, side, side, 1)
    assert images.dtype == np.uint8
    assert "--overwrite" in refused(capsys, "distill", teacher, *words)
