"""`caudal sample --exact`: a student's rows, corrected to those of its teacher."""

import json
from functools import cache
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy import stats

from caudal.correction import Correction
from caudal.data import Column, TableSchema
from caudal.errors import InputError
from caudal.modalities.table import table
from caudal.modalities.table.exact import Exact, check_same_columns
from command_line import (
    QUICK,
    caudal,
    conditional_run,
    exact_run,
    folder,
    people_csv,
    people_run,
    refused,
)


@cache
def student(name, *words):
    """A run of little training, on the same data as a teacher's."""
    out = folder() / name
    assert caudal("train", "realnvp", "--out", out, *words, *QUICK, "--seed", 3) == 0
    return out


@cache
def plane_student():
    """One that is shifted from `exact_run`, and wider."""
    path = folder() / "wide.npy"
    np.save(path, 0.4 + 1.4 * np.random.default_rng(2).normal(size=(500, 2)))
    return student("plane-student", "--data", path)


def corrected(capsys, run, teacher, *words):
    """The result of the command."""
    capsys.readouterr()
    words = ("--exact", teacher, "--overwrite", "--json", *words)
    assert caudal("sample", run, *words) == 0
    return json.loads(capsys.readouterr().out)


def first_column(run, out, *words):
    """Of 3000 samples."""
    assert caudal("sample", run, "--out", out, "--overwrite", "-n", 3000, *words) == 0
    return pq.read_table(out)["x0"].to_numpy()


def test_rows_are_the_teachers(capsys, tmp_path):
    out = tmp_path / "s.parquet"
    teacher = first_column(exact_run(), tmp_path / "t.parquet", "--seed", 5)
    assert stats.ks_2samp(teacher, first_column(plane_student(), out)).pvalue < 1e-6
    result = corrected(capsys, plane_student(), exact_run(), "--out", out, "-n", 3000)
    assert stats.ks_2samp(teacher, pq.read_table(out)["x0"].to_numpy()).pvalue > 0.01
    assert result["rows"] == 3000
    found = result["exact"]
    assert (found["steps"], found["teacher"]) == (20, str(exact_run()))
    assert 0.2 < found["acceptance"] < 0.9
    assert found["left"] < 0.05


def test_a_seed_is_a_file_and_chunks_are_counted_together(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "_DRAWN_ROWS", 16)
    for name in "ab":
        words = ("--out", tmp_path / f"{name}.csv", "-n", 50, "--exact-steps", 3)
        found = corrected(capsys, plane_student(), exact_run(), *words)["exact"]
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert found["steps"] == 3
    assert 0 < found["ess"] <= 1


def test_tables_and_contexts(capsys, tmp_path):
    words = ("--out", tmp_path / "s.parquet", "-n", 200, "--exact-steps", 2)
    found = corrected(capsys, people_run(), people_run(), *words)["exact"]
    assert found["acceptance"] > 0.9  # of itself
    given = ("--columns", "income", "height", "--context", "age", "city")
    own = student("conditional-student", "--data", people_csv(), *given)
    words = (*words, "--given", "city=Bari")
    corrected(capsys, own, conditional_run(), *words)
    assert set(pq.read_table(tmp_path / "s.parquet")["city"].to_pylist()) == {"Bari"}


def test_what_people_are_told(capsys, tmp_path):
    words = ("--exact", exact_run(), "--out", tmp_path / "s.csv", "-n", 100)
    assert caudal("sample", plane_student(), *words) == 0
    said = capsys.readouterr().out
    assert f"corrected to {exact_run()} in 20 steps: acceptance " in said
    assert "effective size" in said
    assert "Pareto k" in said


def test_a_student_that_is_far_off_is_warned_of():
    said = []
    screen = SimpleNamespace(say=said.append, note=said.append)
    exact = Exact.__new__(Exact)
    exact.teacher = SimpleNamespace(name="runs/teacher")
    log_w = -2.0 * torch.rand(1000, dtype=torch.float64).log()  # k = 2
    exact._parts = [Correction(20, torch.zeros(10, dtype=torch.int32), log_w)]
    exact.tell(screen)
    assert len(said) == 3
    assert said[1].startswith("Pareto k above 0.7")
    assert said[2].startswith("acceptance below 5%: 100.0% of the rows")
    assert not any("\n" in line for line in said)
    said.clear()
    exact = Exact.__new__(Exact)
    exact.teacher = SimpleNamespace(name="runs/teacher")
    exact._parts = [Correction(20, torch.full((10,), 18), torch.zeros(1000))]
    exact.tell(screen)
    assert len(said) == 1
    assert "acceptance 90.0%, effective size 100.0% of the draws, Pareto k −∞" in said[0]


@pytest.mark.parametrize(
    ("teacher", "words", "expected"),
    [
        (exact_run, (), "it has 2 columns, "),
        (conditional_run, (), "it has 2 columns, "),
        (lambda: "no/run", (), "no/run: no such run folder"),
        (people_run, ("--temperature", 0.5), "leave --temperature out"),
        (people_run, ("--exact-steps", 0), "--exact-steps 0: must be a whole number, at least 1"),
    ],
)
def test_refusals(teacher, words, expected, capsys, tmp_path):
    out = tmp_path / "s.csv"
    words = ("--exact", teacher(), "--out", out, *words)
    assert expected in refused(capsys, "sample", people_run(), *words)
    assert not out.exists()


def test_columns_of_another_kind_or_support_are_refused(capsys, tmp_path):
    out = ("--out", tmp_path / "s.csv")
    other = student("other-types", "--data", people_csv(), "--types", "age=integer[0,150]")
    said = refused(capsys, "sample", people_run(), "--exact", other, *out)
    assert f"of its column 'age', high is 150.0, and None in {people_run()}" in said
    fewer = student("fewer", "--data", people_csv(), "--columns", "income", "height")
    said = refused(capsys, "sample", conditional_run(), "--exact", fewer, *out)
    assert "it has 0 context columns, " in said
    turned = student("turned", "--data", people_csv(), "--columns", "height", "income")
    said = refused(capsys, "sample", fewer, "--exact", turned, *out)
    assert "of its columns, name is 'height', and 'income' in " in said


def test_the_type_in_the_file_does_not_matter():
    single, double = (
        SimpleNamespace(name=dtype, schema=TableSchema((Column("x", "real", dtype=dtype),)))
        for dtype in ("float", "double")
    )
    check_same_columns(single, double)
    stepped = SimpleNamespace(name="s", schema=TableSchema((Column("x", "real", step=0.1),)))
    with pytest.raises(InputError, match="`exact` s: of its column 'x', step is 0.1, and None in"):
        check_same_columns(single, stepped)
