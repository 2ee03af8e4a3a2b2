"""`caudal demo`: the main job on real digits, by the same commands that a user types."""

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from caudal.cli import distill, train, using
from caudal.cli.screen import Screen
from caudal.cli.words import parse
from caudal.report import duration, number

RECIPE = "nsf"
SETTINGS = (
    "--layers 6 --hidden 64 --dropout 0.2 --epochs 50 --batch-size 64 --lr 2e-3 --weight-decay 0.1"
)


TEACHER = "--hidden 128 128 --epochs 30 --batch-size 64 --no-report"
STUDENT = "--steps 400 --batch-size 256 --validate-every 100"


@dataclass(frozen=True)
class DemoOptions:
    """Trains a flow on scikit-learn's handwritten digits, given the digit; no network needed.

    It then evaluates it beside a Gaussian, samples new digits into a file, and writes a report;
    and trains a teacher with a fast density, and distils it into a student with fast samples.
    """

    out: str = "runs/demo"
    """Run folder; what an earlier demo left there is replaced."""


def run(words: list[str]) -> int:
    """Runs the command."""
    options = parse(DemoOptions, words, "caudal demo")
    start, screen, out = time.monotonic(), Screen(), Path(options.out)
    samples = out / "samples.csv"
    folder = shlex.quote(options.out)
    learn = f"{RECIPE} --data digits --context digit {SETTINGS} --out {folder} --overwrite"
    draw = f"{folder} -n 1000 --out {shlex.quote(str(samples))} --overwrite"
    teacher, student = (shlex.quote(str(out / name)) for name in ("teacher", "student"))
    teach = f"maf --data digits --context digit {TEACHER} --out {teacher} --overwrite"
    steps = (
        ("train", train.run, learn),
        ("eval", using.evaluate, folder),
        ("sample", using.sample, draw),
        ("train", train.run, teach),
        ("distill", distill.run, f"{teacher} {STUDENT} --out {student} --overwrite"),
    )
    with one_thread():
        for name, command, rest in steps:
            screen.say(f"\n$ caudal {name} {rest}", style="bold")
            command(shlex.split(rest))
    _summarize(screen, out, samples, time.monotonic() - start)
    return 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Batches this small gain nothing from more, and lose much where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _summarize(screen: Screen, out: Path, samples: Path, seconds: float) -> None:
    result = json.loads((out / "eval.json").read_text(encoding="utf-8"))
    compared = json.loads((out / "student" / "compare.json").read_text(encoding="utf-8"))
    thousand = compared["speed"][1]
    gain = f"{number(result['gain'])} ± {number(result['gain_two_se'])} nats"
    screen.say(f"\ndone in {duration(seconds)}\n", style="bold")
    screen.table(
        ["", ""],
        [
            [
                "test log-likelihood",
                f"{number(result['log_prob'])} ± {number(result['two_se'])} nats",
            ],
            ["the same of a Gaussian", f"{number(result['gaussian_log_prob'])} nats"],
            ["flow above Gaussian", gain],
            ["bits per pixel", number(result["bits_per_dim"])],
            ["a student's samples, beside its teacher", _faster(thousand)],
            ["KL(teacher||student)", f"{number(compared['forward_kl'])} nats"],
            ["new digits", samples],
            ["pictures", out / "pictures"],
            ["report, open it in a browser", out / "report.html"],
            ["report of the student", out / "student" / "report.html"],
        ],
    )


def _faster(speed: dict[str, Any]) -> str:
    """How many times as fast, of the teacher by D passes and by steps."""
    ratios = [("D passes", speed["passes_ratio"]), ("stepping", speed["stepping_ratio"])]
    return ", ".join(f"{r:.1f} times as fast ({way})" for way, r in ratios if r is not None)
