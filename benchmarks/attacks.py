"""Damaged files and hostile values: does every command end with one line?

    python benchmarks/attacks.py --count 1000    # of each kind; writes results/reliability.md

Trains a tiny run of a table, then changes one of its files, or the data, by chance, and calls a
command with it: bits flipped, the end cut off, values of JSON and YAML replaced by others. Each
call runs in a process of its own. It fails if it ends in a traceback, by a signal, by an exit code
that is not 0, 1, or 2, by more than one line of error, after more than 60 seconds, or with more
than 2 GiB of memory.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from mutations import (
    Change,
    cut,
    flip,
    heard,
    odd_cell,
    odd_json,
    odd_line,
    odd_metadata,
    odd_yaml,
)

SECONDS, GIB = 60, 2
HERE = Path(__file__).parent
INTRODUCTION = """# Damaged files and hostile values

`python benchmarks/attacks.py --count {count} --write`: each file of a tiny run, and each kind of
data, was changed by chance so many times, by flipped bits, a missing end, or a value in place of
another, and a command met it. A failure is a traceback, a signal, an exit code other than 0, 1
and 2, more than one line of error, more than 60 seconds, or more than 2 GiB of memory.
"""

FILES: dict[str, tuple[tuple[Change, ...], list[str]]] = {
    "run/state.safetensors": ((flip, cut, odd_metadata), ["resume"]),
    "run/model.safetensors": ((flip, cut, odd_metadata), ["score", "sample", "best"]),
    "run/metrics.jsonl": ((flip, cut, odd_line), ["resume"]),
    "run/config.yaml": ((flip, cut, odd_yaml), ["resume", "eval"]),
    "run/columns.yaml": ((flip, cut, odd_yaml), ["types"]),
    "run/gaussian.safetensors": ((flip, cut, odd_metadata), ["eval"]),
    "run/alarm.json": ((flip, cut, odd_json), ["score"]),
    "rows.csv": ((flip, cut, odd_cell), ["score", "train"]),
    "rows.parquet": ((flip, cut), ["score", "train"]),
    "rows.feather": ((flip, cut), ["score"]),
    "rows.jsonl": ((flip, cut, odd_line), ["score"]),
    "rows.xlsx": ((flip, cut), ["score"]),
    "rows.npy": ((flip, cut), ["train"]),
    "rows.npz": ((flip, cut), ["train"]),
    "pictures/a.png": ((flip, cut), ["images"]),
    "sounds/a.wav": ((flip, cut), ["sound"]),
}
"""Files, how they are changed, and the commands that then meet them."""


def words(command: str, place: Path, file: Path) -> list[str]:
    """The words of a command, on the run and the files of a place."""
    run, data = place / "run", file if file.parent == place else place / "rows.csv"
    few = ["--steps", "4", "--no-report"]
    small = ["--layers", "2", "--hidden", "8"]
    out = ["--out", str(place / f"out{os.getpid()}")]
    table = {
        "resume": ["train", "--out", str(run), "--resume", "--steps", "9", "--no-report"],
        "best": ["train", "--out", str(run), "--from-best", "--steps", "9", "--no-report"],
        "eval": ["eval", str(run), "--samples", "0"],
        "score": [
            "score",
            str(run),
            "--data",
            str(data),
            "--out",
            f"{out[1]}.csv",
            "--alarm",
            "0.1",
        ],
        "sample": ["sample", str(run), "-n", "5", "--out", f"{out[1]}.csv"],
        "types": [
            "train",
            "nice",
            "--data",
            str(data),
            "--types-from",
            str(file),
            *small,
            *few,
            *out,
        ],
        "train": ["train", "nice", "--data", str(data), *small, *few, *out],
        "images": ["train", "nice", "--data", str(place / "pictures"), *small, *few, *out],
        "sound": [
            "train",
            "wavenet",
            "--data",
            str(place / "sounds"),
            "--size",
            "small",
            *few,
            *out,
        ],
    }
    return table[command]


def prepare(place: Path) -> None:
    """The run and the files that are to be attacked."""
    import numpy as np
    import pandas as pd
    import soundfile
    from PIL import Image

    import caudal

    sys.path.append(str(HERE.parent / "tests"))
    import sheets

    draw, n = np.random.default_rng(0), 120
    rows = pd.DataFrame(
        {
            "size": draw.normal(5, 2, n).round(3),
            "count": draw.integers(0, 9, n),
            "kind": draw.choice(["a", "b", "c"], n),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(draw.integers(0, 99, n), "D"),
        }
    )
    rows.to_csv(place / "rows.csv", index=False)
    rows.to_parquet(place / "rows.parquet")
    rows.to_feather(place / "rows.feather")
    rows.to_json(place / "rows.jsonl", orient="records", lines=True, date_format="iso")
    sheets.write_xlsx(place / "rows.xlsx", rows=[list(rows.columns), *rows.values.tolist()])
    np.save(place / "rows.npy", draw.normal(size=(60, 3)))
    np.savez(place / "rows.npz", x=draw.normal(size=(60, 3)))
    for folder in ("pictures", "sounds"):
        (place / folder).mkdir()
    for name in "abcdefgh":
        noise = draw.integers(0, 255, (6, 6), dtype=np.uint8)
        Image.fromarray(noise).save(place / "pictures" / f"{name}.png")
        soundfile.write(place / "sounds" / f"{name}.wav", 0.1 * draw.normal(size=900), 8000)
    train = {"layers": 2, "hidden": (8,), "steps": 8, "validate_every": 4}
    caudal.train("nice", str(place / "rows.csv"), out=place / "run", report=False, **train)


def attack(place: Path, name: str, change: Change, command: str, seed: int) -> str:
    """Runs one attack in a process of its own; how it failed, or nothing."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _in_child(place, name, change, command, seed, write)
    os.close(write)
    said, status = heard(read, child)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return "hang" if number == signal.SIGALRM else f"signal {number}"
    return said.strip()


def _in_child(place: Path, name: str, change: Change, command: str, seed: int, write: int) -> None:
    """Copies the place, changes the file, calls the command, tells what is wrong, and ends."""
    from caudal.cli.entry import main

    dice = random.Random(seed)
    copy = Path(tempfile.mkdtemp(prefix="attack"))
    wrong = ""
    try:
        shutil.copytree(place, copy, dirs_exist_ok=True)
        change(dice, copy / name)
        resource.setrlimit(resource.RLIMIT_DATA, (used() + GIB * 2**30,) * 2)
        signal.alarm(SECONDS)
        errors = (copy / "stderr").open("w+")
        os.dup2(errors.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = main(words(command, copy, copy / name))
        sys.stderr.flush()
        text = (copy / "stderr").read_text(errors="replace")
        lines = [line for line in text.splitlines() if line.startswith("caudal: ")]
        if code not in (0, 1, 2):
            wrong = f"exit code {code}"
        elif "Traceback" in text:
            wrong = "traceback printed"
        elif code and len(lines) != 1:
            wrong = f"exit code {code} with {len(lines)} lines: {text[-300:]!r}"
    except SystemExit as error:
        wrong = "" if error.code in (0, 1, 2) else f"exit {error.code}"
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is a traceback to a user
        wrong = where(error)
    finally:
        signal.alarm(0)
        shutil.rmtree(copy, ignore_errors=True)
        os.write(write, wrong.encode())
        os._exit(0)


def where(error: BaseException) -> str:
    """An error, with the last line of caudal on its way."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if "caudal" in f.filename]
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "elsewhere"
    return f"{type(error).__name__}: {str(error)[:120]} ({place})"


def used() -> int:
    """Bytes of data that this process holds already."""
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    return pages * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="attacks on each file")
    parser.add_argument("--only", help="the one file to attack")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="into results/reliability.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        prepare(place)
        rows = [_row(place, name, options) for name in FILES if options.only in (None, name)]
    table = ["| file | tried | failed |", "| --- | --- | --- |", *filter(None, rows)]
    print("\n".join(table))
    if options.write:
        text = "\n".join([INTRODUCTION.format(count=options.count), *table, ""])
        (HERE / "results" / "reliability.md").write_text(text)


def _row(place: Path, name: str, options: argparse.Namespace) -> str:
    if not (place / name).exists():
        return ""
    changes, commands = FILES[name]
    begun, failures = time.monotonic(), Counter()
    for number in range(options.count):
        seed = options.seed * 1_000_003 + number
        pair = changes[number % len(changes)], commands[number // len(changes) % len(commands)]
        wrong = attack(place, name, *pair, seed)
        if wrong:
            failures[f"{pair[0].__name__} {pair[1]}: {wrong}"] += 1
    for wrong, count in failures.most_common(12):
        print(f"{name}: {count} x {wrong}", flush=True)
    print(f"{name}: {sum(failures.values())} of {options.count}, {time.monotonic() - begun:.0f} s")
    return f"| {name} | {options.count} | {sum(failures.values())} |"


if __name__ == "__main__":
    main()
