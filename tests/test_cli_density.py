"""A density in the place of data: trained, evaluated, sampled, resumed, and refused."""

import json
import math

import numpy as np
import pyarrow.csv as pv
import pytest
import torch

import caudal
from caudal.annealing import Annealed
from caudal.errors import InputError
from caudal.modalities.density import CarriedOn
from caudal.recipes import RealNVP
from caudal.targets import Named
from command_line import caudal as command
from command_line import folder, refused

pytestmark = pytest.mark.usefixtures("drawn", "one_thread")

QUICK = ("--layers", 2, "--hidden", 8, "--blocks", 1, "--particles", 300, "--batch-size", 60)
STEPS = ("--steps", 8, "--validate-every", 4)
_RUNS = {}


def run():
    if not _RUNS:
        _RUNS["out"] = folder() / "density"
        words = ("train", "nsf", "--data", "density:banana", *QUICK, *STEPS)
        assert command(*words, "--out", _RUNS["out"]) == 0
    return _RUNS["out"]


def test_a_run_of_a_density_has_all_that_runs_have():
    out = run()
    assert {"model.safetensors", "metrics.jsonl", "eval.json", "report.html", "config.yaml"} <= {
        path.name for path in out.iterdir()
    }
    assert {"contours.png", "weights.png"} <= {path.name for path in (out / "pictures").iterdir()}
    board = json.loads((out / "eval.json").read_text())["scoreboard"]
    assert board["log_z"] == pytest.approx(board["known_log_z"], abs=0.5)
    assert 0 < board["ess"] <= 1
    assert board["exact_rows"] == 10_000
    first = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
    assert "train" in first


def test_it_is_evaluated_and_scored_again(capsys):
    capsys.readouterr()
    assert command("eval", run(), "--json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["scoreboard"]["draws"] == 10_000
    assert "reverse ESS" in told.err


def test_it_is_sampled_plainly_and_exactly(capsys, tmp_path):
    assert command("sample", run(), "-n", 400, "--exact", "--out", tmp_path / "s.csv") == 0
    assert "corrected in 20 steps" in capsys.readouterr().out
    table = pv.read_csv(tmp_path / "s.csv")
    assert table.column_names == ["x1", "x2"]
    x = np.stack([column.to_numpy() for column in table.columns], 1)
    assert x.std(0) == pytest.approx([2.0, 1.73], rel=0.2)
    assert command("score", run(), "--data", tmp_path / "s.csv", "--out", tmp_path / "t.csv") == 0
    words = ("sample", run(), "-n", 4, "--exact", "--out", tmp_path / "u.csv")
    assert "leave --temperature out" in refused(capsys, *words, "--temperature", 0.5)


def test_a_loaded_model_and_one_from_python_are_the_same():
    model = caudal.load(run())
    options = {"layers": 2, "hidden": 8, "blocks": 1, "particles": 300, "batch_size": 60}
    again = caudal.train("nsf", "density:banana", steps=8, validate_every=4, **options)
    assert model.sample(5, seed=3).equals(again.sample(5, seed=3))
    assert model.schema.what == "the density banana"


def test_a_target_of_ones_own_needs_no_file():
    target = Named("box", lambda x: -0.5 * x.square().sum(1), 3, scale=1.5)
    options = {"layers": 1, "hidden": 8, "blocks": 1, "particles": 200, "batch_size": 50}
    model = caudal.train("nsf", target, steps=2, **options)
    assert model.sample(4, exact=True).column_names == ["x1", "x2", "x3"]


def test_wrong_names_and_options_are_refused(capsys):
    for data, said in (
        ("density:funel", "did you mean 'funnel'"),
        ("density:no_such_module:f", "no module no_such_module"),
    ):
        assert said in refused(capsys, "train", "nsf", "--data", data)
    with pytest.raises(InputError, match="`particles` 3"):
        caudal.train("nsf", "density:funnel", particles=3)


def test_flows_that_draw_while_they_train_have_no_batch_normalisation(capsys, tmp_path):
    small = {"layers": 2, "hidden": [4], "steps": 2, "report": False}
    model = caudal.train("realnvp", "density:banana", **small)
    assert not model.recipe.batch_norm
    words = ["realnvp", "--data", "density:banana", "--batch-norm", "--out", tmp_path / "run"]
    assert "--no-batch-norm" in refused(capsys, "train", *words)
    flow = RealNVP(layers=2, hidden=(4,)).build((2,))
    with pytest.raises(InputError, match="batch_norm=False"):
        caudal.fit_density(flow, lambda x: -x.square().sum(1))


def test_draws_are_carried_on_by_annealing(capsys, tmp_path):
    words = ("sample", run(), "-n", 300, "--annealed", "--out", tmp_path / "s.csv")
    assert command(*words) == 0
    told = capsys.readouterr().out
    assert "carried on to the density in" in told
    log_z = float(told.split("log Z ")[1].split()[0])
    assert log_z == pytest.approx(np.log(4 * np.pi), abs=0.3)
    table = pv.read_csv(tmp_path / "s.csv")
    assert table.num_rows == 300
    words = ("sample", run(), "-n", 4, "--exact", "--annealed", "--out", tmp_path / "t.csv")
    assert "choose one of them" in refused(capsys, *words)


def test_parts_of_a_sample_share_their_lag():
    parts = [Annealed(torch.zeros(9, 2), 0.5, 0.1, -0.3, False, (1.0,), 0.8)] * 4
    account = CarriedOn(None, None)
    account._parts = [(9, part) for part in parts]
    found = account.to_dict()
    assert found["log_z"] == pytest.approx(0.5)
    assert found["log_z_error"] == pytest.approx(math.hypot(0.1 / 2, 0.3))


def test_a_function_of_rows_is_told_what_it_lacks(capsys, tmp_path, monkeypatch):
    (tmp_path / "bowls.py").write_text("def bowl(x):\n    return -x.square().sum(1)\n")
    monkeypatch.chdir(tmp_path)
    said = refused(capsys, "train", "nsf", "--data", "density:bowls:bowl")
    assert "Named('bowl', bowl, features=3)" in said
