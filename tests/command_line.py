"""Small runs made by the command line itself, once, for the tests of its commands."""

import atexit
import os
import shutil
import signal
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from caudal.cli import main
from caudal.training.trainer import Trainer
from image_files import fill

FIXTURES = Path(__file__).parent / "fixtures"
SMALL = ("--layers", "2", "--hidden", "8", "--steps", "6", "--batch-size", "64")
QUICK = (*SMALL, "--no-report")
COLUMNS = ["age", "height", "city", "income"]


def caudal(*words):
    """Runs a command line in this process and gives its exit code."""
    return main([str(word) for word in words])


def refused(capsys, *words):
    """What is said on standard error by a command that must be refused, in one line."""
    capsys.readouterr()
    assert caudal(*words) == 2
    out, err = capsys.readouterr()
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("caudal: error: ")
    assert "Traceback" not in out + err
    return lines[0].removeprefix("caudal: error: ")


def interrupted(monkeypatch, capsys, last, *words):
    """What is said in the end by a command that Ctrl-C reaches in its step `last`."""
    whole, steps = Trainer._step, []

    def step(*given):
        steps.append(1)
        if len(steps) == last:
            os.kill(os.getpid(), signal.SIGINT)
        return whole(*given)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", step)
        assert caudal(*words) == 128 + signal.SIGINT
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert f"after step {last} " in said
    return said.strip().splitlines()[-1]


@cache
def folder():
    """A folder for this session."""
    path = Path(tempfile.mkdtemp(prefix="caudal-tests-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def people(rows=400, seed=0):
    """A table with an integer, a real, a category and a positive column."""
    rng = np.random.default_rng(seed)
    city = rng.integers(3, size=rows)
    return pa.table(
        {
            "age": rng.poisson(30, rows),
            "height": rng.normal(1.7, 0.1, rows).astype(np.float32),
            "city": pa.array(np.array(["Ávila", "Bari", "Cork"])[city]),
            "income": np.exp(rng.normal(3 + city, 1.0, rows)),
        }
    )


@cache
def people_csv():
    """The table as a file."""
    path = folder() / "people.csv"
    pa_csv.write_csv(people(), path)
    return path


@cache
def people_run():
    """A run on it."""
    out = folder() / "people"
    assert caudal("train", "realnvp", "--data", people_csv(), "--out", out, *SMALL) == 0
    return out


@cache
def exact_run():
    """A run on two continuous columns, whose density needs no noise."""
    path = folder() / "plane.npy"
    np.save(path, np.random.default_rng(1).normal(size=(500, 2)))
    out = folder() / "plane"
    assert caudal("train", "maf", "--data", path, "--out", out, *QUICK) == 0
    return out


@cache
def conditional_run():
    """A run on income and height, given age and city."""
    out = folder() / "conditional"
    given = ("--columns", "income", "height", "--context", "age", "city")
    words = ("--data", people_csv(), *given, "--out", out, *QUICK)
    assert caudal("train", "realnvp", *words) == 0
    return out


@cache
def dropping_run():
    """A run that leaves rows with missing values out."""
    data = folder() / "gaps.csv"
    lines = people_csv().read_text(encoding="utf-8").splitlines()
    lines[3] = lines[3].replace(lines[3].split(",")[0], "", 1)
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = folder() / "dropping"
    words = ("--data", data, "--missing", "drop", "--out", out, *QUICK)
    assert caudal("train", "realnvp", *words) == 0
    return out


@cache
def strict_run():
    """A run that refuses gaps."""
    out = folder() / "strict"
    words = ("--data", people_csv(), "--strict", "--out", out, *QUICK)
    assert caudal("train", "realnvp", *words) == 0
    return out


TINY = ("--layers", "1", "--maps", "4", "--batch-size", "16", "--steps", "5")


def shapes(rows=60, side=8, channels=1, seed=0):
    """Images (N, H, W, C) of bars and of squares, and which they are."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (rows, side, side, channels), np.uint8)
    labels = ["bar", "square"] * (rows // 2)
    for index, label in enumerate(labels):
        at = rng.integers(0, side - 3)
        images[index, at : at + 3, slice(None) if label == "bar" else slice(at, at + 3)] += 180
    return images, labels


@cache
def shapes_folder():
    """The images as PNG files in a folder for each class."""
    return fill(folder() / "shapes", *shapes())


@cache
def shapes_file():
    """The images in one file, with their classes."""
    images, labels = shapes(200)
    path = folder() / "shapes.npz"
    np.savez(path, images=images, labels=np.array([label == "square" for label in labels]) * 1)
    return path


@cache
def image_run():
    """A run on images, with its report."""
    out = folder() / "glow"
    words = ("--data", shapes_file(), "--scales", 2, "--validate-every", 2, "--out", out)
    assert caudal("train", "glow", *words, *TINY) == 0
    return out


@cache
def class_run():
    """A run on images given their class."""
    out = folder() / "classes"
    words = ("--data", shapes_folder(), "--context", "class", "--no-report", "--out", out)
    assert caudal("train", "glow", *words, *TINY) == 0
    return out
