"""Run folders written by version 0.1.0 are read by the commands of today.

The folders in tests/fixtures are kept as they were written, so they are never made anew.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pytest
import soundfile

from command_line import caudal, shapes

FIXTURES = Path(__file__).parent / "fixtures"
RUNS = ("table", "table_teacher", "table_student", "image", "audio")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _copied(tmp_path, monkeypatch):
    """Copies the runs, and works beside them, as they name their data by relative paths."""
    shutil.copytree(FIXTURES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("run", RUNS)
def test_evaluates_to_the_stored_log_likelihood(run, capsys):
    stored = json.loads((FIXTURES / run / "eval.json").read_text(encoding="utf-8"))
    capsys.readouterr()
    assert caudal("eval", run, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    for key in stored.keys() & {"log_prob", "bits_per_dim", "bits_per_sample"}:
        assert result[key] == pytest.approx(stored[key], rel=1e-6, abs=1e-4), key
    for key in ("kind", "unit", "rows", "split"):
        assert result[key] == stored[key], key
    gaussian = {key: value for key, value in stored.items() if key.startswith("gaussian_")}
    assert gaussian
    for key, value in gaussian.items():
        assert result[key] == pytest.approx(value, rel=1e-6, abs=1e-4), key


@pytest.mark.parametrize("run", ["table", "table_teacher", "table_student"])
def test_samples_and_scores_tables(run):
    assert caudal("sample", run, "-n", 5, "--out", "new.csv") == 0
    assert caudal("score", run, "--data", "new.csv", "--out", "scored.csv") == 0
    new, scored = pa_csv.read_csv("new.csv"), pa_csv.read_csv("scored.csv")
    assert scored.column_names == [*new.column_names, "log_prob"]
    assert np.isfinite(scored["log_prob"].to_numpy()).all()


def test_samples_a_table_given_values():
    assert caudal("sample", "table", "-n", 3, "--given", "city=Bari", "--out", "new.csv") == 0
    assert pa_csv.read_csv("new.csv")["city"].to_pylist() == ["Bari"] * 3


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


def test_scores_audio():
    assert caudal("score", "audio", "--data", "vowels", "--out", "scored.csv") == 0
    assert np.isfinite(pa_csv.read_csv("scored.csv")["log_prob"].to_numpy()).all()
