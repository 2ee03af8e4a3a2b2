"""`caudal train`: what it says, what it leaves behind, what it refuses, how it goes on."""

import json
import re

import pytest
import yaml

from caudal.cli.train import read_options
from caudal.training.run import Run
from command_line import QUICK, caudal, interrupted, people_csv, people_run, refused


def test_leaves_a_complete_run_behind():
    out = people_run()
    left = {path.name for path in out.iterdir()}
    assert left == {
        "config.yaml", "columns.yaml", "model.safetensors", "state.safetensors", "metrics.jsonl",
        "eval.json", "gaussian.safetensors", "alarm.json", "README.md", "report.html", "pictures",
    }  # fmt: skip
    drawn = {path.name for path in (out / "pictures").iterdir()}
    assert drawn == {"training", "marginals.png", "pairs.png", "correlations.png", "curves.png"}


def test_the_report_needs_nothing_from_outside():
    page = (people_run() / "report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/png;base64,') == 4
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "url(" not in page
    assert f"caudal train realnvp --data {people_csv()}" in page
    assert "Ávila" in page


def test_says_what_it_is_about_to_do(capsys, tmp_path):
    out = tmp_path / "run"
    assert caudal("train", "realnvp", "--data", people_csv(), "--out", out, *QUICK) == 0
    said, progress = capsys.readouterr()
    assert re.search(r"age +integer \[0, inf\) .*guessed", said)
    assert re.search(r"city +3 categories", said)
    assert re.search(r"\d+ training, \d+ validation, \d+ test rows", said)
    assert re.search(r"realnvp \(layers=2, .*\): [\d,]+ parameters", said)
    assert "density one pass, samples one pass" in said
    assert re.search(r"flow +-?\d+\.\d+ ± \d+\.\d+ +lower bound", said)
    assert re.search(r"Gaussian +-?\d+\.\d+", said)
    assert str(out / "model.safetensors") in said
    assert f"caudal sample {out}" in said
    assert "step 6/6" in progress


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["iaf", "--columns", "height", "income"], "one column at a time, and so it trains"),
        (["maf", "--columns", "height"], "can only make a Gaussian"),
    ],
)
def test_warns_of_recipes_that_do_not_fit(words, expected, capsys, tmp_path):
    out = tmp_path / "run"
    assert caudal("train", *words, "--data", people_csv(), "--out", out, *QUICK) == 0
    assert expected in capsys.readouterr().out


def test_json_is_one_object_alone(capsys, tmp_path):
    words = ("--data", people_csv(), "--out", tmp_path / "run", "--json", *QUICK)
    assert caudal("train", "nice", *words) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["unit"] == "nats"
    assert result["run"] == str(tmp_path / "run")
    assert json.loads((tmp_path / "run/eval.json").read_text())["log_prob"] == result["log_prob"]


def test_config_repeats_the_run(tmp_path):
    config = people_run() / "config.yaml"
    assert caudal("train", "--config", config, "--out", tmp_path / "again", "--no-report") == 0
    first, again = (Run(path).metrics() for path in (people_run(), tmp_path / "again"))
    assert [m["train"] for m in first] == [m["train"] for m in again]
    paths = (config, tmp_path / "again/config.yaml")
    first, again = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths)
    assert again == {**first, "report": False}


def test_typed_lists_override_the_config(tmp_path):
    (tmp_path / "t.csv").write_text("-a,b,c\n" + "1.5,2.5,3\n2.25,1,4\n" * 99)
    config = tmp_path / "mine.yaml"
    config.write_text(f"recipe: nice\ndata: {tmp_path}/t.csv\ncolumns: [-a, b]\ncontext: [c]\n")
    _, read = read_options(["--config", str(config)])
    assert (read.data.columns, read.data.context) == (("-a", "b"), ("c",))
    _, read = read_options(
        ["--config", str(config), "--columns=-a", "--columns", "c", "--context"]
    )
    assert (read.data.columns, read.data.context) == (("-a", "c"), ())


def test_flags_override_the_config(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text(f"recipe: maf\ndata: {people_csv()}\nhidden: [8]\nlr: 1e-2\nsteps: 9\n")
    more = ("--steps", 3, "--no-cosine", "--no-report")
    words = ("--config", config, *more, "--out", tmp_path / "run")
    assert caudal("train", "maf", *words) == 0
    made = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert (made["hidden"], made["lr"], made["steps"], made["cosine"]) == ([8], 0.01, 3, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("recipe: maf\nlearning_rate: 1\n", "unknown key 'learning_rate'"),
        ("recipe: mof\n", "no recipe 'mof'; did you mean"),
        ("recipe: maf\nlr: [\n", "not YAML"),
        ("- maf\n", "must hold names and values"),
        ("recipe: maf\nlayers: {a: 1}\n", "must be a value or a list"),
        ("recipe: maf\nlayers: many\n", "c.yaml: --layers many: must be a whole number"),
        ("recipe: maf\nclip: null\n", "c.yaml: 'clip' has no value: give one, or leave"),
        ("recipe: maf\nepochs: -1\n", "c.yaml: --epochs -1: must be a whole number, at least 1"),
        ("recipe: nsf\n", "is of the recipe nsf, not maf"),
    ],
)
def test_bad_configs_are_refused(text, expected, capsys, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    words = ("--data", people_csv(), "--config", tmp_path / "c.yaml")
    assert expected in refused(capsys, "train", "maf", *words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["maf", "--data", "no.csv"], "no.csv"),
        (["maf", "--data", "PEOPLE", "--columns", "hieght"], "did you mean 'height'?"),
        (["maf", "--data", "PEOPLE", "--types", "city=real"], "is not a number"),
        (["maf", "--data", "PEOPLE", "--split", "0.9", "0.2", "0.1"], "--split"),
        (["maf", "--data", "PEOPLE", "--activation", "tan"], "--activation tan: choose one"),
        (["nsf", "--data", "PEOPLE", "--bins", "1"], "--bins 1: must be a whole"),
        (["maf", "--data", "PEOPLE", "--accelerator", "tpu"], "--accelerator tpu: choose one"),
        (["maf", "--data", "PEOPLE", "--seed", "9" * 20], "must be a whole number from -2^63"),
        (["maf", "--data", "PEOPLE", "--resume", "--overwrite"], "choose one of them"),
        (["maf", "--data", "PEOPLE", "--config", "no.yaml"], "no.yaml: no such file"),
    ],
)
def test_bad_input_is_refused_and_leaves_no_model(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [str(people_csv()) if word == "PEOPLE" else word for word in words]
    assert expected in refused(capsys, "train", *words)
    assert not list(tmp_path.iterdir())


def test_strict_refuses_missing_values_with_their_place(capsys, tmp_path):
    data = tmp_path / "gap.csv"
    data.write_text(people_csv().read_text(encoding="utf-8") + "31,,Bari,10.5\n", encoding="utf-8")
    said = refused(capsys, "train", "maf", "--data", data, "--strict", "--out", tmp_path / "run")
    assert "row 401, column 'height': missing value" in said
    assert "--missing drop" in said


def test_a_run_is_never_overwritten_silently(capsys, tmp_path):
    words = ("train", "nice", "--data", people_csv(), "--out", tmp_path / "run", *QUICK)
    assert caudal(*words) == 0
    said = refused(capsys, *words)
    assert all(advice in said for advice in ("--resume", "--overwrite", "--out"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    refused(capsys, *words, "--overwrite", "--columns", "hight")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    (tmp_path / "run/mine.txt").write_text("keep me")
    assert caudal(*words, "--overwrite") == 0
    assert (tmp_path / "run/mine.txt").exists()


def test_other_folders_are_left_alone(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    said = refused(capsys, "train", "nice", "--data", people_csv(), "--out", tmp_path)
    assert "thesis.tex" in said
    said = refused(
        capsys, "train", "nice", "--data", people_csv(), "--out", tmp_path / "thesis.tex"
    )
    assert "is a file" in said


def test_the_folder_has_a_name_by_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert caudal("train", "nice", "--data", people_csv(), *QUICK) == 0
    assert (tmp_path / "runs/nice-people/model.safetensors").exists()


def test_a_resumed_run_can_go_further(capsys, tmp_path):
    out = tmp_path / "run"
    assert caudal("train", "nice", "--data", people_csv(), "--out", out, *QUICK) == 0
    assert caudal("train", "--out", out, "--resume", "--steps", 12, "--no-report") == 0
    assert Run(out).metrics()[-1]["step"] == 12
    assert yaml.safe_load((out / "config.yaml").read_text())["layers"] == 2
    config = (out / "config.yaml").read_text()
    assert "seed" in refused(capsys, "train", "--out", out, "--resume", "--seed", 5)
    assert (out / "config.yaml").read_text() == config
    assert caudal("train", "--out", out, "--resume", "--steps", 13) == 0
    assert not (out / "report.html").exists()  # it was trained with --no-report


def test_a_run_is_used_from_other_folders(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "here/people.csv").write_bytes(people_csv().read_bytes())
    monkeypatch.chdir(tmp_path / "here")
    assert caudal("train", "nice", "--data", "people.csv", "--out", "../run", *QUICK) == 0
    monkeypatch.chdir(tmp_path / "there")
    assert caudal("eval", "../run") == 0
    assert caudal("train", "--out", "../run", "--resume", "--steps", 7) == 0


def test_interrupted_it_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    words = ("--data", people_csv(), "--out", out, *QUICK[2:])
    last = interrupted(monkeypatch, capsys, 3, "train", "nice", *words)
    assert f"caudal train --out {out} --resume" in last
    stopped = int(re.search(r"after step (\d+)", last)[1])
    assert caudal("train", "--out", out, "--resume", "--steps", stopped + 3, "--no-report") == 0
    assert Run(out).metrics()[-1]["step"] == stopped + 3
