"""`caudal distill`: what it says, what it leaves behind, what it refuses, how it goes on."""

import html
import json
import re
import shlex
from dataclasses import replace
from functools import cache

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from caudal.cli import distill
from caudal.training.checkpoint import load_model
from caudal.training.run import Run
from command_line import (
    QUICK,
    caudal,
    exact_run,
    folder,
    interrupted,
    people,
    people_csv,
    people_run,
    refused,
)

pytestmark = pytest.mark.usefixtures("timed_once", "few_panels")

FEW = ("--steps", "4", "--batch-size", "64", "--pool", "300", "--validate-every", "2")
BRIEF = (*FEW, "--no-report")
MEASURES = {
    "n", "dims", "reverse_kl", "reverse_two_se", "reverse_kl_per_dim", "forward_kl",
    "forward_two_se", "forward_kl_per_dim", "ess", "pareto_k", "missed", "auc", "auc_se",
    "accuracy", "ks", "unit",
}  # fmt: skip
WAYS = {"n", "passes_ms", "stepping_ms", "student_ms", "passes_ratio", "stepping_ratio"}


@cache
def teacher_run():
    """A MAF of integers, reals with gaps and positive numbers, given the city."""
    data = folder() / "gappy.csv"
    table = people()
    heights = [None if i % 9 == 0 else v for i, v in enumerate(table["height"].to_pylist())]
    pa_csv.write_csv(table.set_column(1, "height", [heights]), data)
    out = folder() / "teacher"
    words = ("--data", data, "--context", "city", "--missing", "model", "--out", out)
    assert caudal("train", "maf", *words, *QUICK) == 0
    return out


@cache
def student_run():
    """Its student, with a report."""
    out = folder() / "student"
    assert caudal("distill", teacher_run(), "--out", out, *FEW) == 0
    return out


def compared(run):
    return json.loads((run / "compare.json").read_text(encoding="utf-8"))


def test_leaves_a_complete_run_behind():
    out = student_run()
    assert {path.name for path in out.iterdir()} == {
        "config.yaml", "model.safetensors", "state.safetensors", "metrics.jsonl", "eval.json",
        "alarm.json", "README.md", "compare.json", "gaussian.safetensors", "report.html",
        "pictures",
    }  # fmt: skip
    drawn = {path.name for path in (out / "pictures").iterdir()}
    assert drawn >= {"teacher-marginals.png", "teacher-pairs.png", "curves.png"}
    config = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    assert config["recipe"] == "iaf"
    assert config["layers"] == 2  # as the teacher
    assert config["teacher"] == str(teacher_run())
    assert config["data"] == str(folder() / "gappy.csv")
    assert config["pool"] == 300


def test_compares_the_student_with_its_teacher():
    found = compared(student_run())
    assert found.keys() == MEASURES | {"teacher", "terms", "verdict", "speed"}
    assert found["teacher"] == str(teacher_run())
    reverse = "0.1 KL(student||teacher)"
    assert found["terms"] == ["KL(teacher||student)", "layer-by-layer guidance", reverse]
    assert found["verdict"]
    assert all(line == " ".join(line.split()) for line in found["verdict"])
    assert found["ks"].keys() == {"age", "height", "income", "height is missing"}
    assert [speed.keys() for speed in found["speed"]] == [WAYS] * 3


def test_the_report_has_the_student_beside_its_teacher():
    page = (student_run() / "report.html").read_text(encoding="utf-8")
    assert f"Beside its teacher, {teacher_run()}" in page
    assert "Each column, student and teacher" in page
    assert "negative loss" not in page  # it is in a picture
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_the_report_has_the_command_that_makes_the_student_again():
    page = (student_run() / "report.html").read_text(encoding="utf-8")
    command = html.unescape(re.search(r"<pre>(caudal distill .*)</pre>", page)[1])
    assert "--lr" not in command  # which is the usual one
    again, _ = distill.read_options(shlex.split(command)[2:])
    first, _ = distill.read_options([str(teacher_run()), "--out", str(student_run()), *FEW])
    assert again == replace(first, student="iaf")


def test_says_what_it_does_and_what_came_of_it(capsys, tmp_path):
    out = tmp_path / "run"
    assert caudal("distill", teacher_run(), "--out", out, *BRIEF) == 0
    said, progress = capsys.readouterr()
    assert f"teacher: maf in {teacher_run()}, trained on {folder() / 'gappy.csv'}\n" in said
    assert "minimises KL(teacher||student) + layer-by-layer guidance" in said
    assert "step 4/4" in progress
    assert re.search(r"KL\(student\|\|teacher\) +-?\d+\.\d+ ± \d+\.\d+", said)
    assert "stepping / student" in said
    assert all(line in " ".join(said.split()) for line in compared(out)["verdict"])
    assert f"caudal sample {out} --exact {teacher_run()} -n 1000" in said


def test_the_student_is_a_run_as_any_other(capsys, tmp_path):
    student, data = student_run(), folder() / "gappy.csv"
    assert caudal("eval", student, "--json") == 0
    said = capsys.readouterr()
    kept = json.loads((student / "eval.json").read_text(encoding="utf-8"))
    assert json.loads(said.out)["log_prob"] == pytest.approx(kept["log_prob"], abs=1e-4)
    assert "changed since" not in said.err
    assert caudal("score", student, "--data", data, "--out", tmp_path / "scored.csv") == 0
    assert "log_prob" in pa_csv.read_csv(tmp_path / "scored.csv").column_names
    out = tmp_path / "s.parquet"
    assert caudal("sample", student, "-n", 60, "--given", "city=Bari", "--out", out) == 0
    rows = pq.read_table(out)
    assert rows.column_names == ["age", "height", "city", "income"]
    assert set(rows["city"].to_pylist()) == {"Bari"}
    words = ("--exact", teacher_run(), "--exact-steps", 3, "--overwrite", "--json")
    capsys.readouterr()
    assert caudal("sample", student, "-n", 60, "--out", out, *words) == 0
    assert json.loads(capsys.readouterr().out)["exact"]["steps"] == 3
    assert pq.read_table(out).num_rows == 60


def test_other_students_start_from_their_own_size_and_need_no_pairs(tmp_path):
    out = tmp_path / "run"
    size = ("--layers", 1, "--hidden", 8)
    words = ("--student", "nsf", *size, "--reverse", 0.5, "--out", out)
    assert caudal("distill", teacher_run(), *words, *BRIEF) == 0
    assert compared(out)["terms"] == ["KL(teacher||student)", "0.5 KL(student||teacher)"]
    assert load_model(out).recipe.name == "nsf"


def test_a_made_is_learned_in_closed_form_and_in_double_precision(tmp_path):
    teacher, out = tmp_path / "made", tmp_path / "run"
    words = ("--data", people_csv(), "--context", "city", "--hidden", 8, "--steps", 4)
    assert caudal("train", "made", *words, "--no-report", "--out", teacher) == 0
    more = ("--precision", "64-true", "--out", out)
    assert caudal("distill", teacher, *more, *BRIEF) == 0
    assert compared(out)["terms"] == ["KL(student||teacher), closed form of each conditional"]
    flow = load_model(out).flow
    assert flow.base.like.dtype == torch.float64
    assert {p.dtype for p in flow.parameters()} == {torch.float64}


@cache
def slow_to_score():
    """An IAF."""
    out = folder() / "iaf"
    words = ("--data", people_csv(), "--columns", "height", "income", "--out", out)
    assert caudal("train", "iaf", *words, *QUICK) == 0
    return out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "missing from caudal distill: RUN"),
        (["--steps", "3"], "missing from caudal distill: RUN"),
        (["no/run"], "no/run: no such run folder"),
        (["REALNVP"], "realnvp samples in one pass already: it needs no student"),
        (["IAF"], "iaf scores one position at a time: it cannot teach; train "),
        (
            ["MAF", "--student", "maf"],
            "--student maf: samples one position at a time; take nice, realnvp, iaf, nsf, nsf-iaf",
        ),
        (["MAF", "--student", "iav"], "--student: no recipe 'iav'; did you mean 'iaf'?"),
        (["MAF", "--student", "realnvp", "--batch-norm"], "give --no-batch-norm"),
        (["MAF", "--forward", "-1"], "--forward -1.0: must be a number, at least 0"),
        (["MAF", "--pool", "7"], "--pool 7: must be a whole number, at least 100"),
        (["MAF", "--forward", "0", "--guide", "0", "--reverse", "0"], "nothing to learn from"),
        (["MAF", "--lyers", "3"], "--lyers; did you mean --layers?"),
        (["MAF", "--resume", "--overwrite"], "choose one of them"),
        (["MAF", "--out", "MAF", "--overwrite"], "is the teacher's folder"),
    ],
)
def test_refusals(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = {"MAF": exact_run, "IAF": slow_to_score, "REALNVP": people_run}
    words = [str(runs[word]()) if word in runs else word for word in words]
    before = (exact_run() / "model.safetensors").read_bytes()
    more = () if "--out" in words or not words else ("--out", "new")
    assert expected in refused(capsys, "distill", *words, *more)
    assert not list(tmp_path.iterdir())
    assert (exact_run() / "model.safetensors").read_bytes() == before


def test_a_run_is_never_overwritten_silently(capsys):
    said = refused(capsys, "distill", teacher_run(), "--out", student_run(), *BRIEF)
    assert all(advice in said for advice in ("--resume", "--overwrite", "--out"))
    said = refused(capsys, "train", "--out", student_run(), "--resume")
    assert "is of a student: go on, or repeat it, with caudal distill" in said


def test_a_teacher_without_its_data(capsys, tmp_path):
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((exact_run() / "model.safetensors").read_bytes())
    said = refused(capsys, "distill", alone, "--out", tmp_path / "run")
    assert "holds no data, and does not say which it was trained on" in said
    assert said.endswith("or distill a run whose rows are there")


def test_the_folder_has_a_name_by_default_and_another_run_may_take_it(tmp_path):
    teacher, out = tmp_path / "mine", tmp_path / "mine-iaf"
    words = ("--data", people_csv(), "--columns", "height", "income", "--out", teacher)
    assert caudal("train", "maf", *words, *QUICK) == 0
    assert caudal("distill", teacher, *BRIEF) == 0
    assert (out / "compare.json").exists()
    words = ("--data", people_csv(), "--out", out, "--overwrite", *QUICK)
    assert caudal("train", "nice", *words) == 0
    assert not (out / "compare.json").exists()


def test_ctrl_c_saves_and_resume_goes_on(monkeypatch, capsys, tmp_path):
    out = tmp_path / "run"
    words = ("distill", teacher_run(), "--out", out, "--batch-size", 64)
    words = (*words, "--no-report", "--validate-every", 10, "--overwrite", "--steps", 100)
    last = interrupted(monkeypatch, capsys, 12, *words)
    assert f"caudal distill {teacher_run()} --out {out}" in last
    assert last.endswith("--resume")
    assert "--overwrite" not in last
    again = last[last.index("caudal distill") :].split()[1:]
    assert caudal(*again, "--steps", 15, "--json") == 0
    assert Run(out).metrics()[-1]["step"] == 15
    assert Run(out).read_config()["pool"] == 6400  # as it began, for 100 steps
    result = json.loads(capsys.readouterr().out)  # one object alone
    assert (result["run"], result["unit"]) == (str(out), "nats")
    assert result["fidelity"] == compared(out)


def test_what_is_wrong_with_a_weight_is_said_without_the_parsers_words(capsys):
    said = refused(capsys, "distill", teacher_run(), "--tail", "nan")
    assert said.startswith("--tail nan: must be a positive number")
