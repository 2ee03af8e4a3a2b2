"""`caudal score`: the user's rows as they were, and one column more."""

import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import torch

import caudal as library
from caudal.data.table import tables
from command_line import (
    QUICK,
    caudal,
    conditional_run,
    dropping_run,
    exact_run,
    folder,
    people,
    people_csv,
    people_run,
    refused,
    strict_run,
)


def scored(run, data, out):
    assert caudal("score", run, "--data", data, "--out", out) == 0
    return pq.read_table(out)


def test_keeps_rows_columns_and_types(tmp_path):
    rows = people(60, seed=5).append_column("id", pa.array([f"{i:03}" for i in range(60)]))
    pq.write_table(rows, tmp_path / "rows.parquet")
    result = scored(people_run(), tmp_path / "rows.parquet", tmp_path / "scored.parquet")
    assert result.drop(["log_prob", "log_prob_se"]).equals(rows)
    for name in ("log_prob", "log_prob_se"):
        assert result[name].type == pa.float64()
        assert np.isfinite(result[name].to_numpy()).all()


def test_is_the_flows_log_prob(tmp_path):
    x = np.random.default_rng(2).normal(size=(70, 2))
    pq.write_table(pa.table({"x0": x[:, 0], "x1": x[:, 1]}), tmp_path / "x.parquet")
    result = scored(exact_run(), tmp_path / "x.parquet", tmp_path / "scored.parquet")
    with torch.no_grad():
        expected = library.load(exact_run()).log_prob(torch.from_numpy(x).float())
    np.testing.assert_allclose(result["log_prob"], expected, atol=1e-5)


def test_in_pieces_as_at_once(tmp_path, monkeypatch):
    pq.write_table(people(90, seed=6), tmp_path / "rows.parquet", row_group_size=40)
    whole = scored(people_run(), tmp_path / "rows.parquet", tmp_path / "a.parquet")
    monkeypatch.setattr(tables, "PIECE", 7)
    pieces = scored(people_run(), tmp_path / "rows.parquet", tmp_path / "b.parquet")
    assert whole.num_rows == pieces.num_rows == 90


def test_conditional_runs_score_given_their_context(tmp_path):
    pq.write_table(people(30, seed=7), tmp_path / "rows.parquet")
    result = scored(conditional_run(), tmp_path / "rows.parquet", tmp_path / "s.parquet")
    assert np.isfinite(result["log_prob"].to_numpy()).all()


def test_counts_rows_outside_the_support(capsys, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("age,height,city,income\n31,1.7,Bari,-1\n31,1.7,Bari,10\n")
    words = ("--data", path, "--out", tmp_path / "out.csv", "--json")
    assert caudal("score", people_run(), *words) == 0
    said, progress = capsys.readouterr()
    result = json.loads(said)
    assert (result["rows"], result["rows_outside"], result["rows_unscored"]) == (2, 1, 0)
    assert result["lowest_row"] == 2
    assert result["lowest"] == result["log_prob_inside"]
    assert "1 row has a log_prob of -inf: outside the support" in progress
    assert pa_csv.read_csv(tmp_path / "out.csv")["log_prob"][0].as_py() == -np.inf


def test_missing_values_follow_the_run(capsys, tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text("age,height,city,income\n31,,Bari,10\n31,1.7,Bari,10\n", encoding="utf-8")
    words = ("--data", path, "--out", tmp_path / "out.csv")
    said = refused(capsys, "score", strict_run(), *words)
    assert "row 1, column 'height': missing value" in said
    assert not (tmp_path / "out.csv").exists()
    for run in (people_run(), dropping_run()):
        assert caudal("score", run, *words, "--overwrite") == 0
        assert "1 row with missing values has no log_prob" in capsys.readouterr().out
        result = pa_csv.read_csv(tmp_path / "out.csv")
        assert result["log_prob"].null_count == 1
        assert result.num_rows == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("age,height,city\n1,2,Bari\n", "no column 'income'"),
        ("age,height,city,income,log_prob\n1,2,Bari,3,4\n", "column 'log_prob' already"),
        ("age,height,city,income\n1,tall,Bari,3\n", "row 1, column 'height'"),
    ],
)
def test_bad_rows_are_refused_and_nothing_is_left(text, expected, capsys, tmp_path):
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    words = ("--data", tmp_path / "rows.csv", "--out", tmp_path / "out.csv")
    assert expected in refused(capsys, "score", people_run(), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_what_the_format_cannot_hold_is_refused_before_the_work(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("caudal.model.densities.log_prob_items", None)
    monkeypatch.setattr("caudal.model.sampling.announce", None)
    words = ("--out", tmp_path / "out.npy")
    said = refused(capsys, "score", people_run(), "--data", people_csv(), *words)
    assert "out.npy: column 'city' is text, .npy holds numbers" in said
    assert "out.npy: column 'city' is text" in refused(capsys, "sample", people_run(), *words)


def test_a_header_where_the_run_had_none_is_told_of(capsys, tmp_path):
    rows = "".join(f"{i % 7}.5,{i % 5}.25\n" for i in range(200))
    (tmp_path / "bare.csv").write_text(rows)
    (tmp_path / "named.csv").write_text("a,b\n" + rows)
    for learned, other, said in (
        ("bare.csv", "named.csv", "the run's table had no header"),
        ("named.csv", "bare.csv", "it has no header: give it one with a, b"),
    ):
        words = ("--data", tmp_path / learned, "--out", tmp_path / f"run-{learned}", *QUICK)
        assert caudal("train", "nice", *words) == 0
        words = ("--data", tmp_path / other, "--out", tmp_path / "out.csv")
        assert said in refused(capsys, "score", tmp_path / f"run-{learned}", *words)


def test_advice_is_of_use(capsys, tmp_path):
    (tmp_path / "rows.csv").write_text("age,height,city,income\n1,tall,Bari,3\n2,,Bari,3\n")
    words = ("--data", tmp_path / "rows.csv", "--out", tmp_path / "out.csv")
    assert "--types" not in refused(capsys, "score", people_run(), *words)
    (tmp_path / "rows.csv").write_text("age,height,city,income\n2,,Bari,3\n")
    assert "--missing" not in refused(capsys, "score", strict_run(), *words)
    (tmp_path / "rows.csv").write_text("age,height,city,income\n1,1,Bari,3\n2,tall,Bari,3\n")
    train = ("train", "nice", "--data", tmp_path / "rows.csv", "--types", "height=real")
    assert "or declare the column with --types" in refused(capsys, *train)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("taken.csv", "taken.csv exists: give --overwrite"),
        ("rows.xlsx", "cannot write '.xlsx' files"),
        ("taken.csv/rows.csv", "is a file, not a folder"),
    ],
)
def test_outputs_are_checked_first(name, expected, capsys, tmp_path):
    (tmp_path / "taken.csv").write_text("mine")
    words = ("--data", people_csv(), "--out", tmp_path / name)
    assert expected in refused(capsys, "score", people_run(), *words)
    assert (tmp_path / "taken.csv").read_text() == "mine"


def test_overwrite(tmp_path):
    out = folder() / "over.csv"
    out.write_text("old")
    words = ("--data", people_csv(), "--out", out, "--overwrite")
    assert caudal("score", people_run(), *words) == 0
    assert pa_csv.read_csv(out).num_rows == 400


VERBATIM = {
    "as it comes": b" age,height,city , income\n31,1.70, Bari,10\n 52,1.5, 'Lima' ,1e1\n",
    "marks": b"age;height;city;income; lead\n"
    + b"".join(b"31;1.70;Bari;10;%s\n" % v for v in (b"None", b"n/a", b"-", b"1.50", b" x ")),
    "quotes": b'"age","height","city","income"\r\n"31","1.70","Bari","10"\r\n',
    "semicolons": "\N{BYTE ORDER MARK}age;height;city;income\n31;1,70;Bari;10\n".encode(),
    "latin-1": "age,height,city,income,é\n31,1.70,Bari,10,ü\n".encode("latin-1"),
    "utf-16": "age\theight\tcity\tincome\n31\t1.70\tBari\t10\n".encode("utf-16"),
    "lines within": b'age,height,city,income,\n31,1.70,Bari,10,"a\n\nb"\n\n32,1.70,Bari,10,None\n',
    "blocks": b"age,height,city,income\n" + b"31,1.70,Bari,10\n" * 20,
}


@pytest.mark.parametrize("case", VERBATIM)
def test_text_comes_back_byte_for_byte(tmp_path, monkeypatch, case):
    content = VERBATIM[case].replace(b" 'Lima' ", b' "Bari"')
    (tmp_path / "rows.csv").write_bytes(content)
    monkeypatch.setattr("caudal.data.table.dialect.BLOCK", 64)
    words = ("--data", tmp_path / "rows.csv", "--out", tmp_path / "out.csv")
    assert caudal("score", people_run(), *words) == 0
    result = (tmp_path / "out.csv").read_bytes()
    encoding = {"latin-1": "latin-1", "utf-16": "utf-16"}.get(case, "utf-8-sig")
    new, old = result.decode(encoding), content.decode(encoding)
    scores = r"[;,\t](log_prob|-[\d.,]+)[;,\t](log_prob_se|[\d.,]+)(\r?\n)"
    again = re.sub(scores, r"\3", new)
    assert again == old.replace("\n\n3", "\n3")
    assert again != new
    assert result.startswith(content[:3])


def test_rows_that_lack_values_keep_their_places(tmp_path):
    (tmp_path / "rows.csv").write_text("age,height,city,income,m,n\n31,1.7,Bari,10\n")
    words = ("--data", tmp_path / "rows.csv", "--out", tmp_path / "out.csv")
    assert caudal("score", people_run(), *words) == 0
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("31,1.7,Bari,10,,,-")


def test_another_format_has_the_values_as_typed(tmp_path):
    (tmp_path / "rows.csv").write_text("age;height;city;income;id\n31;1,70; Bari;10;007\n")
    for suffix in ("tsv", "parquet"):
        out = tmp_path / f"out.{suffix}"
        assert caudal("score", people_run(), "--data", tmp_path / "rows.csv", "--out", out) == 0
    start = "age\theight\tcity\tincome\tid\tlog_prob\tlog_prob_se\n31\t1.7\tBari\t10\t007\t-"
    assert (tmp_path / "out.tsv").read_text().startswith(start)
    assert pq.read_table(tmp_path / "out.parquet")["height"].to_pylist() == [1.7]


def test_how_other_files_are_read_can_be_said(capsys, tmp_path):
    content = "age;height;city;income\n31;1,70;Bari;-1\n32;1,80;Bari;10\n"
    (tmp_path / "rows.csv").write_bytes(content.encode("cp500"))
    words = ("--data", tmp_path / "rows.csv", "--out", tmp_path / "out.csv", "--encoding", "cp500")
    words = (*words, "--na=-1", "--missing", "drop")
    assert caudal("score", people_run(), *words) == 0
    assert "1 row with missing values has no log_prob" in capsys.readouterr().out
    lines = (tmp_path / "out.csv").read_bytes().decode("cp500").splitlines()
    assert lines[1] == "31;1,70;Bari;-1;;"
