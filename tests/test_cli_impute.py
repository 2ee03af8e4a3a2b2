"""`caudal impute`: gaps drawn given what is there, and nothing else changed."""

import json
from functools import cache

import numpy as np
import pandas as pd
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import caudal as package
from command_line import QUICK, caudal, class_run, conditional_run, folder, people_run, refused

TEXT = (
    "id;Größe; kind;note;count\r\n"
    '7;1,50;a;"x; y";3\r\n'
    "8;;a; n/a ;\r\n"
    '9; 2,25 ;;"he said ""no""";5\r\n'
)


@cache
def regression_run():
    """A run on y = 2 x + e and a category that follows the sign of x; without gaps."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=1000)
    y = 2 * x + 0.5 * rng.normal(size=1000)
    side = np.where(x + 0.5 * rng.normal(size=1000) > 0, "up", "down")
    path, out = folder() / "line.csv", folder() / "line"
    pd.DataFrame({"x": x, "y": y, "side": side}).to_csv(path, index=False)
    assert caudal("train", "realnvp", "--data", path, "--out", out, *QUICK) == 0
    return out


@cache
def german_run():
    """A run on a text file with semicolons and decimal commas."""
    rng = np.random.default_rng(1)
    rows = [
        f"{i};{rng.normal(2, 0.5):.2f};{rng.choice(['a', 'b'])};words {i};{rng.poisson(4)}"
        for i in range(200)
    ]
    path, out = folder() / "german.csv", folder() / "german"
    text = "\n".join(["id;Größe;kind;note;count", *rows]).replace(".", ",")
    path.write_text(f"{text}\n", encoding="utf-8")
    words = ("--exclude", "id", "note", "--out", out, *QUICK)
    assert caudal("train", "realnvp", "--data", path, *words) == 0
    return out


def test_gaps_follow_the_regression():
    rng = np.random.default_rng(2)
    n = 1500
    x = np.where(np.arange(n) % 2, 1.0, -1.0)
    data = pd.DataFrame({"x": x, "y": np.nan, "side": "up"}, index=np.arange(n) + 100)
    data.loc[rng.random(n) < 0.3, "side"] = None
    filled = package.load(regression_run()).impute(data, seed=1)
    assert list(filled.columns) == ["x", "y", "side"]
    assert (filled.index == data.index).all()
    assert (filled["x"] == data["x"]).all()
    kept = data["side"].notna()
    assert (filled["side"][kept] == "up").all()
    free = ~kept
    for value in (-1.0, 1.0):
        y = filled["y"][(x == value) & free]
        assert y.mean() == pytest.approx(2 * value, abs=0.2)
        assert y.std() == pytest.approx(0.5, abs=0.15)
        up = (filled["side"][(x == value) & free] == "up").mean()
        assert (up > 0.6) == (value > 0)
        assert (up < 0.4) == (value < 0)


def test_other_cells_stay_byte_for_byte(tmp_path):
    path, out = tmp_path / "t.csv", tmp_path / "filled.csv"
    path.write_bytes(TEXT.encode("latin-1"))
    words = ("--data", path, "--out", out, "--encoding", "latin-1")
    assert caudal("impute", german_run(), *words) == 0
    before = TEXT.split("\r\n")
    after = out.read_bytes().decode("latin-1").split("\r\n")
    assert len(after) == len(before)
    assert after[:2] == before[:2]  # a line without gaps
    size, count = after[2].split(";")[1], after[2].split(";")[4]
    assert after[2] == f"8;{size};a; n/a ;{count}"
    assert float(size.replace(",", ".")) == pytest.approx(2, abs=3)
    assert count.isdigit()
    kind = after[3].split(";")[2]
    assert kind in ("a", "b")
    assert after[3] == f'9; 2,25 ;{kind};"he said ""no""";5'


def test_filled_numbers_have_the_decimals_of_the_training_file(tmp_path):
    path, out = tmp_path / "t.csv", tmp_path / "filled.csv"
    rows = "".join(f"{i};;a;words;3\n" for i in range(100))
    path.write_text(f"id;Größe;kind;note;count\n{rows}", encoding="utf-8")
    assert caudal("impute", german_run(), "--data", path, "--out", out) == 0
    sizes = [line.split(";")[1] for line in out.read_text(encoding="utf-8").splitlines()[1:]]
    assert {len(size.partition(".")[2]) for size in sizes} == {2}


def test_several_draws_are_numbered(capsys, tmp_path):
    path, out = tmp_path / "t.csv", tmp_path / "filled.csv"
    path.write_text("x,y,side\n0.5,,up\n1.5,3.25,down\n,,up\n")
    run = regression_run()
    capsys.readouterr()  # what its training said
    words = ("--data", path, "--out", out, "--draws", 3, "--json")
    assert caudal("impute", run, *words) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["cells"], result["rows_with_gaps"], result["rows"]) == (3, 2, 3)
    assert result["given"]["ess"] > 0.5
    rows = pa_csv.read_csv(out).to_pandas()
    assert rows["draw"].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert rows.notna().all().all()
    assert len(set(rows["y"][::3])) == 3
    assert set(rows["y"][1::3]) == {3.25}


def test_python_fills_as_the_command_line_does(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,y,side\n0.5,,up\n1.5,3.25,\n")
    words = ("--data", path, "--out", tmp_path / "a.parquet", "--seed", 4)
    assert caudal("impute", regression_run(), *words) == 0
    model = package.load(regression_run())
    table = model.impute(path, seed=4)
    assert table.equals(pq.read_table(tmp_path / "a.parquet"))
    assert not table.equals(model.impute(path, seed=5))
    same = model.impute(pd.read_csv(path), seed=4)
    assert same["y"].tolist() == table["y"].to_pylist()


def test_rows_that_cannot_be_keep_their_gaps(capsys, tmp_path):
    path, out = tmp_path / "t.csv", tmp_path / "filled.csv"
    path.write_text("age,height,city,income\n-3,,Bari,20\n30,,Bari,20\n")
    assert caudal("impute", people_run(), "--data", path, "--out", out) == 0
    said = capsys.readouterr().out
    assert "1 row keeps its gaps" in said
    rows = pa_csv.read_csv(out)
    assert rows["height"].null_count == 1
    assert out.read_text().splitlines()[1] == "-3,,Bari,20"


def test_rows_that_training_does_not_know_are_told(capsys, tmp_path):
    path, out = tmp_path / "t.csv", tmp_path / "filled.csv"
    path.write_text("age,height,city,income\n,1.7,Bari,\n30,,Bern,7\n30,1.7,Cork,\n")
    words = ("--data", path, "--out", out, "--json")
    run = conditional_run()
    capsys.readouterr()  # what its training said
    assert caudal("impute", run, *words) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert (result["cells"], result["rows"], result["rows_unfilled"]) == (2, 3, 1)
    assert "1 row stays as it is" in " ".join(said.err.split())
    assert "such as 'Bern', read as the mean" in " ".join(said.err.split())
    assert out.read_text().splitlines()[1] == ",1.7,Bari,"
    assert pa_csv.read_csv(out)["height"].null_count == 0


@pytest.mark.parametrize(
    ("run", "text", "words", "expected"),
    [
        (people_run, "age,height\n3,\n", (), "has no column 'city'"),
        (regression_run, "x,y,side,draw\n1,,up,1\n", ("--draws", 2), "has a column 'draw'"),
        (regression_run, "x,y,side\n1,,up\n", ("--draws", 0), "--draws 0"),
        (class_run, "x\n1\n", (), "impute fills gaps of tables"),
    ],
)
def test_what_cannot_be_filled_is_refused(run, text, words, expected, capsys, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(text)
    words = ("--data", path, "--out", tmp_path / "o.csv", *words)
    assert expected in refused(capsys, "impute", run(), *words)
    assert not (tmp_path / "o.csv").exists()
