"""Why rows are unlikely, and when that is an alarm: from Python and on the command line."""

import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
import torch

import caudal as library
from caudal.data import Batch
from caudal.data.table import tables
from caudal.errors import InputError
from caudal.modalities.table import explaining
from caudal.modalities.table.pulling import pulls
from caudal.model.alarm import Alarm
from caudal.model.explaining import most_surprising, on_screen
from command_line import (
    caudal,
    conditional_run,
    image_run,
    people,
    people_csv,
    people_run,
    refused,
    shapes_file,
)


def frame(rows=300):
    """Two numbers of which one follows from the other, and a category that says its sign."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows)
    y = 10 + 3 * x + rng.normal(size=rows) / 10
    return pd.DataFrame({"x": x, "y": y, "sign": np.where(x > 0, "up", "down")})


@pytest.fixture(scope="module")
def linear():
    """A model of such rows, which begins at the copula; it trains for a moment."""
    return library.train("nsf", frame(), steps=20, layers=2, hidden=16, report=False)


def test_a_wrong_value_is_to_blame(linear):
    rows = frame(20)
    rows.loc[6, "y"] = 17.0 - rows.loc[6, "y"]
    told = linear.explain(rows, n=1)
    assert isinstance(told, pd.DataFrame)
    assert told["row"].tolist() == [7, 7, 7]
    assert told["column"].iloc[0] in ("x", "y")
    assert told["surprise"].is_monotonic_decreasing
    assert told["surprise"].iloc[0] > 5
    y = told[told["column"] == "y"].iloc[0]
    assert float(y["value"]) == pytest.approx(rows.loc[6, "y"], rel=1e-5)
    assert float(y["low"]) < float(y["expected"]) < float(y["high"])
    assert float(y["expected"]) == pytest.approx(10 + 3 * rows.loc[6, "x"], abs=0.5)


def test_rows_are_chosen_by_number(linear):
    rows = frame(9)
    told = linear.explain(rows, rows=(2, 9))
    assert set(told["row"]) == {2, 9}
    scores = linear.log_prob(rows)
    for row, log_prob in zip(told["row"], told["log_prob"], strict=True):
        assert log_prob == scores[row - 1]
    with pytest.raises(InputError, match="`rows` 10: .* has 9 rows"):
        linear.explain(rows, rows=(10,))
    with pytest.raises(InputError, match="`rows`"):
        linear.explain(rows, rows=(0,))


def test_the_lowest_rows_are_explained_whatever_the_pieces(monkeypatch):
    model = library.load(people_run())
    rows = people(60, seed=5)
    whole = model.explain(rows, n=4)
    assert whole.column_names[:4] == ["row", "log_prob", "column", "value"]
    assert whole.num_rows == 4 * 4
    lowest = np.argsort(model.log_prob(rows))[:4] + 1
    assert list(dict.fromkeys(whole["row"].to_pylist())) == lowest.tolist()
    monkeypatch.setattr(tables, "PIECE", 7)
    pieces = model.explain(rows, n=4)
    assert pieces["row"].equals(whole["row"])
    np.testing.assert_allclose(
        pieces["surprise"].to_numpy(), whole["surprise"].to_numpy(), atol=1e-3
    )


def test_python_and_the_command_line_tell_the_same(capsys, tmp_path):
    words = ("--data", people_csv(), "--out", tmp_path / "scored.csv", "--explain", "2")
    assert caudal("score", people_run(), *words, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    told = library.load(people_run()).explain(people_csv(), n=2)
    assert result["explained"] == most_surprising(told)
    assert [len(row["columns"]) for row in result["explained"]] == [3, 3]
    assert result["explained"][0]["row"] == result["lowest_row"]
    assert result["explained"][0]["log_prob"] == result["lowest"]
    assert caudal("score", people_run(), *words, "--overwrite") == 0
    screen = capsys.readouterr().out
    assert "Why the least likely rows are so" in screen
    lines = screen[screen.index("Why") :].splitlines()
    assert max(map(len, lines)) <= 100


def test_dates_and_large_amounts_are_whole_on_screen():
    line = {"row": 1, "log_prob": -9.0, "column": "at", "surprise": 2.0}
    times = ("2024-03-01 00:10:00", "2024-03-02 00:10:00", "2024-03-03 00:10:00")
    for low, middle, high in (times, ("134,080.00", "137,100.00", "140,170.00")):
        words = {"value": middle, "expected": middle, "low": low, "high": high}
        cells = on_screen(pa.Table.from_pylist([line | words])).rows[0]
        assert cells[3:6] == [middle, middle, f"{low} .. {high}"]


def test_a_value_outside_of_its_support_is_to_blame(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("age,height,city,income\n31,1.7,Bari,-1\n31,1.7,Bari,10\n")
    told = library.load(people_run()).explain(path, n=1).to_pylist()
    assert (told[0]["column"], told[0]["value"], told[0]["surprise"]) == ("income", "-1", math.inf)
    assert float(told[0]["expected"]) > 0
    assert {line["surprise"] for line in told[1:]} == {None}


def test_of_many_columns_those_that_pull_are_explained(linear, monkeypatch):
    rows = frame(20)
    rows.loc[6, "y"] = 17.0 - rows.loc[6, "y"]
    whole = linear.explain(rows, n=1)
    monkeypatch.setattr(explaining, "LOOKED_AT", 1)
    few = linear.explain(rows, n=1)
    assert len(few) == 1
    same = whole[whole["column"] == few["column"][0]].iloc[0]
    assert few["column"][0] in ("x", "y")
    assert few["expected"][0] == same["expected"]
    assert few["surprise"][0] == pytest.approx(same["surprise"], rel=0.1)
    rows.loc[3, "sign"] = "sideways"  # what cannot be is to blame, whatever pulls
    assert linear.explain(rows, rows=(4,))["surprise"].tolist() == [math.inf]


def test_a_column_pulls_by_its_distance_given_the_others():
    """Of normal columns it is r^2, r being the distance in standard deviations."""
    rng = np.random.default_rng(0)
    x = rng.multivariate_normal([0, 0, 0], [[1, 0.8, 0], [0.8, 1, 0.3], [0, 0.3, 1]], 4000)
    model = library.train("nsf", x, layers=0, steps=1, report=False)
    rows = torch.from_numpy(x[:200]).float()
    precision = np.linalg.inv(np.cov(x.T))
    far = (x[:200] @ precision) ** 2 / np.diag(precision)
    found = pulls(model.flow, Batch(rows, None)).numpy()
    assert np.corrcoef(far.ravel(), found.ravel())[0, 1] > 0.98
    assert np.median(found / far) == pytest.approx(1, abs=0.2)


def test_numbers_have_the_decimal_mark_of_the_file(tmp_path):
    path = tmp_path / "comma.csv"
    rows = [f"{x:.2f};{y:.2f};{s}" for x, y, s in frame().itertuples(index=False)]
    path.write_text("\n".join(["x;y;sign", *rows]).replace(".", ","))
    model = library.train("nsf", str(path), steps=1, layers=0, report=False)
    told = {line["column"]: line for line in model.explain(str(path), n=1).to_pylist()}
    for name in ("value", "expected", "low", "high"):
        assert "," in told["y"][name]
    assert told["sign"]["value"] in ("up", "down")


def test_a_context_is_given_and_not_explained():
    told = library.load(conditional_run()).explain(people(10), n=2)
    assert set(told["column"].to_pylist()) == {"income", "height"}
    assert np.isfinite(told["surprise"].to_numpy()).all()


def test_what_has_no_columns_is_refused(capsys, tmp_path):
    words = ("--data", shapes_file(), "--out", tmp_path / "scored.csv")
    assert "--explain" in refused(capsys, "score", image_run(), *words, "--explain", "3")
    assert "--alarm" in refused(capsys, "score", image_run(), *words, "--alarm", "0.01")
    assert not (tmp_path / "scored.csv").exists()


# --- alarms -------------------------------------------------------------------------------------


def test_false_alarms_come_at_their_rate():
    rng = np.random.default_rng(0)
    rates = []
    for scores in rng.normal(size=(2000, 199)):
        lowest = tuple(np.sort(scores)[:20].tolist())
        threshold = Alarm(199, 1, lowest).at(0.05)
        rates.append(0.5 * math.erfc(-threshold.log_prob / math.sqrt(2)))
    assert np.mean(rates) == pytest.approx(0.05, abs=4 * np.std(rates) / math.sqrt(len(rates)))
    assert threshold.two_se == pytest.approx(2 * np.std(rates), rel=0.1)


def test_rates_need_enough_rows():
    alarm = Alarm(98, 1, tuple(np.arange(10.0).tolist()))
    assert alarm.usual() is None
    with pytest.raises(InputError, match="takes 99 validation rows, and 98 were scored"):
        alarm.at(0.01)
    assert Alarm(99, 1, alarm.lowest).at(0.01).log_prob == 0.0
    with pytest.raises(InputError, match="`alarm`"):
        alarm.at(0.2)


def test_alarms_are_a_column(capsys, tmp_path):
    out = tmp_path / "scored.csv"
    words = ("--data", people_csv(), "--out", out, "--alarm", "0.1")
    run = people_run()
    capsys.readouterr()  # what training said, if no test has trained it before
    assert caudal("score", run, *words, "--json") == 0
    alarm = json.loads(capsys.readouterr().out)["alarm"]
    scored = pa_csv.read_csv(out)
    is_low = scored["log_prob"].to_numpy() < alarm["log_prob"]
    assert scored["alarm"].type == pa.bool_()
    assert scored["alarm"].to_pylist() == is_low.tolist()
    assert alarm["alarms"] == is_low.sum() > 0
    assert library.load(people_run()).threshold(0.1).log_prob == alarm["log_prob"]


def test_a_model_in_memory_finds_its_threshold(linear):
    assert linear.threshold(0.1).rows == len(linear.dataset.valid) < 99
    assert linear.threshold() is None
