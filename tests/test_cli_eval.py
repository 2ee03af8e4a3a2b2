"""`caudal eval`: the number, what it is, what it is beside, and of which rows."""

import json
import math
import shutil

import numpy as np
import pyarrow.csv as pa_csv
import pytest
import torch

import caudal as library
from command_line import (
    FIXTURES,
    QUICK,
    caudal,
    dropping_run,
    exact_run,
    folder,
    people,
    people_csv,
    people_run,
    refused,
)


def evaluated(capsys, *words):
    """The JSON that eval prints, which must be all it prints on standard output."""
    capsys.readouterr()
    assert caudal("eval", *words, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_what_a_killed_evaluation_left_is_swept(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(people_run(), run)
    left = run / ".4194305.eval.json"  # a number beyond those of processes
    left.write_text("{")
    assert caudal("eval", run, "--samples", "0") == 0
    assert not left.exists()


def test_says_what_the_number_is(capsys):
    result = evaluated(capsys, people_run())
    assert result["unit"] == "nats"
    assert result["kind"] == "lower bound"
    assert result["split"] == "test"
    assert result["rows"] == library.load(people_run()).dataset.test.n_rows
    assert result["rows_outside"] == 0
    assert result["two_se"] > 0
    assert "bits_per_dim" not in result
    assert json.loads((people_run() / "eval.json").read_text()) == result


def test_says_that_the_data_changed_or_are_gone(capsys, tmp_path):
    lines = people_csv().read_text(encoding="utf-8").splitlines()
    (tmp_path / "p.csv").write_text("\n".join(lines), encoding="utf-8")
    words = ("--data", tmp_path / "p.csv", "--out", tmp_path / "run", *QUICK)
    assert caudal("train", "nice", *words) == 0
    assert caudal("eval", tmp_path / "run") == 0
    assert "changed since" not in capsys.readouterr().out
    (tmp_path / "p.csv").write_text("\n".join([lines[0], *lines[2:]]), encoding="utf-8")
    assert caudal("eval", tmp_path / "run") == 0
    assert "p.csv changed since the run was trained" in capsys.readouterr().out
    (tmp_path / "p.csv").unlink()
    said = refused(capsys, "eval", tmp_path / "run")
    assert "was trained with (--data): put it back, or give other rows with --data" in said


def test_is_the_mean_of_log_prob(capsys):
    result = evaluated(capsys, exact_run())
    opened = library.load(exact_run())
    with torch.no_grad():
        log_prob = opened.flow.log_prob(opened.dataset.test.x).double()
    assert result["kind"] == "exact"
    assert result["log_prob"] == pytest.approx(float(log_prob.mean()), abs=1e-6)
    two_se = 2 * float(log_prob.std()) / math.sqrt(len(log_prob))
    assert result["two_se"] == pytest.approx(two_se, rel=1e-5)


def test_the_gaussian_is_that_of_the_training_rows(capsys):
    result = evaluated(capsys, exact_run())
    data = library.load(exact_run()).dataset
    train, test = data.train.x.double(), data.test.x.double()
    normal = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov(correction=0))
    expected = float(normal.log_prob(test).mean())
    assert result["gaussian_log_prob"] == pytest.approx(expected, abs=1e-6)
    gain = result["log_prob"] - result["gaussian_log_prob"]
    assert result["gain"] == pytest.approx(gain, abs=1e-6)


def test_the_noise_is_seeded(capsys):
    first, again = evaluated(capsys, people_run()), evaluated(capsys, people_run())
    other = evaluated(capsys, people_run(), "--seed", 1)
    evaluated(capsys, people_run())  # eval.json as it was
    assert first == again
    assert other["log_prob"] != first["log_prob"]


def test_limit_takes_fewer_rows_and_leaves_eval_json(capsys):
    before = (people_run() / "eval.json").read_text()
    assert evaluated(capsys, people_run(), "--limit", 10)["rows"] == 10
    assert (people_run() / "eval.json").read_text() == before


def test_other_rows(capsys):
    path = folder() / "others.csv"
    pa_csv.write_csv(people(50, seed=3), path)
    result = evaluated(capsys, people_run(), "--data", path)
    assert (result["rows"], result["data"]) == (50, str(path))
    assert math.isfinite(result["gaussian_log_prob"])


def test_rows_outside_the_support_make_the_mean_minus_infinity(capsys):
    path = folder() / "outside.csv"
    table = people(20, seed=4).to_pydict()
    table["income"][2] = -5.0
    table["age"][7] = 30.5
    lines = [
        ",".join(table),
        *(",".join(map(str, row)) for row in zip(*table.values(), strict=True)),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = evaluated(capsys, people_run(), "--data", path)
    assert result["log_prob"] is None
    assert result["rows_outside"] == 2
    gain = result["log_prob_inside"] - result["gaussian_log_prob_inside"]
    assert result["gain"] == pytest.approx(gain, abs=1e-4)
    assert result["gaussian_log_prob"] != pytest.approx(result["gaussian_log_prob_inside"])
    assert math.isfinite(result["log_prob_inside"])
    assert caudal("eval", people_run(), "--data", path) == 0
    said = capsys.readouterr().out
    assert "−∞" in said
    assert "2 rows score −∞: outside the support of the data, where the density is 0, or" in said
    assert "flow, 18 finite rows" in said
    assert "Gaussian, 18 finite rows" in said


EARLY = FIXTURES / "table_teacher"
"""A run on two continuous columns whose tails are the noise's, and fall too fast for floats."""


def test_far_rows_are_not_said_to_be_outside_for_sure(capsys):
    path = folder() / "far.csv"
    path.write_text("x,y\n0.1,0.2\n1e30,0\n", encoding="utf-8")
    result = evaluated(capsys, EARLY, "--data", path)
    assert result["rows_outside"] == 1
    assert result["log_prob"] is result["two_se"] is result["gain_two_se"] is None
    assert math.isfinite(result["gaussian_log_prob_inside"])
    assert caudal("eval", EARLY, "--data", path) == 0
    said = capsys.readouterr().out
    assert "too far from the data for the flow's precision" in said
    assert "nan" not in said
    table = said[: said.index("Log-likelihoods are")]
    assert max(map(len, table.splitlines())) < 80  # the Gaussian's mean has 60 digits


def test_one_row_has_no_standard_error(capsys):
    result = evaluated(capsys, exact_run(), "--limit", 1)
    assert result["two_se"] is None
    assert math.isfinite(result["log_prob"])
    assert caudal("eval", exact_run(), "--limit", 1) == 0
    assert "nan" not in capsys.readouterr().out


def test_tails_of_fitted_columns_hold_the_farthest_rows(capsys):
    path = folder() / "far.npy"
    np.save(path, np.array([[1e30, 0.0], [3e38, -3e38]]))
    result = evaluated(capsys, exact_run(), "--data", path)
    assert result["rows_outside"] == 0
    assert -1000 < result["log_prob"] < -100


@pytest.mark.parametrize(
    ("run", "row"),
    [(lambda: EARLY, "x,y\n1e30,0"), (people_run, "age,height,city,income\n31,1.7,Bari,-5")],
    ids=["far", "outside the support"],
)
def test_no_row_inside(run, row, capsys):
    path = folder() / "alone.csv"
    path.write_text(row + "\n", encoding="utf-8")
    result = evaluated(capsys, run(), "--data", path)
    assert result["log_prob_inside"] is result["gain"] is None
    assert caudal("eval", run(), "--data", path) == 0
    said = capsys.readouterr().out
    assert "finite rows" not in said
    assert "nan" not in said


def test_bits_per_column_of_bounded_integers(capsys, tmp_path):
    np.save(tmp_path / "dice.npy", np.random.default_rng(0).integers(0, 4, (300, 2)))
    types = ("--types", "x0=integer[0,3]", "x1=integer[0,3]")
    words = ("--data", tmp_path / "dice.npy", *types, "--out", tmp_path / "run", *QUICK)
    assert caudal("train", "nice", *words) == 0
    result = evaluated(capsys, tmp_path / "run")
    assert result["bits_per_dim"] == pytest.approx(-result["log_prob"] / (2 * math.log(2)))
    assert result["bits_per_dim"] > 1.9  # two bits is the entropy


def test_rows_with_gaps_are_dropped_as_in_training(capsys, tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text("age,height,city,income\n31,,Bari,10\n31,1.7,Bari,10\n", encoding="utf-8")
    assert evaluated(capsys, dropping_run(), "--data", path)["rows"] == 1
    assert "row 1, column 'height'" in refused(
        capsys, "eval", people_run(), "--data", path, "--missing", "refuse"
    )


def test_refusals(capsys, tmp_path):
    assert "--limit 0" in refused(capsys, "eval", people_run(), "--limit", 0)
    (tmp_path / "few.csv").write_text("age,height\n31,1.7\n")
    said = refused(capsys, "eval", people_run(), "--data", tmp_path / "few.csv")
    assert "no column 'city', 'income'" in said
    assert "no model.safetensors" in refused(capsys, "eval", tmp_path)
    assert "not a safetensors" in refused(capsys, "eval", people_run() / "eval.json")
    assert "--device tpu" in refused(capsys, "eval", people_run(), "--device", "tpu")
