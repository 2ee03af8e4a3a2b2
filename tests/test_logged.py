"""`--log`: numbers and pictures of training, as TensorBoard and trackio have them afterwards."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from types import SimpleNamespace

import pytest

import caudal as library
from caudal.errors import InputError
from caudal.report import logged
from command_line import SMALL, caudal, people_csv, refused


def test_tensorboard_has_losses_and_pictures(tmp_path):
    pytest.importorskip("tensorboard", reason="needs caudal[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    words = ["nsf", "--data", people_csv(), *SMALL, "--validate-every", 3, "--out", out]
    assert caudal("train", *words, "--log", "tensorboard") == 0
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    valid = [(event.step, event.value) for event in events.Scalars("loss/valid")]
    records = [r for r in library.Run(out).metrics() if "valid" in r]
    assert [step for step, _ in valid] == [record["step"] for record in records]
    assert [value for _, value in valid] == pytest.approx([r["valid"] for r in records])
    assert events.Images("samples")
    assert "log" not in library.Run(out).read_config()

    again = logged.TensorBoard(out, first=3, resumed=True)  # from a state of step 3
    again.numbers({"loss/valid": 1.0}, 4)
    again.close()
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss/valid")] == [3, 4]


def test_trackio_has_losses_on_this_machine(tmp_path):
    pytest.importorskip("trackio", reason="needs caudal[trackio]")
    words = ["nsf", "--data", people_csv(), *SMALL, "--validate-every", 3, "--out", "run"]
    command = [sys.executable, "-m", "caudal", "train", *map(str, words), "--log", "trackio"]
    there = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio")}  # read when it is imported
    subprocess.run(command, cwd=tmp_path, env=there, check=True, capture_output=True)
    told = trackio_rows(tmp_path)
    seen = {step: values["loss/valid"] for step, values in told if "loss/valid" in values}
    records = [r for r in library.Run(tmp_path / "run").metrics() if "valid" in r]
    assert seen == pytest.approx({record["step"]: record["valid"] for record in records})

    last = max(seen)
    again = [sys.executable, "-c", AGAIN, str(last)]
    subprocess.run(again, cwd=tmp_path, env=there, check=True, capture_output=True)
    new = trackio_rows(tmp_path)[len(told) :]
    assert new == [(last, {"loss/other": 1.0}), (last + 1, {"loss/valid": 3.0})]


def test_runs_of_folders_of_one_name_are_apart_in_trackio(tmp_path, monkeypatch):
    begun, told = [], []
    fake = SimpleNamespace(init=lambda **asked: begun.append((asked["name"], asked["resume"])))
    monkeypatch.setitem(sys.modules, "trackio", fake)
    monkeypatch.setattr(logged, "_told", lambda name: told.append(name) or set())
    one, other = tmp_path / "a" / "run", tmp_path / "b" / "run"
    for run, resumed in ((one, False), (other, False), (one, True)):
        logged.Trackio(run, first=0, resumed=resumed)
    names = [name for name, _ in begun]
    assert names[0] != names[1]
    assert names[2] == names[0] == told[0]
    assert [how for _, how in begun] == ["never", "never", "allow"]


AGAIN = """
import sys
from pathlib import Path
from caudal.report.logged import Trackio

last = int(sys.argv[1])
sink = Trackio(Path("run"), first=0, resumed=True)  # as after a kill: the last step comes again
sink.numbers({"loss/valid": 2.0, "loss/other": 1.0}, last)
sink.numbers({"loss/valid": 3.0}, last + 1)
sink.close()
"""


def trackio_rows(folder):
    rows = []
    for path in (folder / "trackio").rglob("*.db"):
        with closing(sqlite3.connect(path)) as base:
            rows += base.execute("select step, metrics from metrics order by id").fetchall()
    return [(step, json.loads(text)) for step, text in rows]


def test_what_is_missing_is_told_before_any_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(logged, "find_spec", lambda name: True)
    with pytest.raises(InputError, match="give `out`"):
        library.train("nsf", people_csv(), log="tensorboard")
    with pytest.raises(InputError, match="must be one of tensorboard, trackio"):
        library.train("nsf", people_csv(), log="wandb", out=tmp_path / "run")
    monkeypatch.setattr(logged, "find_spec", lambda name: None)
    words = ["nsf", "--data", people_csv(), "--out", tmp_path / "run", "--log", "trackio"]
    assert "caudal[trackio]" in refused(capsys, "train", *words)
    assert not (tmp_path / "run").exists()
