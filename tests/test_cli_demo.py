"""`caudal demo`: the commands themselves, one after the other."""

import re

import pytest

from caudal.cli import demo
from caudal.report import distilled
from command_line import caudal


@pytest.mark.usefixtures("few_panels", "few_rows")
def test_demo_runs_the_commands_and_says_what_came_of_them(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "SETTINGS", "--layers 1 --hidden 4 --steps 2 --batch-size 64")
    monkeypatch.setattr(demo, "TEACHER", "--layers 1 --hidden 4 --steps 2 --no-report")
    monkeypatch.setattr(demo, "STUDENT", "--steps 2 --pool 300 --batch-size 30 --no-report")
    time = distilled.sampling_speed
    monkeypatch.setattr(
        distilled, "sampling_speed", lambda *flows: time(*flows[:3], (1, 9, 30), 0)
    )
    assert caudal("demo", "--out", tmp_path / "demo") == 0
    said = capsys.readouterr().out
    commands = re.findall(r"^\$ caudal (.*)$", said, re.M)
    assert [line.split()[0] for line in commands] == [
        "train",
        "eval",
        "sample",
        "train",
        "distill",
    ]
    # Every command that writes replaces what an earlier demo left.
    assert all("--overwrite" in line for line in commands if not line.startswith("eval"))
    for name in ("report.html", "samples.csv", "pictures/images.png", "student/compare.json"):
        assert (tmp_path / "demo" / name).exists()
    assert "flow above Gaussian" in said
    assert "times as fast (D passes)" in said
    assert str(tmp_path / "demo/report.html") in said
