"""`caudal demo`: the commands themselves, one after the other."""

from caudal.cli import demo
from command_line import caudal


def test_demo_runs_the_commands_and_says_what_came_of_them(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "SETTINGS", "--layers 1 --hidden 4 --steps 2 --batch-size 64")
    monkeypatch.setattr(demo, "TEACHER", "--hidden 4 --steps 2 --no-report")
    monkeypatch.setattr(demo, "STUDENT", "--steps 2 --pool 300 --batch-size 30")
    for _ in range(2):  # made anew each time
        assert caudal("demo", "--out", tmp_path / "demo") == 0
    said = capsys.readouterr().out
    for command in ("train nsf --data digits", "eval", "sample", "train maf", "distill"):
        assert f"$ caudal {command}" in said
    for name in ("report.html", "samples.csv", "pictures/images.png", "student/compare.json"):
        assert (tmp_path / "demo" / name).exists()
    assert "flow above Gaussian" in said
    assert "times as fast (D passes)" in said
    assert str(tmp_path / "demo/report.html") in said
