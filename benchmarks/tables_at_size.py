"""Tables at size: long, wide and large as text. What each command costs in time and in memory.

    OMP_NUM_THREADS=1 python benchmarks/tables_at_size.py
    OMP_NUM_THREADS=1 python benchmarks/tables_at_size.py --only text --megabytes 250 --folder /tmp

Each command is a process of its own, of which the seconds of the processor and the largest
resident memory are taken. The tables are made here, in a temporary folder that needs 8 GB at most.
Rows of other runs stay in the files. Of the 32 draws of a score one is taken, so that reading and
writing are measured beside the flow.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from environment import RESULTS, describe, lines, table, write, write_json

OPEN = "import sys; from caudal.data import open_data; open_data(sys.argv[1])"
TRAIN = (
    "import sys, caudal; "
    "caudal.train('nsf', data=sys.argv[1], out=sys.argv[2], minutes=1, report=False)"
)
PIECE = 100_000  # rows that are made at a time
TEXT = (250, 1000, 2000)  # megabytes
LONG = (1_000_000, 4_000_000, 10_000_000)
WIDE = {500: 20_000, 2000: 5000}  # rows by columns
SUFFIXES = (".csv", ".parquet", ".feather", ".jsonl", ".npz")


@dataclass
class Cost:
    """What a command took: seconds of the processor and of the clock, and MiB at most."""

    part: str
    command: str
    rows: int
    columns: int
    megabytes: int
    processor: float
    clock: float
    memory: int

    @property
    def what(self) -> tuple[str, int, int]:
        return self.command, self.rows, self.columns

    @property
    def size(self) -> int:
        """That of the option which has measured it."""
        return int(getattr(self, MANY[self.part]))


def mixed(rows: int, seed: int) -> pa.Table:
    """Ten columns: a date, words, counts, amounts and numbers."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=rows)
    days = np.datetime64("2015-01-01") + rng.integers(0, 3000, rows)
    return pa.table(
        {
            "day": days.astype("M8[D]"),
            "region": np.array(["north", "south", "east", "west"])[rng.integers(0, 4, rows)],
            "age": rng.integers(18, 95, rows),
            "count": rng.poisson(12, rows),
            "amount": np.round(np.exp(4 + z), 2),
            "score": rng.normal(size=rows) + 0.5 * z,
            "ratio": rng.beta(2, 5, rows),
            "grade": np.round(rng.uniform(0, 10, rows), 1),
            "kind": np.array(["a", "b", "c"])[rng.integers(0, 3, rows)],
            "value": 100 * z + rng.normal(size=rows),
        }
    )


def narrow(rows: int, seed: int) -> pa.Table:
    """Five of these columns."""
    return mixed(rows, seed).select(["score", "amount", "age", "grade", "kind"])


def wide(rows: int, columns: int) -> pa.Table:
    """Numbers, counts, categories and amounts that depend on eight numbers."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(rows, 8))
    made = {}
    for j in range(columns):
        v = z @ rng.normal(size=8) / 2 + rng.normal(size=rows)
        kinds = [np.round(v, 4), np.floor(np.exp(v)).astype(int), np.round(np.exp(v), 2)]
        kinds.append(np.array(["a", "b", "c"])[np.clip(np.round(v), 0, 2).astype(int)])
        made[f"v{j}"] = kinds[j % len(kinds)]
    return pa.table(made)


def write_csv(path: Path, pieces: Iterator[pa.Table], megabytes: float = np.inf) -> int:
    """Writes pieces until the file is so large, and says how many rows that are."""
    rows = 0
    with path.open("wb") as file:
        for piece in pieces:
            options = pa.csv.WriteOptions(include_header=rows == 0)
            pa.csv.write_csv(piece, file, options)
            rows += piece.num_rows
            if file.tell() >= megabytes * 1e6:
                break
    return rows


def write_parquet(path: Path, pieces: Iterator[pa.Table]) -> None:
    writer = None
    for piece in pieces:
        writer = writer or pq.ParquetWriter(path, piece.schema)
        writer.write_table(piece)
    assert writer is not None
    writer.close()


def run(part: str, what: str, file: Path, size: tuple[int, int], words: list[str]) -> Cost:
    """Runs Python with these words, and says what that took."""
    begun = time.perf_counter()
    log = file.with_suffix(".log")
    with log.open("w") as out:
        job = subprocess.Popen([sys.executable, *words], stdout=out, stderr=out)
        _, status, usage = os.wait4(job.pid, 0)
    if status:
        raise SystemExit(f"{what} failed: {log.read_text()[-2000:]}")
    clock = time.perf_counter() - begun
    seconds = usage.ru_utime + usage.ru_stime
    megabytes = file.stat().st_size // 1_000_000
    took = round(seconds, 1), round(clock, 1), usage.ru_maxrss >> 10
    cost = Cost(part, what, *size, megabytes, *took)
    print(cost, flush=True)
    return cost


def text(folder: Path, sizes: Sequence[int]) -> Iterator[Cost]:
    """Mixed columns as text, until they are ready to train on."""
    file = folder / "mixed.csv"
    for megabytes in sizes or TEXT:
        rows = write_csv(file, (mixed(PIECE, seed) for seed in range(10_000)), megabytes)
        yield run("text", "open", file, (rows, 10), ["-c", OPEN, str(file)])
    file.unlink()


def columns(folder: Path, sizes: Sequence[int]) -> Iterator[Cost]:
    """Hundreds of columns, from the file to the report."""
    for count in sizes or WIDE:
        rows = WIDE.get(count, 20_000)
        file = folder / "wide.csv"
        write_csv(file, iter([wide(rows, count)]))
        words = ["-m", "caudal", "train", "--data", str(file), "--minutes", "1"]
        out = ["--out", str(folder / f"wide-{count}")]
        yield run("columns", "train --minutes 1", file, (rows, count), [*words, *out])


def rows(folder: Path, sizes: Sequence[int]) -> Iterator[Cost]:
    """Five columns and millions of rows: trained on, scored and sampled."""
    for count in sizes or LONG:
        pieces = [(narrow(PIECE, seed) for seed in range(count // PIECE)) for _ in range(2)]
        csv, parquet = folder / f"{count}.csv", folder / f"{count}.parquet"
        write_csv(csv, pieces[0])
        write_parquet(parquet, pieces[1])
        size, model = (count, 5), str(folder / f"run-{count}.csv")
        for file in (csv, parquet):
            words = ["-c", TRAIN, str(file), str(folder / f"run-{count}{file.suffix}")]
            yield run("rows", f"train for a minute, {file.suffix}", file, size, words)
        for file in (csv, parquet):
            out = folder / f"scored{file.suffix}"
            words = ["-m", "caudal", "score", model, "--data", str(file), "--out", str(out)]
            words += ["--draws", "1", "--overwrite"]
            yield run("rows", f"score, one draw, {file.suffix}", file, size, words)
            out.unlink()
            file.unlink()
        for suffix in SUFFIXES:
            out = folder / f"samples{suffix}"
            words = ["-m", "caudal", "sample", model, "-n", str(count), "--out", str(out)]
            yield run("rows", f"sample, {suffix}", out, size, words)
            out.unlink()


PARTS = {"text": text, "columns": columns, "rows": rows}
MANY = {"text": "megabytes", "columns": "columns", "rows": "rows"}


def report(costs: list[Cost], facts: dict[str, str]) -> str:
    head = ["command", "rows", "columns", "file MB", "processor s", "clock s", "memory MiB", "by"]
    made = [
        [c.command, f"{c.rows:,}", str(c.columns), str(c.megabytes), str(c.processor)]
        + [str(c.clock), str(c.memory), f"`--only {c.part} --{MANY[c.part]} {c.size}`"]
        for c in costs
    ]
    intro = (
        "Large tables: seconds of one processor and of the clock, and the largest resident "
        "memory, of which torch and pyarrow take about 300 MiB before there is any data. `open` "
        "goes from the file to rows that are ready to train on. The machine had other work to do, "
        "so that the clock tells little. `python benchmarks/tables_at_size.py` measures each line "
        "again with the options in its last column. Lines are of several runs, command and commit "
        "of the last."
    )
    body = ["# Tables at size", "", intro, "", *lines(facts), "", *table(head, made)]
    return "\n".join(body) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    for part, many in MANY.items():
        parser.add_argument(f"--{many}", type=int, nargs="*", help=f"sizes of {part}")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    held = options.out / "tables_at_size.json"
    known = json.loads(held.read_text())["costs"] if held.exists() else []
    costs = [Cost(**cost) for cost in known]
    facts = describe()
    with TemporaryDirectory(dir=options.folder) as folder:
        for part in options.only:
            for cost in PARTS[part](Path(folder), getattr(options, MANY[part])):
                costs = [c for c in costs if c.what != cost.what] + [cost]
                costs.sort(key=lambda c: (list(PARTS).index(c.part), c.columns, c.rows))
                write_json(held, {"facts": facts, "costs": [asdict(c) for c in costs]})
                write(options.out / "tables_at_size.md", report(costs, facts))


if __name__ == "__main__":
    main()
