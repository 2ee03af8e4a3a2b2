"""Tables as their owners publish them: trained on, evaluated, sampled and scored untouched.

    OMP_NUM_THREADS=1 python benchmarks/real_tables.py
    OMP_NUM_THREADS=1 python benchmarks/real_tables.py --folder FOLDER --only iris titanic --notes
    OMP_NUM_THREADS=1 python benchmarks/real_tables.py --folder FOLDER --page

With `--page` each table becomes a row of results/real_tables.md, under the name of its folder.

A table passes if all four steps go through with no option that says anything about it, and if the
samples have its header, and columns of the same look: whole numbers, numbers, dates or text.
"""

import argparse
import csv
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import caudal
from caudal.data.table.encodings import find_encoding
from caudal.errors import InputError, NumericalError
from environment import RESULTS, made
from pages import Facts, Results, text
from tables import DATA_DIR

FOLDER = DATA_DIR / "real_tables"
QUICK = {"layers": 2, "hidden": 16, "steps": 30}
SAMPLES = 100
MOST, MANY = 0.8, 0.6  # shares of the cells that make the look of data, and of a few samples
_EMPTY = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "-", "--")
_LOOKS = {
    "whole": r"[+-]?\d+",
    "number": r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?",
    "date": r"\d{1,4}[-/.]\d{1,2}([-/.]\d{1,4})?([T ].*)?",
}


@dataclass
class Result:
    """How far a table came: the step that failed, if any, and what was said of it."""

    name: str
    failed: str = ""
    message: str = ""
    seconds: float = 0.0
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        end = f"{self.failed}: {self.message}" if self.failed else "ok"
        return f"{self.name}  {self.seconds:.1f} s  {end}"


@dataclass
class Row:
    """A table on the page."""

    folder: str
    table: str
    failed: str
    message: str
    commit: str


def attempt(path: Path, out: Path) -> Result:
    """Goes all the way with one table, in the folder `out`."""
    result, begun = Result(path.name), time.perf_counter()
    try:
        for step, notes in steps(path, out):
            result.failed, result.notes = step, notes or result.notes
        result.failed = ""
    except (InputError, NumericalError) as error:
        result.message = str(error)
    except Exception as error:  # a bug: the table goes on the list, and the others have their turn
        result.message = f"{type(error).__name__}: {error}"
    result.seconds = time.perf_counter() - begun
    return result


def steps(path: Path, out: Path) -> Iterator[tuple[str, Sequence[str]]]:
    """The steps, each named before it is taken, with the notes that opening the data gave."""
    samples, scored = out / "samples.csv", out / "scored.csv"
    yield "train", ()
    model = caudal.train("nsf", data=str(path), report=False, **QUICK)
    yield "evaluate", model.dataset.notes
    model.evaluate()
    yield "sample", ()
    model.write_samples(samples, SAMPLES, overwrite=True)
    yield "score", ()
    model.score(str(path), scored, overwrite=True)
    yield "compare", ()
    compare(path, samples)


def compare(data: Path, samples: Path) -> None:
    """Refuses samples whose header or columns do not look like those of the data."""
    names, *drawn = rows_of(samples)
    start = next((i for i, row in enumerate(rows_of(data)) if alike(row, names)), None)
    if start is None:
        raise InputError(f"the samples have another header: {', '.join(names)[:160]}")
    there = rows_of(data)[start + 1 :]
    for i, name in enumerate(names):
        cells = [row[i] for row in there if len(row) > i]
        asked, got = look(cells, MOST), look([row[i] for row in drawn], MANY)
        fine = {asked, look(cells, MANY), "empty", *(["whole"] if asked == "number" else [])}
        if got not in fine:
            raise InputError(f"column '{name}' holds {asked} in the data, {got} in the samples")


def alike(row: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a row is the header: the same names, but for those that are empty or there twice."""
    row = [cell.strip() for cell in row]
    pairs = zip(row, names, strict=True) if len(row) == len(names) else ()
    return any(row) and [a == b or not a or row.count(a) > 1 for a, b in pairs] == [True] * len(
        names
    )


def rows_of(path: Path) -> list[list[str]]:
    """The cells of a file of text, whatever its encoding and its delimiter."""
    text = path.read_bytes().decode(find_encoding(path, path.name)).removeprefix("\ufeff")
    lines = text.splitlines(keepends=True)
    first = next((line for line in lines if line.strip()), "")
    return list(csv.reader(lines, delimiter=max(",;\t|", key=first.count)))


def look(cells: Sequence[str], share: float) -> str:
    """What that share of the cells of a column looks like, missing ones aside."""
    cells = [cell.strip() for cell in cells if cell.strip() not in _EMPTY]
    if not cells:
        return "empty"
    for name, form in _LOOKS.items():
        if sum(bool(re.fullmatch(form, cell)) for cell in cells) >= share * len(cells):
            return name
    return "text"


def key(row: Row) -> tuple[str, str]:
    return row.folder, row.table


def page(rows: list[Row], facts: Facts) -> str:
    what = (
        "Tables as others publish them, each trained on for 30 steps, evaluated, sampled and "
        "scored with no option that says anything about it. Samples must have the header, and "
        "columns of the same look: whole numbers, numbers, dates or text. *real_tables* are files "
        "of seaborn and FiveThirtyEight, *other packages* of bokeh-sampledata and pydataset."
    )
    counts, failures = [], []
    for folder in dict.fromkeys(row.folder for row in rows):
        here = [row for row in rows if row.folder == folder]
        failures += [[folder, r.table, f"{r.failed}: {r.message}"] for r in here if r.failed]
        good = sum(not row.failed for row in here)
        commits = ", ".join(sorted({row.commit for row in here}))
        counts.append([folder, str(len(here)), f"{good}, {good / len(here):.0%}", commits])
    facts = {**facts, "command": "python benchmarks/real_tables.py --folder FOLDER --page"}
    shown = [("", ["folder", "tables", "go all the way", "commit"], counts)]
    if failures:
        shown.append(("The others", ["folder", "table", "where and why"], failures))
    shared = {name: fact for name, fact in facts.items() if name not in ("commit", "date")}
    return text("Real tables", [what], shared, *shown)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--only", nargs="*", default=[""], help="parts of file names")
    parser.add_argument("--notes", action="store_true", help="print what was decided, too")
    parser.add_argument("--page", action="store_true", help="write results/real_tables.md")
    options = parser.parse_args()
    if not options.folder.is_dir():
        print(f"{options.folder} is not there: the real tables are not part of the repository")
        return
    results = []
    rows = Results(RESULTS / "real_tables.json", Row, key, key, ("torch", "pyarrow"))
    for path in sorted(options.folder.glob("*.csv")):
        if not any(part in path.name for part in options.only):
            continue
        with tempfile.TemporaryDirectory() as out:
            results.append(attempt(path, Path(out)))
        print(results[-1], flush=True)
        if options.page:
            last, commit = results[-1], made()["commit"]
            row = Row(options.folder.name, last.name, last.failed, last.message, commit)
            rows.add(row, page)
        for note in results[-1].notes if options.notes else ():
            print(f"    {note}")
    good = sum(not result.failed for result in results)
    print(f"{good} of {len(results)} tables, {good / max(len(results), 1):.0%}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
