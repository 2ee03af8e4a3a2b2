"""`caudal sample --given` of modelled columns: rows that have them, drawn given them."""

import json

import numpy as np
import pyarrow.csv as pa_csv
import pytest

import caudal as package
from caudal.data import open_data
from caudal.errors import InputError
from caudal.modalities.table.given import Asked
from command_line import COLUMNS, caudal, conditional_run, people_run, refused


def sampled(run, out, *words):
    assert caudal("sample", run, "--out", out, *words) == 0
    return pa_csv.read_csv(out)


def test_modelled_columns_have_what_is_given(capsys, tmp_path):
    words = ("-n", 60, "--given", "city=Bari", "age=33", "--json")
    run = people_run()
    capsys.readouterr()  # what its training said
    rows = sampled(run, tmp_path / "s.csv", *words)
    out, err = capsys.readouterr()
    assert rows.column_names == COLUMNS
    assert set(rows["city"].to_pylist()) == {"Bari"}
    assert set(rows["age"].to_pylist()) == {33}
    assert len(set(rows["income"].to_pylist())) > 50
    assert "conditioned on city=Bari, age=33: effective size " in err
    account = json.loads(out)["given"]
    assert account["columns"] == "city=Bari, age=33"
    assert account["ess"] > 0.5


def test_what_is_given_is_in_the_other_columns_too(tmp_path):
    """Incomes are exp(N(3 + city, 1)), of which a copula of categories has a part."""
    middle = []
    for city in ("Ávila", "Cork"):
        words = ("-n", 300, "--given", f"city={city}")
        rows = sampled(people_run(), tmp_path / f"{city}.csv", *words)
        middle.append(np.median(rows["income"]))
    assert middle[1] / middle[0] > 1.2


def test_python_draws_what_the_command_line_draws(tmp_path):
    words = ("-n", 20, "--seed", 3, "--given", "age=40")
    sampled(people_run(), tmp_path / "a.csv", *words)
    model = package.load(people_run())
    rows = model.sample(20, seed=3, given={"age": 40})
    again = model.write_samples(tmp_path / "b.csv", 20, seed=3, given=("age=40",))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert again.summary.total.ess > 0.5
    assert rows["age"].to_pylist() == [40] * 20
    assert not rows.equals(model.sample(20, seed=4, given={"age": 40}))


def test_a_file_may_hold_modelled_columns_and_gaps(tmp_path):
    (tmp_path / "given.csv").write_text("age,city\n40,Cork\n,Bari\n60,\n")
    words = ("--context-file", tmp_path / "given.csv", "-n", 6)
    rows = sampled(people_run(), tmp_path / "s.csv", *words)
    age, city = (rows[name].to_pylist() for name in ("age", "city"))
    assert (age[0], age[2], age[3]) == (40, 60, 40)
    assert (city[0], city[1], city[4]) == ("Cork", "Bari", "Bari")


def test_context_and_modelled_columns_go_together(tmp_path):
    words = ("-n", 30, "--given", "city=Bari", "height=1.75")
    rows = sampled(conditional_run(), tmp_path / "s.csv", *words)
    assert set(rows["city"].to_pylist()) == {"Bari"}
    assert set(rows["height"].to_pylist()) == {1.75}
    assert len(set(rows["age"].to_pylist())) > 1  # of training rows
    (tmp_path / "given.csv").write_text("city,height,age\nCork,1.7,20\nBari,1.8,30\n")
    words = ("--context-file", tmp_path / "given.csv", "--given", "age=25")
    rows = sampled(conditional_run(), tmp_path / "t.csv", *words)
    assert rows["age"].to_pylist() == [25, 25]
    assert rows["city"].to_pylist() == ["Cork", "Bari"]
    # A table with contexts, such as test data, asks for new values of what is modelled.
    assert not set(rows["height"].to_pylist()) & {1.7, 1.8}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--given", "cty=Bari"], "no such column; did you mean 'city'?"),
        (["--given", "city=Bern"], "unknown category 'Bern'"),
        (["--given", "age=-5"], "column 'age': -5 is below 0: the column holds integer numbers"),
        (["--given", "income=-1"], "is not above 0"),
        (["--given", "age=30", "--temperature", 0.5], "leave --temperature out"),
        (["--given", "age=30", "--exact", "RUN"], "is not for --exact"),
        (["--context-file", "odd.csv"], "no column of the run; it models age, height"),
    ],
)
def test_what_cannot_be_given_is_refused(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.csv").write_text("weight\n70\n")
    words = [people_run() if word == "RUN" else word for word in words]
    assert expected in refused(capsys, "sample", people_run(), "--out", "s.csv", *words)
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize("gap", ["", "Don't know"])
def test_a_gap_among_numbers_is_refused(gap, tmp_path):
    path = tmp_path / "survey.csv"
    rows = [f"{i % 11 if i % 7 else gap},{'abc'[i % 3]}" for i in range(200)]
    path.write_text("\n".join(["score,group", *rows]))
    with pytest.raises(InputError, match="missing value among numbers"):
        Asked.of(open_data(path).schema, [f"score={gap}"], None)
