"""Run folders written by version 0.1.0 are read by the commands of today.

The folders in tests/fixtures are kept as they were written, so they are never made anew.
"""

import json
import math
import shutil

import numpy as np
import pyarrow.csv as pa_csv
import pytest
import soundfile
import torch

import caudal as library
from caudal.report.baseline import load_baseline
from caudal.report.items import noise, place
from command_line import FIXTURES, caudal, shapes

RUNS = ("table", "table_teacher", "table_student", "image", "audio")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _copied(tmp_path, monkeypatch):
    """Copies the runs, and works beside them, as they name their data by relative paths."""
    shutil.copytree(FIXTURES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


SCORES = ("log_prob", "bits_per_dim", "bits_per_sample")
NOISY = {"table": "log_prob", "image": "bits_per_dim"}
"""Runs whose steps are filled with noise, which belonged to a row's place in the file."""


def evaluated(run, capsys):
    """What was stored, and what the command finds today; scores of flow and Gaussian apart."""
    stored = json.loads((FIXTURES / run / "eval.json").read_text(encoding="utf-8"))
    capsys.readouterr()
    assert caudal("eval", run, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    for key in ("kind", "unit", "rows", "split"):
        assert result[key] == stored[key], key
    keys = [key for key in stored if key in SCORES or key.startswith("gaussian_")]
    assert any(key.startswith("gaussian_") for key in keys)
    return tuple({key: found[key] for key in keys} for found in (stored, result))


@pytest.mark.parametrize("run", [run for run in RUNS if run not in NOISY])
def test_evaluates_to_the_stored_log_likelihood(run, capsys):
    stored, result = evaluated(run, capsys)
    assert result == pytest.approx(stored, rel=1e-6, abs=1e-4)


@pytest.mark.parametrize("run", NOISY)
def test_evaluates_to_the_stored_log_likelihood_but_for_noise(run, capsys):
    """With the noise that was, to the stored number; with that of today, to one beside it."""
    stored, result = evaluated(run, capsys)
    keys = NOISY[run], f"gaussian_{NOISY[run]}"
    once = torch.tensor([stored[key] for key in keys], dtype=torch.float64)
    now = torch.tensor([result[key] for key in keys], dtype=torch.float64)
    model = library.load(run)
    file, schema = f"{run}/gaussian.safetensors", model.schema
    baseline = load_baseline(file, schema.kind, model.flow, schema)
    means = torch.stack([noisy_means(model, baseline, seed) for seed in range(12)])
    if NOISY[run] == "bits_per_dim":
        means = means / (-math.log(2) * math.prod(model.flow.event_shape))
    torch.testing.assert_close(means[0], once, rtol=1e-6, atol=1e-4)
    assert ((now - means.mean(0)).abs() < 4 * means.std(0)).all()


@torch.no_grad()
def noisy_means(model, baseline, seed):
    """Scores of the flow and of the Gaussian, the noise drawn from row to row, as it was."""
    flow, scores = model.flow.eval(), []
    first, same, own = (noise(flow, seed) for _ in range(3))
    for batch in (place(flow, batch) for batch in model.dataset.test.items()):
        ours = flow.log_prob(*batch, first).double()
        scores.append(torch.stack([ours, baseline.log_prob(flow, batch, same, own)]))
    return torch.cat(scores, 1).mean(1)


@pytest.mark.parametrize("run", ["table", "table_teacher", "table_student"])
def test_samples_and_scores_tables(run):
    assert caudal("sample", run, "-n", 5, "--out", "new.csv") == 0
    assert caudal("score", run, "--data", "new.csv", "--out", "scored.csv") == 0
    new, scored = pa_csv.read_csv("new.csv"), pa_csv.read_csv("scored.csv")
    error = ["log_prob_se"] if run in NOISY else []
    assert scored.column_names == [*new.column_names, "log_prob", *error]
    assert np.isfinite(scored["log_prob"].to_numpy()).all()


def test_samples_a_table_given_values():
    assert caudal("sample", "table", "-n", 3, "--given", "city=Bari", "--out", "new.csv") == 0
    assert pa_csv.read_csv("new.csv")["city"].to_pylist() == ["Bari"] * 3


def test_samples_a_table_given_what_it_models():
    words = ("-n", 3, "--given", "city=Bari", "height=1.75", "--out", "new.csv")
    assert caudal("sample", "table", *words) == 0
    assert pa_csv.read_csv("new.csv")["height"].to_pylist() == [1.75] * 3


def test_corrects_a_student_to_its_teacher():
    words = ("-n", 5, "--exact", "table_teacher", "--exact-steps", 2, "--out", "new.csv")
    assert caudal("sample", "table_student", *words) == 0


def test_samples_and_scores_images():
    assert caudal("sample", "image", "-n", 4, "--out", "new.npz") == 0
    with np.load("new.npz") as new:
        images = new["images"]
    assert images.shape[:3] == (4, 8, 8)
    assert images.dtype == np.uint8
    np.savez("labelled.npz", images=shapes(4)[0], labels=np.arange(4))
    assert caudal("score", "image", "--data", "labelled.npz", "--out", "scored.csv") == 0
    assert np.isfinite(pa_csv.read_csv("scored.csv")["bits_per_dim"].to_numpy()).all()


@pytest.mark.parametrize("run", ["audio", "audio_student"])
def test_samples_audio(run):
    words = ("--seconds", 0.1, "--given", "vowel=a", "--out", "new.wav")
    assert caudal("sample", run, *words) == 0
    samples, rate = soundfile.read("new.wav")
    assert (len(samples), rate) == (800, 8000)


@pytest.mark.usefixtures("few_vowels")
def test_scores_audio():
    assert caudal("score", "audio", "--data", "vowels", "--out", "scored.csv") == 0
    assert np.isfinite(pa_csv.read_csv("scored.csv")["log_prob"].to_numpy()).all()
