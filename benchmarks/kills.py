"""Kills, full disks and signals while commands write: does anything half written stay behind?

    python benchmarks/kills.py --write    # writes results/kills.md

Every command that writes runs in a process of its own, which is killed just before each time that
a file takes its place and just after the last, and at moments of chance; whose disk is full at
each of these moments; whose files may grow no larger than a limit; and which gets SIGINT, with
SIGTERM after it or without.
Then every file must be whole, the same command must do its work (a training by `--resume`, with
the bits of one that nobody killed), and no temporary file may be left.
"""

import argparse
import errno
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import yaml

HERE = Path(__file__).parent
SECONDS = 600  # an export takes a minute where many share a core
SMALL = ["--layers", "2", "--hidden", "8", "--batch-size", "32", "--validate-every", "3"]
STEPS = ["--steps", "8"]
INTRODUCTION = """# Kills, full disks and signals

`python benchmarks/kills.py --write`; with `--only COMMAND` the rows of the others stay, each with
the commit that it was run at. Each command that writes was killed (SIGKILL) just before each file
took its place, just after the last, and at moments of chance; met a full disk (ENOSPC) at each of
these moments, and a limit on the size of files (EFBIG); and got SIGINT, with SIGTERM after it or
without. A failure is a file that is not whole, a temporary file that stays, an exit code other
than 1 (130 and 143 for signals), another number of lines of error than one, or a command that does
not do its work when it is called again. A resumed training has the bits of one that nobody
stopped.

{tried} attacks, {failed} failed. `explore` writes no file; what has no row was not tried.{missing}

"""
WITHOUT_EXPORT = """ The kills of `export` are a test, with a stand-in for what
writes a graph (`tests/test_interrupted.py`)."""
HEADER = "| command | attack | tried | failed | commit |\n| --- | --- | --- | --- | --- |\n"
PAGE = HERE / "results" / "kills.md"
Row = tuple[str, str, int, int, str]
Patch = Callable[[], None]
Attacks = dict[str, list[tuple[Patch | None, tuple[int, ...], float]]]


class Attack:
    """What happens to `os.replace`, by which every file and folder takes its place, in a child."""

    def __init__(self, number: int, when: str) -> None:
        self.number, self.when, self.calls = number, when, 0

    def __call__(self) -> None:
        def replace(source: Path, target: Path) -> None:
            self.calls += 1
            hit = self.calls == self.number
            if hit and self.when == "full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if hit and self.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            os.replace(source, target)
            if hit and self.when == "after":
                os.kill(os.getpid(), signal.SIGKILL)

        _replace_by(replace)


def counted(told: Path) -> Patch:
    """Tells in a file how many files took their place."""

    def patch() -> None:
        def replace(source: Path, target: Path) -> None:
            with told.open("a") as file:
                file.write("x")
            os.replace(source, target)

        _replace_by(replace)

    return patch


def _replace_by(replace: Callable[[Path, Path], None]) -> None:
    """Puts a function in the place of `os.replace` for caudal alone.

    Others replace files too: what ONNX's exporter imports writes caches, the first time.
    """
    from caudal import files
    from caudal.model import hub

    class Os:
        def __getattr__(self, name: str) -> object:
            return replace if name == "replace" else getattr(os, name)

    files.os = hub.os = Os()  # type: ignore[assignment]


def small_files(size: int) -> Patch:
    """No file may grow larger, as on a disk that is full in the middle of a write.

    What the command says goes into a file too, so that the limit must leave room for it.
    """
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def signalled(step: int, *, twice: bool = True) -> Patch:
    """SIGINT in a step of training, as by Ctrl-C, and SIGTERM in the next thing that it does."""

    def patch() -> None:
        from caudal.training.keeper import Keeper
        from caudal.training.trainer import Trainer

        whole, keep, steps = Trainer._step, Keeper.keep_state, []

        def one(*given: object) -> object:
            steps.append(1)
            if len(steps) == step:
                os.kill(os.getpid(), signal.SIGINT)
            return whole(*given)

        def state(*given: object) -> None:
            if twice and len(steps) == step:
                os.kill(os.getpid(), signal.SIGTERM)
            keep(*given)  # type: ignore[arg-type]

        Trainer._step, Keeper.keep_state = one, state  # type: ignore[method-assign,assignment]

    return patch


def stand_in(run: Path) -> None:
    """The hub's package gives a run of this machine, whatever it is asked for."""
    from caudal.model import hub

    class Package:
        def snapshot_download(self, name: str, local_dir: Path, **asked: object) -> None:
            shutil.copytree(run, local_dir, ignore=shutil.ignore_patterns("state*", ".*"))

    hub._hub = Package  # type: ignore[assignment]


def start(words: Sequence[str], patch: Patch | None, errors: Path) -> int:
    """Begins a command in a process of its own; its number."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        from caudal.cli.entry import main

        signal.alarm(SECONDS)
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))  # noqa: SIM115
        if words[0] == "pull":
            stand_in(errors.parent.parent / "run")
        if patch:
            patch()
        code = main(list(words))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(child: int) -> int:
    """The exit code, or the negative number of the signal that ended it."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def half_written(folder: Path) -> list[str]:
    """The files in a folder that are not whole."""
    return [str(p) for p in folder.rglob("*") if p.is_file() and not _is_whole(p)]


def _is_whole(path: Path) -> bool:
    import pyarrow.parquet as pq
    from PIL import Image

    from caudal.training.tensors import read_tensors

    if path.name.startswith("."):
        return True  # left by the process that was killed, and swept by the next one
    try:
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".jsonl":
            [json.loads(line) for line in path.read_text().splitlines()]
        elif path.suffix == ".yaml":
            return isinstance(yaml.safe_load(path.read_text()), dict)
        elif path.suffix == ".safetensors":
            return bool(read_tensors(path))
        elif path.suffix == ".png":
            Image.open(path).load()
        elif path.suffix == ".parquet":
            return pq.read_table(path).num_rows > 0
        elif path.suffix == ".html":
            return path.read_text().rstrip().endswith("</html>")
        elif path.suffix == ".csv":
            return path.read_text().endswith("\n") and len(path.read_text().splitlines()) > 2
    except Exception:
        return False
    return True


def temporary(folder: Path) -> list[str]:
    """Temporary files of processes, and locks."""
    return [str(p) for p in folder.rglob(".*") if p.name != ".." and p.name != "."]


def prepare(place: Path) -> dict[str, list[str]]:
    """Small data and runs; the commands that are attacked, whose output goes to `out`."""
    import numpy as np
    import pandas as pd

    from caudal.cli.entry import main

    draw = np.random.default_rng(0)
    rows = pd.DataFrame({"a": draw.normal(size=200), "b": draw.normal(size=200)})
    rows["c"] = rows["a"] + draw.normal(size=200)
    rows.to_csv(place / "rows.csv", index=False)
    rows.mask(draw.random(rows.shape) < 0.05).to_csv(place / "gaps.csv", index=False)
    quick = [*SMALL, *STEPS, "--no-report"]
    data = ["--data", str(place / "rows.csv")]
    run, aim = str(place / "run"), str(place / "aim")
    assert main(["train", "maf", *data, "--out", run, *quick]) == 0
    assert main(["train", "nice", *data, "--target", "c", "--out", aim, *quick]) == 0
    gaps = ["--data", str(place / "gaps.csv")]
    commands = {
        "train": ["train", "nice", *data, "--out", "out/run", *quick],
        "distill": ["distill", run, "--out", "out/run", *STEPS, "--no-report"],
        "sample": ["sample", run, "-n", "500", "--out", "out/rows.csv"],
        "sample to Parquet": ["sample", run, "-n", "500", "--out", "out/rows.parquet"],
        "score": ["score", run, *data, "--out", "out/rows.csv"],
        "eval": ["eval", "out/run", "--samples", "0"],
        "impute": ["impute", run, *gaps, "--out", "out/rows.csv"],
        "predict": ["predict", aim, *data, "--out", "out/rows.csv"],
    }
    try:
        import huggingface_hub  # noqa: F401

        commands["pull"] = ["pull", "someone/run", "--out", "out/run"]
        commands["pull over a run"] = [*commands["pull"], "--overwrite"]
    except ImportError:
        print("pull: huggingface_hub is not installed, so that it was not tried")
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401

        commands["export"] = ["export", run, "--out", "out/density.onnx"]
    except ImportError:
        print("export: onnx is not installed, so that it was not tried")
    return commands


class Trial:
    """One command, in a folder of its own for each attack."""

    def __init__(self, name: str, words: list[str], place: Path) -> None:
        self.name, self.words, self.place = name, words, place
        self.trains = words[0] in ("train", "distill")
        self.reference = self._whole()

    def _begin(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="kills", dir=self.place))
        (folder / "out").mkdir()
        if self.words[0] == "eval" or "--overwrite" in self.words:
            shutil.copytree(self.place / "run", folder / "out" / "run")
        return folder

    def _words(self, folder: Path, again: bool = False) -> list[str]:
        words = [str(folder / w) if w.startswith("out/") else w for w in self.words]
        if again and self.words[0] != "eval" and "--overwrite" not in words:
            words.append("--resume" if self.trains else "--overwrite")
        return words

    def _whole(self) -> dict[str, bytes]:
        """What nobody stopped leaves; sets how many files take their place, and how long it is."""
        folder, begun = self._begin(), time.monotonic()
        told = folder / "count"
        code = wait(start(self._words(folder), counted(told), folder / "errors"))
        assert code == 0, (folder / "errors").read_text()
        self.seconds = time.monotonic() - begun
        self.replaced = len(told.read_text())
        return self._bits(folder)

    def _bits(self, folder: Path) -> dict[str, bytes]:
        """What must be equal bit for bit: the weights, and the curve but for its times."""
        pulls = self.words[0] == "pull"
        names = ["model.safetensors"] if self.trains else []
        names += ["config.yaml", "model.safetensors", "metrics.jsonl"] if pulls else []
        found = {name: (folder / "out" / "run" / name).read_bytes() for name in names}
        if self.trains:
            lines = (folder / "out" / "run" / "metrics.jsonl").read_text().splitlines()
            timed = ("seconds", "rows_per_second")
            kept = [{k: v for k, v in json.loads(x).items() if k not in timed} for x in lines]
            found["curve"] = json.dumps(kept).encode()
        if not self.trains and self.words[0] not in ("eval", "pull"):
            files = sorted((folder / "out").glob("*"))
            found = {p.name: p.read_bytes() for p in files if p.suffix != ".onnx"}
        return found

    def attack(self, patch: Patch | None, codes: Sequence[int], after: float = 0.0) -> str:
        """One attack; how it failed, or nothing. `after` so many seconds the process is killed."""
        folder = self._begin()
        errors = folder / "errors"
        try:
            child = start(self._words(folder), patch, errors)
            if after:
                time.sleep(after)
                os.kill(child, signal.SIGKILL)
            code = wait(child)
            if code not in codes:
                return f"exit code {code}: {errors.read_text()[-200:]}"
            text = errors.read_text()
            said = [line for line in text.splitlines() if line.startswith("caudal: ")]
            if "Traceback" in text or (code > 0 and len(said) != 1):
                return f"exit code {code}, {text[-300:]!r}"
            if half := half_written(folder / "out"):
                return f"half written: {half}"
            if code > 0 and (left := temporary(folder / "out")):
                return f"left: {left}"
            code = wait(start(self._words(folder, again=True), None, errors))
            if code:
                return f"again: exit code {code}: {errors.read_text()[-300:]!r}"
            if left := temporary(folder / "out"):
                return f"left after the next call: {left}"
            return "" if self._bits(folder) == self.reference else "again: other bits"
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def attacks_on(
    trial: Trial, random_kills: int
) -> dict[str, list[tuple[Patch | None, tuple, float]]]:
    """The attacks on one command: patch, exit codes that are right, seconds until a kill."""
    dice, killed = random.Random(0), (-signal.SIGKILL,)
    each = range(1, trial.replaced + 1)
    found: Attacks = {
        "killed at each replacement": [
            *((Attack(n, "before"), killed, 0.0) for n in each),
            (Attack(trial.replaced, "after"), killed, 0.0),
        ],
        "killed at random": [
            (None, (0, *killed), dice.uniform(0.02, trial.seconds)) for _ in range(random_kills)
        ],
        "disk full at each replacement": [(Attack(n, "full"), (1,), 0.0) for n in each],
        "files too large": [(small_files(n), (0, 1), 0.0) for n in (1000, 2000, 4000)],
    }
    if trial.trains:
        found["SIGINT"] = [(signalled(n, twice=False), (130,), 0.0) for n in (1, 4, 7)]
        found["SIGINT, then SIGTERM"] = [(signalled(n), (130, 143), 0.0) for n in (1, 4, 7)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random", type=int, default=5, help="kills at random of each command")
    parser.add_argument("--only", help="the one command to attack")
    parser.add_argument("--attacks", nargs="*", help="the attacks alone of these names")
    parser.add_argument("--write", action="store_true", help="into results/kills.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, words in prepare(place).items():
            if options.only not in (None, name):
                continue
            for row in _rows(Trial(name, words, place), options.random, options.attacks):
                print(_line(row), flush=True)
                if options.write:
                    _write(row)


def _rows(trial: Trial, random_kills: int, only: Sequence[str] | None) -> Iterator[Row]:
    commit = os.popen(f"git -C {HERE} rev-parse --short HEAD").read().strip()
    for what, attacks in attacks_on(trial, random_kills).items():
        if only and what not in only:
            continue
        failures = Counter(filter(None, (trial.attack(*one) for one in attacks)))
        for wrong, count in failures.most_common(6):
            print(f"{trial.name}, {what}: {count} x {wrong}", flush=True)
        yield trial.name, what, len(attacks), failures.total(), commit


def _line(row: Row) -> str:
    return f"| {' | '.join(map(str, row))} |"


def _write(row: Row) -> None:
    """Puts a row into the page, in the place of an older one, or after those of its command."""
    rows = _read()
    same = [i for i, old in enumerate(rows) if old[:2] == row[:2]]
    beside = [i for i, old in enumerate(rows) if old[0] == row[0]] or [len(rows) - 1]
    if same:
        rows[same[0]] = row
    else:
        rows.insert(beside[-1] + 1, row)
    tried, failed = sum(row[2] for row in rows), sum(row[3] for row in rows) or "none"
    missing = "" if any(row[0] == "export" for row in rows) else WITHOUT_EXPORT
    text = INTRODUCTION.format(tried=tried, failed=failed, missing=missing)
    PAGE.write_text(text + HEADER + "".join(f"{_line(r)}\n" for r in rows))


def _read() -> list[Row]:
    """The rows of the page, if there is one."""
    lines = PAGE.read_text().splitlines() if PAGE.exists() else []
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [
        (c[0], c[1], int(c[2]), int(c[3]), c[4]) for c in cells if len(c) == 5 and c[2].isdigit()
    ]


if __name__ == "__main__":
    main()
