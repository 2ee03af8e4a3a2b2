"""Kills, full disks and signals leave whole files, and the same call then does the work."""

import errno
import os
import signal
from pathlib import Path

import pytest

from caudal import files
from caudal.data.writing import writing
from caudal.errors import InputError
from caudal.model import exporting
from command_line import QUICK, caudal, exact_run, folder

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="attacks are on forks")
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HIT = (-signal.SIGKILL,)


@pytest.fixture
def kills(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import kills

    return kills


def trial(kills, tmp_path, *words):
    exact_run()  # its data are those of the run
    words = [str(word) for word in words]
    return kills.Trial(words[0], words, tmp_path)


def test_a_training_goes_on_whenever_it_is_killed(kills, tmp_path):
    data = folder() / "plane.npy"
    exact_run()
    words = ("train", "nice", "--data", data, "--out", "out/run", *QUICK, "--validate-every", 3)
    train = trial(kills, tmp_path, *words)
    assert train.attack(kills.Attack(1, "before"), HIT) == ""  # it leaves config.yaml half written
    assert train.attack(kills.Attack(train.replaced // 2, "before"), HIT) == ""
    assert train.attack(kills.Attack(4, "full"), (1,)) == ""
    assert train.attack(kills.signalled(4, twice=False), (130,)) == ""  # Ctrl-C
    assert train.attack(kills.signalled(4), (130, 143)) == ""


def test_samples_are_whole_or_not_there(kills, tmp_path):
    words = ("sample", exact_run(), "-n", "500", "--out", "out/rows.csv")
    sample = trial(kills, tmp_path, *words)
    assert sample.replaced == 1
    assert sample.attack(kills.Attack(1, "before"), HIT) == ""
    assert sample.attack(kills.Attack(1, "full"), (1,)) == ""
    assert sample.attack(kills.small_files(2000), (1,)) == ""


@pytest.mark.parametrize(("number", "left"), [(1, set()), (2, {"m-sample.onnx"})])
def test_graphs_are_whole_or_not_there(number, left, kills, monkeypatch, tmp_path):
    """Whatever writes a graph; the kill is just before one of the two takes its place."""

    def write(path, module, traced, checked, output, about):
        path.write_text(output)
        return 0.0

    monkeypatch.setattr(exporting, "_NEEDED", ())
    monkeypatch.setattr(exporting, "_write", write)
    (out := tmp_path / "out").mkdir()
    words = ["export", str(exact_run()), "--out", str(out / "m.onnx")]
    child = kills.start(words, kills.Attack(number, "before"), tmp_path / "errors")
    assert kills.wait(child) == -signal.SIGKILL
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == left
    child = kills.start([*words, "--overwrite"], None, tmp_path / "errors")
    assert kills.wait(child) == 0
    graphs = {path.name: path.read_text() for path in out.iterdir()}
    assert graphs == {"m.onnx": "log_prob", "m-sample.onnx": "x"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rows.parquet", ("sample", "RUN", "-n", "9")),
        ("rows.npz", ("sample", "RUN", "-n", "9")),
        ("scored.csv", ("score", "RUN", "--data", "DATA")),
    ],
)
def test_a_full_disk_is_one_line_and_exit_code_1(name, words, tmp_path, monkeypatch, capsys):
    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    known = {"RUN": exact_run(), "DATA": folder() / "plane.npy"}
    monkeypatch.setattr(files, "flush", full)
    out = tmp_path / name
    assert caudal(*(known.get(word, word) for word in words), "--out", out) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said == f"caudal: error: {out}: No space left on device"
    assert not list(tmp_path.iterdir())


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: calls.append("fsync") or fsync(number))
    monkeypatch.setattr(os, "replace", lambda a, b: calls.append("replace") or replace(a, b))
    files.write_text(tmp_path / "a.txt", "text")
    assert calls == ["fsync", "replace"]


def test_what_the_user_can_help_is_bad_input(tmp_path):
    said = "cannot write .*: Permission denied; choose another"
    with pytest.raises(InputError, match=said), writing(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
