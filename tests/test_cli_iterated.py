"""Flows inverted by iteration, on the command line: tables and images, every command."""

import json

import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from command_line import caudal, people_csv, people_run, refused, shapes

VECTORS = {
    "iresnet": ("--blocks", 2, "--hidden", 8, 8),
    "residual-flow": ("--blocks", 2, "--hidden", 8),
    "mintnet": ("--layers", 1, "--latents", 4),
}
IMAGES = {
    "iresnet": ("--blocks", 1, "--maps", 4),
    "residual-flow": ("--blocks", 1, "--maps", 4, "--dense", 1),
    "mintnet": ("--layers", 1, "--latents", 4),
}
KINDS = {"iresnet": "biased estimate", "residual-flow": "unbiased estimate", "mintnet": None}
BRIEF = ("--steps", 4, "--batch-size", 32)


pytestmark = pytest.mark.usefixtures("one_thread")


def result(capsys, *words):
    capsys.readouterr()
    assert caudal(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", VECTORS)
def test_a_table(name, tmp_path, capsys):
    out = tmp_path / "run"
    words = ("--data", people_csv(), "--context", "city", *VECTORS[name], *BRIEF)
    assert caudal("train", name, *words, "--no-report", "--out", out) == 0
    found = result(capsys, "eval", out)
    assert found["kind"] == "lower bound"  # its log-det is exact: few columns
    assert "estimate_std" not in found
    scored, drawn = tmp_path / "scored.csv", tmp_path / "drawn.parquet"
    score = result(capsys, "score", out, "--data", people_csv(), "--out", scored, "--draws", 4)
    assert score["kind"] == "lower bound"
    # Of the noise between steps alone, over four draws.
    assert score["log_prob_se"] == pytest.approx(found["noise_std"] / 2, rel=0.5)
    assert caudal("sample", out, "-n", 50, "--given", "city=Bari", "--out", drawn) == 0
    rows = pq.read_table(drawn)
    assert rows.num_rows == 50
    assert np.isfinite(rows["height"].to_numpy()).all()


@pytest.mark.parametrize("name", IMAGES)
def test_images(name, tmp_path, capsys):
    """Of 144 pixels: more than determinants are taken of."""
    out, images = tmp_path / "run", tmp_path / "images.npy"
    np.save(images, shapes(60, side=12)[0])
    more = () if name == "iresnet" else ("--no-report",)
    words = ("--data", images, *IMAGES[name], *BRIEF, *more)
    assert caudal("train", name, *words, "--out", out) == 0
    assert (out / "report.html").exists() == (name == "iresnet")
    found = result(capsys, "eval", out)
    if KINDS[name] is None:
        assert found["kind"].startswith("lower bound")
        assert "estimate_std" not in found
    else:
        assert found["kind"].startswith(KINDS[name])
        assert found["estimate_std"] > 0
        assert ("bias_bound" in found) == (name == "iresnet")
    scored = tmp_path / "scored.csv"
    score = result(capsys, "score", out, "--data", images, "--out", scored)
    assert f"{score['kind']} (uniform dequantisation)" == found["kind"]
    assert ("bias_bound" in score) == (name == "iresnet")
    assert (pa_csv.read_csv(scored)["log_prob_se"].to_numpy() > 0).all()
    assert caudal("sample", out, "-n", 6, "--out", tmp_path / "s.png") == 0
    assert caudal("interpolate", out, "-n", 2, "--out", tmp_path / "m.png") == 0
    said = capsys.readouterr().out
    assert "the four images came back as they were" in said


def test_sweeps_draw_the_rows_that_steps_draw(tmp_path):
    out = tmp_path / "run"
    words = ("--data", people_csv(), "--layers", 2, "--hidden", 8, "--no-report", *BRIEF)
    assert caudal("train", "nsf-ar", *words, "--out", out) == 0
    drawn = {}
    for way in ((), ("--sweeps",)):
        path = tmp_path / f"{len(way)}.parquet"
        assert caudal("sample", out, "-n", 80, *way, "--out", path) == 0
        drawn[way] = pq.read_table(path)
    steps, sweeps = drawn.values()
    assert steps["city"] == sweeps["city"]
    np.testing.assert_allclose(sweeps["income"], steps["income"], rtol=1e-3)


def test_sweeps_are_refused_where_samples_take_one_pass(tmp_path, capsys):
    words = ("sample", people_run(), "--sweeps", "--out", tmp_path / "s.csv")
    said = refused(capsys, *words)
    assert "--sweeps is for flows that sample one element at a time" in said
    assert "and the realnvp of" in said
    assert not (tmp_path / "s.csv").exists()
