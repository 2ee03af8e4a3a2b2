"""`caudal sample`: the user's columns and types, inside their support, the same for a seed."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import torch

from caudal.data import Column
from caudal.modalities.table import table
from caudal.modalities.table.alike import rows_alike
from command_line import (
    COLUMNS,
    QUICK,
    caudal,
    conditional_run,
    exact_run,
    people,
    people_csv,
    people_run,
    refused,
)


def sampled(run, out, *words):
    assert caudal("sample", run, "--out", out, *words) == 0
    return pq.read_table(out)


def test_columns_types_and_support(tmp_path):
    rows = sampled(people_run(), tmp_path / "s.parquet", "-n", 500)
    kinds = [pa.int64(), pa.float64(), pa.string(), pa.float64()]
    assert (rows.num_rows, rows.column_names, rows.schema.types) == (500, COLUMNS, kinds)
    assert pc.min(rows["age"]).as_py() >= 0
    assert pc.min(rows["income"]).as_py() > 0
    assert set(rows["city"].to_pylist()) <= {"Ávila", "Bari", "Cork"}


def test_a_seed_is_a_file(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        words = ("-n", 50, "--seed", seed, "--out", tmp_path / f"{name}.csv")
        assert caudal("sample", people_run(), *words) == 0
    a, b, c = ((tmp_path / f"{name}.csv").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_many_rows_come_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "_DRAWN_ROWS", 16)
    rows = sampled(people_run(), tmp_path / "s.parquet", "-n", 50)
    assert rows.num_rows == 50
    assert len(np.unique(rows["income"])) == 50


def test_temperature(capsys, tmp_path):
    warm = sampled(exact_run(), tmp_path / "w.parquet", "-n", 300)
    cold = sampled(exact_run(), tmp_path / "c.parquet", "-n", 300, "--temperature", 0.1)
    assert "no samples of the density" in capsys.readouterr().out
    assert np.std(cold["x0"]) < 0.3 * np.std(warm["x0"])


def test_contexts_of_the_training_rows(tmp_path):
    rows = sampled(conditional_run(), tmp_path / "s.parquet", "-n", 317)
    assert rows.column_names == ["income", "height", "age", "city"]
    own = people()
    assert set(rows["age"].to_pylist()) <= set(own["age"].to_pylist())
    assert set(rows["city"].to_pylist()) == set(own["city"].to_pylist())


def test_given_values_hold_in_all_rows(tmp_path):
    words = ("-n", 20, "--given", "city=Bari")
    rows = sampled(conditional_run(), tmp_path / "s.parquet", *words)
    assert set(rows["city"].to_pylist()) == {"Bari"}
    assert len(set(rows["age"].to_pylist())) > 1
    words = ("-n", 20, "--overwrite", "--given", "city=Bari", "--given", "age=33")
    rows = sampled(conditional_run(), tmp_path / "s.parquet", *words)
    assert set(rows["age"].to_pylist()) == {33}


def test_given_names_with_an_equals_sign_and_missing_categories(tmp_path):
    table = pa.table({"x": np.arange(90) / 7.3, "a=b": ["u", None, "v"] * 30})
    pq.write_table(table, tmp_path / "t.parquet")
    words = ("--context", "a=b", "--missing", "model", "--out", tmp_path / "run", *QUICK)
    words = ("--data", tmp_path / "t.parquet", *words, "--batch-size", 16)
    assert caudal("train", "realnvp", *words) == 0
    for value, expected in (("u", "u"), ("", None)):
        words = ("--overwrite", "-n", 4, "--given", f"a=b={value}")
        rows = sampled(tmp_path / "run", tmp_path / "s.parquet", *words)
        assert rows["a=b"].to_pylist() == [expected] * 4


def test_a_file_of_contexts_is_followed_row_by_row(capsys, tmp_path):
    file = tmp_path / "contexts.csv"
    file.write_text("city,age\nCork,40\nBari,20\nCork,60\n")
    words = ("--context-file", file, "--out", tmp_path / "s.csv", "--json")
    run = conditional_run()
    capsys.readouterr()  # what its training said
    assert caudal("sample", run, *words) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 3
    rows = pa_csv.read_csv(tmp_path / "s.csv")
    assert rows["age"].to_pylist() == [40, 20, 60]
    words = ("--context-file", file, "-n", 5)
    rows = sampled(conditional_run(), tmp_path / "s.parquet", *words)
    assert rows["city"].to_pylist() == ["Cork", "Bari", "Cork", "Cork", "Bari"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--given", "city"], "write COLUMN=VALUE"),
        (["--given", "city=Bari", "city=Cork"], "--given: 'city' is given twice"),
        (["--given", "cty=Bari"], "did you mean 'city'?"),
        (["--given", "age=old"], "'old' is not a number"),
        (["--given", "age=-5"], "column 'age': -5 is below 0: the column holds integer numbers"),
        (["--given", "age=5.5"], "5.5 is no multiple of 1"),
        (["--given", "age=60000.5"], "is no multiple of 1"),
        (["--given", "age=1e30"], "1e+30 is too large for steps of 1 in 32 bits"),
        (["--context-file", "no.csv"], "no.csv"),
        (["-n", "0"], "-n 0: must be a whole number, at least 1"),
        (["--seed", "9" * 20], "must be a whole number from -2^63"),
        (["--temperature", "-1"], "--temperature -1.0"),
    ],
)
def test_bad_contexts_are_refused(words, expected, capsys, tmp_path):
    out = tmp_path / "s.csv"
    assert expected in refused(capsys, "sample", conditional_run(), "--out", out, *words)
    assert not out.exists()


def test_contexts_of_a_file_are_held_to_their_columns(capsys, tmp_path):
    (tmp_path / "c.csv").write_text("city,age\nCork,40\nBari,-2\n")
    words = ("--context-file", tmp_path / "c.csv", "--out", tmp_path / "s.csv")
    said = refused(capsys, "sample", conditional_run(), *words)
    assert "c.csv, row 2, column 'age': -2 is below 0" in said


def test_what_training_has_not_seen_is_told_and_given_back(capsys, tmp_path):
    (tmp_path / "c.csv").write_text("city,age\nCork,40\nBern,\nBern,900\n")
    words = ("--context-file", tmp_path / "c.csv")
    rows = sampled(conditional_run(), tmp_path / "s.parquet", *words)
    assert rows["city"].to_pylist() == ["Cork", "Bern"]
    assert rows["age"].to_pylist() == [40, 900]
    said = " ".join(capsys.readouterr().out.split())
    assert "1 row with a category of 'city' that training has not seen, such as 'Bern'" in said
    assert "1 row with 'age' outside of 16 .. 49, which is all that training has seen" in said
    assert "left out 1 row of" in said
    rows = sampled(conditional_run(), tmp_path / "t.parquet", "-n", 3, "--given", "city=Bern")
    assert rows["city"].to_pylist() == ["Bern"] * 3
    said = " ".join(capsys.readouterr().out.split())
    assert "all rows with a category of 'city' that training has not seen" in said
    assert "no training row has these values of city together" in said


def test_the_rest_of_a_context_is_that_of_rows_alike():
    """`unit` follows from `city`, and `size` nearly from `age`."""
    columns = [Column.of_categories(name, ("a", "b"), "string") for name in ("city", "unit")]
    columns += [Column("age", "real"), Column("size", "real")]
    code, age = torch.arange(1000) % 2, torch.arange(1000.0)
    rows = torch.stack([code, 1 - code, age, 2 * age], 1)
    alike, note = rows_alike(columns, rows, {"city": 0.0, "age": 300.0})
    assert len(alike) >= 100
    assert set(alike[:, 1].tolist()) == {1.0}
    assert (alike[:, 3] - 600).abs().max() <= 210
    assert "alike in city, age, of which there are 10" in note
    same, note = rows_alike(columns, rows, {"city": 2.0})
    assert len(same) == len(rows)
    assert "no training row has these values of city" in note


def test_a_file_need_not_have_what_is_given(tmp_path):
    (tmp_path / "c.csv").write_text("age\n40\n20\n")
    words = ("--context-file", tmp_path / "c.csv", "--given", "city=Cork")
    rows = sampled(conditional_run(), tmp_path / "s.parquet", *words)
    assert rows["age"].to_pylist() == [40, 20]
    assert rows["city"].to_pylist() == ["Cork", "Cork"]


def test_a_run_whose_data_have_gone(capsys, tmp_path, monkeypatch):
    hidden = people_csv().rename(people_csv().with_suffix(".away"))
    try:
        words = ("sample", conditional_run(), "-n", 3, "--out", tmp_path / "s.csv")
        said = refused(capsys, *words)
        assert "--context-file or --given" in said
        assert caudal(*words, "--given", "city=Bari", "age=30") == 0
        assert caudal("sample", people_run(), "-n", 3, "--out", tmp_path / "p.csv") == 0
    finally:
        hidden.rename(people_csv())
