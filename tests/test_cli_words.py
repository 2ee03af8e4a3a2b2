"""The words around the commands: help, version, exit codes, and one line for what is wrong."""

import os
import re
import subprocess
import sys

import pytest

import caudal as library
from caudal.cli import entry
from caudal.cli.metavars import metavar_of
from caudal.cli.words import gathered, one_line, positional
from caudal.errors import NumericalError
from caudal.recipes import RECIPES
from command_line import QUICK, caudal, exact_run, people_csv, refused


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], []])
def test_help_names_every_command(words, capsys):
    assert caudal(*words) == (0 if words else 2)
    said = capsys.readouterr().out
    assert all(f"  {name}" in said for name in entry.COMMANDS)
    assert max(map(len, said.splitlines())) <= 100


@pytest.mark.parametrize("command", entry.COMMANDS)
def test_every_command_has_help(command, capsys):
    assert caudal(command, "--help") == 0
    assert "usage: caudal" in capsys.readouterr().out


def test_help_of_a_recipe_groups_its_options(capsys):
    assert caudal("train", "maf", "--help") == 0
    said = capsys.readouterr().out
    groups = ["data options", "recipe options", "training options"]
    assert [said.index(g) for g in groups] == sorted(said.index(g) for g in groups)
    assert "Autoregressive layers. (default: 5)" in said
    assert "Learning rate, reached" in said
    for shown in ("--layers N ", "--lr NUMBER ", "--hidden N ...", "--data DATA ", "--out PATH "):
        assert shown in said
    assert not re.search(r"\b(STR|INT|FLOAT)\b|\{None\}", said)


def test_version(capsys):
    assert caudal("--version") == 0
    assert capsys.readouterr().out == f"caudal {library.__version__}\n"


def test_recipes_are_a_table(capsys):
    assert caudal("recipes") == 0
    said = capsys.readouterr().out
    assert all(name in said for name in RECIPES)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], "no command 'trian'; did you mean 'train'?"),
        (["train", "mafx", "--data", "moons"], "no recipe 'mafx'; did you mean 'maf'"),
        (["train", "maf"], "missing from caudal train maf: --data"),
        (["train", "maf", "--data", "moons", "--lyers", "3"], "--lyers; did you mean --layers?"),
        (["train", "maf", "--data", "moons", "--layers", "x"], "--layers x: must be a whole numb"),
        (["train", "maf", "--data", "moons", "--hidden", "8", "x"], "--hidden 8 x: must be whole"),
        (["train", "maf", "--data", "moons", "--lr", "x"], "--lr x: must be a number; see"),
        (["train", "maf", "--data", "moons", "--split", "1", "x", "2"], "must be numbers; see"),
        (["train", "maf", "--data", "moons", "--split", "1"], "--split: must be 3 numbers"),
        (["train", "maf", "--data", "moons", "--steps", "x"], "--steps x: must be a whole number"),
        (["train", "maf", "--data", "moons", "more"], "a word too many: more; see"),
        (["train", "maf", "--data", "moons", "--columns", "-x"], "write --columns=-x where a val"),
        (["eval", "RUN", "--limit", "x"], "--limit x: must be a whole number; see caudal eval"),
        (["eval", "RUN", "--limt", "3"], "no option --limt; did you mean --limit?"),
        (["eval", "RUN", "--seed"], "--seed: a value is missing; see"),
        (["train", "maf", "--data", "moons", "--context"], "--context: a value is missing; see"),
        (["train", "maf", "--data", "moons", "--context", ""], "--context: a value is miss"),
        (["train", "maf", "--data", "moons", "--hidden="], "--hidden: a value is missing; see"),
        (["train", "nice", "--data", "digits", "--context", "--steps", "3"], "--context: a value"),
        (["train", "wavenet", "--data", "vowels", "--context"], "--context: a value is missing"),
        (["train", "wavenet", "--data", "vowels", "--context", "no"], "vowels has no such label"),
        (["train", "maf", "--data", "moons", "--lr", "-1"], "--lr -1.0: must be a positive"),
        (
            ["train", "maf", "--data", "moons", "--missing", "no"],
            "choose one of auto, refuse, drop, model; see",
        ),
        (["eval"], "missing from caudal eval: RUN, the run folder; see"),
        (["score"], "missing from caudal score: RUN, the run folder, --data, --out; see"),
        (["eval", "no-such-run"], "no-such-run: no such run"),
        (["sample", "no-such-run", "--out", "x.csv"], "no-such-run: no such run"),
        (["score", "no-such-run", "--data", "moons", "--out", "x.csv"], "no such run"),
    ],
)
def test_bad_words_are_refused_in_one_line(words, expected, capsys, tmp_path, monkeypatch):
    words = [str(exact_run()) if word == "RUN" else word for word in words]
    monkeypatch.chdir(tmp_path)
    assert expected in refused(capsys, *words)


LISTS, SWITCHES = {"--given", "--columns"}, {"--json", "--no-json"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--given a b --out x", ["--out", "x", "--given", "a", "b"]),
        ("--given a --n 3 --given b", ["--n", "3", "--given", "a", "b"]),
        ("--given a=1 -n 3", ["-n", "3", "--given", "a=1"]),
        ("--columns -1 --columns=a", ["--columns", "-1", "a"]),
        ("--out x --columns", ["--out", "x", "--columns"]),
        ("--columns --steps 5", ["--steps", "5", "--columns"]),
    ],
)
def test_values_of_a_repeated_option_add_up(words, expected):
    assert gathered(words.split(), LISTS) == expected


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("run --out x", "run"),
        ("--out x run", "run"),
        ("--out=x run", "run"),
        ("--json run", "run"),
        ("--scale -1 run", "run"),
        ("--given a b --out x run", "run"),
        ("--given a b", None),
        ("--out run", None),
    ],
)
def test_the_run_is_the_first_word_of_its_own(words, first):
    assert positional(words.split(), LISTS, SWITCHES) == first


# --- options are those of the kind of data at hand -------------------------------------------

KINDS = {
    "table": ({"--columns", "--types", "--missing"}, ["maf", "--data", "PEOPLE"]),
    "images": ({"--bits", "--resize"}, ["glow", "--data", "digits"]),
    "audio": ({"--mels", "--rate", "--window"}, ["wavenet", "--data", "vowels"]),
}
"""Flags that only one kind of data has, and a command line on such data."""


def for_people(words):
    return [str(people_csv()) if word == "PEOPLE" else word for word in words]


@pytest.mark.parametrize("kind", KINDS)
def test_help_shows_the_flags_of_this_kind_of_data_alone(kind, capsys):
    assert caudal("train", *for_people(KINDS[kind][1]), "--help") == 0
    flags = set(re.findall(r"--[a-z][\w-]*", capsys.readouterr().out))
    assert flags >= KINDS[kind][0]
    for other in KINDS.keys() - {kind}:
        assert not flags & KINDS[other][0]


@pytest.mark.parametrize("kind", KINDS)
def test_flags_of_another_kind_of_data_are_refused(kind, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own, words = KINDS[kind]
    for other in KINDS.keys() - {kind}:
        for flag in KINDS[other][0] - own:
            assert f"no option {flag}" in refused(capsys, "train", *for_people(words), flag, "64")
    assert not list(tmp_path.iterdir())


def test_flags_of_a_run_are_those_of_its_data(capsys):
    words = ("sample", exact_run(), "--out", "x.csv", "--mel-of", "x.wav")
    assert "no option --mel-of" in refused(capsys, *words)
    assert caudal("sample", exact_run(), "--help") == 0
    said = capsys.readouterr().out
    assert "--exact" in said
    assert "--mel-of" not in said


def test_values_are_called_what_they_are():
    assert metavar_of("context", str | None) == "FILE"  # of the samples of plain tensors
    assert metavar_of("context", tuple[str, ...]) == "NAME ..."
    assert metavar_of("exact_steps", int | None) == "N"


def test_frames_become_one_line():
    box = """╭─ Value error ─────────────────────────────╮
│ Error parsing training: --lr -1: must be  │
│ positive                                  │
│ ───────────────────────────────────────── │
│ For full helptext, see caudal --help      │
╰───────────────────────────────────────────╯"""
    assert one_line(box) == "--lr -1: must be positive"


class Failing:
    """A command that fails."""

    def __init__(self, error):
        self.error = error

    def run(self, words):
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (NumericalError("step 3: NaN\nin layer 2"), 1, "caudal: error: step 3: NaN in layer 2"),
        (OSError(28, "No space left", "a/model"), 1, "caudal: error: a/model: No space left"),
        (OSError("gone"), 1, "caudal: error: gone"),
        (KeyboardInterrupt(), 130, "caudal: interrupted"),
        (KeyboardInterrupt("saved in x"), 130, "caudal: saved in x"),
    ],
)
def test_exit_codes(error, code, said, capsys, monkeypatch):
    monkeypatch.setattr(entry, "import_module", lambda name: Failing(error))
    assert caudal("recipes") == code
    assert capsys.readouterr().err.strip() == said


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_debug_shows_the_traceback(how, monkeypatch):
    monkeypatch.setattr(entry, "import_module", lambda name: Failing(NumericalError("NaN")))
    if how == "environment":
        monkeypatch.setenv("CAUDAL_DEBUG", "1")
    with pytest.raises(NumericalError):
        caudal("recipes", *(["--debug"] if how == "flag" else []))


@pytest.mark.skipif(os.name != "posix", reason="limits files as POSIX does")
def test_a_disk_that_is_full_is_one_line(capsys, tmp_path):
    resource = pytest.importorskip("resource")
    words = ("train", "nice", "--data", people_csv(), "--out", tmp_path / "run", *QUICK)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))
    try:
        code = caudal(*words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    said = capsys.readouterr().err
    assert code == 1, said
    assert said.strip().splitlines()[-1] == (
        f"caudal: error: {tmp_path}/run/state.safetensors: File too large"
    )
    assert "Traceback" not in said


@pytest.mark.skipif(os.name != "posix", reason="closes a pipe as POSIX does")
def test_a_closed_pipe_is_quiet():
    command = f"{sys.executable} -m caudal recipes | true"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert ended.stderr == ""
