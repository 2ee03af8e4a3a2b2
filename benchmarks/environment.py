"""What a result file must say of its making: command, commit, date, machine."""

import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


PEERS = ("torch", "zuko", "nflows", "normflows")


def describe(libraries: Sequence[str] = PEERS) -> dict[str, str]:
    """Printable facts, in the order in which to print them."""
    return {
        "command": shlex.join(["python", *map(_from_root, _without_place(sys.argv))]),
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "threads": str(torch.get_num_threads()),
        "libraries": ", ".join(f"{name} {version(name)}" for name in libraries),
    }


def made() -> dict[str, str]:
    """What a row keeps of its making, on a page whose rows come from several runs."""
    return {"commit": _commit(), "machine": _processor()}


def of_the_page(command: str, libraries: Sequence[str]) -> dict[str, str]:
    """What holds for all rows of such a page; `command` makes any of them."""
    facts = describe(libraries)
    return {"command": command, "threads": "1", "libraries": facts["libraries"]}


def cpu_milliseconds(work: Callable[[], object], times: int = 7) -> float:
    """The median processor time, of fewer times where these take seconds.

    Other work on the machine hardly moves it.
    """
    took: list[float] = []
    while len(took) < times and sum(took) < 2:
        start = time.process_time()
        work()
        took.append(time.process_time() - start)
    return 1e3 * statistics.median(took)


def lines(facts: dict[str, str]) -> list[str]:
    """The facts as a list in markdown."""
    return [
        f"- {key}: {f'`{value}`' if key == 'command' else value}" for key, value in facts.items()
    ]


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def write_json(path: Path, value: Any) -> None:
    write(path, json.dumps(value, indent=1) + "\n")


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """A markdown table, the first column to the left and the others to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]


def _without_place(words: Sequence[str]) -> list[str]:
    """The words without --data-dir and its value, which hold on one machine alone."""
    kept, skip = [], False
    for word in words:
        if not (skip or word.partition("=")[0] == "--data-dir"):
            kept.append(word)
        skip = word == "--data-dir"
    return kept


def _from_root(argument: str) -> str:
    """A path within the checkout as seen from there, and of any other absolute one its name."""
    option, is_given, value = argument.partition("=")
    if option.startswith("--") and is_given:
        return f"{option}={_from_root(value)}"
    path = Path(argument)
    if path.resolve().is_relative_to(ROOT) and path.exists():
        return str(path.resolve().relative_to(ROOT))
    return path.name if path.is_absolute() else argument


def _commit() -> str:
    def git(*arguments: str) -> str:
        run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return run.stdout.strip()

    changed = " with uncommitted changes in src" if git("status", "--porcelain", "src") else ""
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()
