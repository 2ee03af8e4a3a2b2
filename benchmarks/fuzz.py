"""Many damaged files and hostile arguments, in process: is each answered by one error of ours?

    python benchmarks/fuzz.py --count 600 --write    # of each kind; `make fuzz`

Each file of a tiny run, and each kind of data, is changed by chance (`mutations.py`) and read by
the function that reads it; public functions get arguments of chance. It fails if there comes
another error than those of which the command line makes one line (`InputError`, `NumericalError`,
`OSError`), a signal, more than 60 seconds, or more than 2 GiB of memory. The cases go through
processes of a hundred each, so that one that ends its process costs no other. `attacks.py` does
the same with whole commands.
"""

import argparse
import gzip
import io
import os
import random
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from attacks import GIB, HERE, SECONDS, prepare, used, where
from mutations import (
    ODD,
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

BATCH = 100
INTRODUCTION = """# Fuzzing in process

`python benchmarks/fuzz.py --count {count} --seed {seed} --write`, commit {commit}, {minutes:.0f}
minutes. Each file was changed by chance so many times and read; each function got so many sets of
arguments. A failure is another error than `InputError`, `NumericalError` or `OSError`, a signal,
more than 60 seconds, or more than 2 GiB of memory.

| what | tried | failed |
| --- | --- | --- |
"""


def _table(file: Path) -> None:
    from caudal.data import open_data

    data = open_data(file)
    for batch in data.test.ordered(64):
        assert batch is not None


def _images(file: Path) -> None:
    from caudal.data import open_images

    open_images(file.parent if file.suffix == ".png" else file)


def _audio(file: Path) -> None:
    from caudal.data.audio import open_audio

    open_audio(file.parent, context=("none",), seconds=0.05)


def _model(file: Path) -> None:
    import torch

    import caudal

    flow = caudal.load(file).flow
    with torch.no_grad():
        flow.log_prob(flow.sample((3,)))


def _state(file: Path) -> None:
    from caudal.training.state import read_state

    read_state(file)


def _curve(file: Path) -> None:
    from caudal.training.run import Run

    Run(file.parent).metrics()


def _config(file: Path) -> None:
    from caudal.cli.train import read_options

    read_options(["--config", str(file), "--out", str(file.parent / "other")])


def _columns(file: Path) -> None:
    from caudal.data import open_data

    open_data(file.parent.parent / "rows.csv", types_from=str(file))


def _baseline(file: Path) -> None:
    from caudal.report.baseline import load_baseline

    load_baseline(file, "table")


def _alarm(file: Path) -> None:
    from caudal.model import alarm

    found = alarm.read(file.parent)
    if found is not None:
        found.at(0.05)


def _tar(file: Path) -> None:
    from caudal.data import open_images
    from caudal.data.audio import open_audio
    from caudal.data.files.lots import AUDIO
    from caudal.data.files.tars import kind_of_tars

    if file.name.startswith("sounds") or kind_of_tars(file) is AUDIO:
        open_audio(file, context=("none",), seconds=0.05)
    else:
        open_images(file, context=["class"])


def _pushed(file: Path) -> None:
    import caudal
    from caudal.model.hub import contents

    contents(caudal.load(file.parent), report=True)


FILES: dict[str, tuple[tuple[Change, ...], Callable[[Path], None]]] = {
    "rows.csv": ((odd_cell, flip, cut), _table),
    "rows.csv.gz": ((flip, cut), _table),
    "rows.jsonl": ((flip, cut, odd_line), _table),
    "rows.json": ((flip, cut, odd_json), _table),
    "rows.parquet": ((flip, cut), _table),
    "rows.feather": ((flip, cut), _table),
    "rows.npy": ((flip, cut), _table),
    "rows.npz": ((flip, cut), _table),
    "rows.xlsx": ((flip, cut), _table),
    "images.npy": ((flip, cut), _images),
    "train-images-idx3-ubyte": ((flip, cut), _images),
    "images.tar": ((flip, cut), _tar),
    "sounds.tar": ((flip, cut), _tar),
    "pictures/a.png": ((flip, cut), _images),
    "sounds/a.wav": ((flip, cut), _audio),
    "run/model.safetensors": ((odd_metadata, odd_metadata, flip, cut), _model),
    "run/state.safetensors": ((flip, cut, odd_metadata), _state),
    "run/metrics.jsonl": ((flip, cut, odd_line), _curve),
    "run/config.yaml": ((flip, cut, odd_yaml, odd_yaml), _config),
    "run/columns.yaml": ((flip, cut, odd_yaml, odd_yaml), _columns),
    "run/gaussian.safetensors": ((flip, cut, odd_metadata), _baseline),
    "run/alarm.json": ((flip, cut, odd_json), _alarm),
    "run/eval.json": ((flip, cut, odd_json), _pushed),
    "run/README.md": ((flip, cut), _pushed),
}
"""Files, how they are changed, and what then reads them."""


def _open_data(dice: random.Random, place: Path) -> None:
    from caudal.data import open_data

    names = ("columns", "target", "context", "types", "missing", "exclude", "split", "seed")
    names += ("encoding", "delimiter", "decimal", "comment", "na", "valid", "types_from")
    open_data(place / "rows.csv", **_some(dice, names))


def _settings(dice: random.Random, place: Path) -> None:
    from caudal.modality import modality
    from caudal.model.settings import settings
    from caudal.recipes import RECIPES

    names = ("layers", "hidden", "steps", "epochs", "minutes", "lr", "batch_size", "clip", "ema")
    names += ("warmup", "patience", "precision", "seed", "device", "bins", "blocks", "dropout")
    settings(dice.choice(list(RECIPES)), modality("table"), _some(dice, names))


def _model_calls(dice: random.Random, place: Path) -> None:
    import caudal

    model = caudal.load(place / "run")
    given = _some(dice, ("seed", "temperature", "given", "n", "draws"))
    if dice.random() < 0.5:
        n = given.pop("n", 3)
        model.sample(3 if isinstance(n, int | float) and n > 1000 else n, **_only(given, "draws"))
    else:
        data = dice.choice([*ODD, {"size": [1.0], "count": ["x"], "kind": [None], "day": [0]}])
        model.log_prob(data, **_only(given, "temperature", "given", "n"))


@cache
def _subject(place: Path) -> Any:
    """The run of a page, which all its visitors share."""
    import caudal
    from caudal.explore.subject import Subject

    return Subject(caudal.load(place / "run"))


def _tabs(dice: random.Random, place: Path) -> None:
    from caudal.explore.tabs import answer, tabs_of

    subject = _subject(place)
    tab = dice.choice(tabs_of(subject))
    values = tab.defaults()
    for name in dice.sample(sorted(values), min(len(values), dice.randint(1, 2))):
        values[name] = dice.choice(ODD)
    answer(subject, tab, values)


def _words(dice: random.Random, place: Path) -> None:
    from caudal.cli.train import read_options

    flags = ["--layers", "--hidden", "--lr", "--split", "--columns", "--steps", "--data", "--out"]
    flags += ["--types", "--seed", "--missing", "--nonsense", "-n", "--resume", "--size"]
    words = ["nice", "--data", str(place / "rows.csv")]
    for _ in range(dice.randint(1, 4)):
        words += [dice.choice(flags), *(str(dice.choice(ODD)) for _ in range(dice.randint(0, 2)))]
    read_options([word.replace("\0", "") for word in words])


CALLS: dict[str, Callable[[random.Random, Path], None]] = {
    "open_data(...)": _open_data,
    "settings of caudal.train(...)": _settings,
    "Model.sample and log_prob(...)": _model_calls,
    "words of caudal train": _words,
    "tabs of caudal explore": _tabs,
}
"""Functions that get arguments of chance."""


def _some(dice: random.Random, names: tuple[str, ...]) -> dict[str, Any]:
    return {dice.choice(names): dice.choice(ODD) for _ in range(dice.randint(1, 3))}


def _only(given: dict[str, Any], *without: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in without}


def prepare_more(place: Path) -> None:
    """The files of `attacks.py`, and of the kinds that are read here only."""
    import numpy as np

    prepare(place)
    with gzip.open(place / "rows.csv.gz", "wb") as file:
        file.write((place / "rows.csv").read_bytes())
    lines = (place / "rows.jsonl").read_text().splitlines()
    (place / "rows.json").write_text(f"[{','.join(lines)}]")
    pixels = np.random.default_rng(0).integers(0, 255, (12, 6, 6), dtype=np.uint8)
    np.save(place / "images.npy", pixels)
    head = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in pixels.shape)
    (place / "train-images-idx3-ubyte").write_bytes(head + pixels.tobytes())

    _pack(place / "images.tar", {f"{i}.png": place / "pictures" / "a.png" for i in range(12)})
    _pack(place / "sounds.tar", {f"{i}.wav": place / "sounds" / "a.wav" for i in range(12)})


def _pack(tar: Path, files: dict[str, Path]) -> None:
    """A tar of files by their names within it, each with a class."""
    with tarfile.open(tar, "w") as shard:
        for number, (name, path) in enumerate(files.items()):
            shard.add(path, name)
            info = tarfile.TarInfo(f"{number}.cls")
            info.size = 1
            shard.addfile(info, io.BytesIO(str(number % 2).encode()))


def case(place: Path, name: str, seed: int) -> str:
    """One attack; how it failed, or nothing. The file is afterwards as it was."""
    from caudal.errors import InputError, NumericalError

    dice = random.Random(f"{name} {seed}")
    file = place / name
    content = file.read_bytes() if name in FILES else b""
    try:
        if name in CALLS:
            CALLS[name](dice, place)
        else:
            changes, read = FILES[name]
            changes[seed % len(changes)](dice, file)
            read(file)
    except (InputError, NumericalError, OSError, SystemExit):
        return ""
    except Exception as error:
        return where(error)
    finally:
        if content:
            file.write_bytes(content)
    return ""


def fuzz(place: Path, name: str, seeds: range) -> Iterator[tuple[int, str]]:
    """The seeds of the attacks on one thing that failed, and how."""
    seeds_left = list(seeds)
    while seeds_left:
        batch, seeds_left = seeds_left[:BATCH], seeds_left[BATCH:]
        told, status = _in_process(place, name, batch)
        for line in told:
            seed, _, wrong = line.partition("\t")
            if wrong:
                yield int(seed), wrong
        if status and len(told) < len(batch):
            yield batch[len(told)], f"signal {os.WTERMSIG(status)}"
            seeds_left = [*batch[len(told) + 1 :], *seeds_left]


def _in_process(place: Path, name: str, seeds: list[int]) -> tuple[list[str], int]:
    """A line for each seed that came to an end, and the status of the process."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        copy = Path(tempfile.mkdtemp(prefix="fuzz"))
        try:
            os.close(read)
            shutil.copytree(place, copy, dirs_exist_ok=True)
            for number in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            resource.setrlimit(resource.RLIMIT_DATA, (used() + GIB * 2**30,) * 2)
            for seed in seeds:
                signal.alarm(SECONDS)
                wrong = case(copy, name, seed).replace("\n", " ").replace("\t", " ")
                os.write(write, f"{seed}\t{wrong}\n".encode())
        finally:
            shutil.rmtree(copy, ignore_errors=True)
            os._exit(0)
    os.close(write)
    said, status = heard(read, child)
    return said.splitlines(), status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="attacks on each thing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="the one thing to attack")
    parser.add_argument("--write", action="store_true", help="into results/fuzz.md")
    options = parser.parse_args()
    begun, rows, total = time.monotonic(), [], Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        prepare_more(place)
        for name in (*FILES, *CALLS):
            if options.only not in (None, name) or not (name in CALLS or (place / name).exists()):
                continue
            start = options.seed * 1_000_000
            failed = list(fuzz(place, name, range(start, start + options.count)))
            for wrong, count in Counter(wrong for _, wrong in failed).most_common(8):
                print(f"{name}: {count} x {wrong}", flush=True)
            rows.append(f"| {name} | {options.count:,} | {len(failed)} |")
            total += Counter(tried=options.count, failed=len(failed))
            print(rows[-1], f"{time.monotonic() - begun:.0f} s", flush=True)
    rows.append(f"| together | {total['tried']:,} | {total['failed']} |")
    print(rows[-1])
    if options.write:
        commit = os.popen(f"git -C {HERE} rev-parse --short HEAD").read().strip()
        minutes = (time.monotonic() - begun) / 60
        told = {"count": options.count, "seed": options.seed, "commit": commit}
        text = INTRODUCTION.format(**told, minutes=minutes) + "\n".join(rows) + "\n"
        (HERE / "results" / "fuzz.md").write_text(text)
    sys.exit(bool(total["failed"]))


if __name__ == "__main__":
    main()
