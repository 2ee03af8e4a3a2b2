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
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from attacks import GIB, HERE, SECONDS, used, where
from fuzz_cases import CALLS, FILES
from fuzz_files import prepare_more
from mutations import heard

BATCH = 100
PAGE = HERE / "results" / "fuzz.md"
INTRODUCTION = """# Fuzzing in process

`python benchmarks/fuzz.py --count 200 --seed 9 --write`; with `--only WHAT ...` the rows of the
others stay. Each file was changed by chance so many times and read; each function got so many sets
of arguments. Other seeds are other attacks. A failure is another error than `InputError`,
`NumericalError` or `OSError`, a signal, more than 60 seconds, or more than 2 GiB of memory.

{tried:,} attacks, {failed}.

"""
HEADER = """| what | seed | commit | tried | failed | mended in |
| --- | ---: | --- | ---: | ---: | --- |
"""
Row = tuple[str, int, str, int, int, str]


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
    parser.add_argument("--only", nargs="*", choices=[*FILES, *CALLS], help="what to attack")
    parser.add_argument("--write", action="store_true", help="into results/fuzz.md")
    options = parser.parse_args()
    commit = os.popen(f"git -C {HERE} rev-parse --short HEAD").read().strip()
    begun, total = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        prepare_more(place)
        for name in options.only or (*FILES, *CALLS):
            if name in FILES and not (place / name).exists():
                continue  # what writes it is not installed
            start = options.seed * 1_000_000
            failed = list(fuzz(place, name, range(start, start + options.count)))
            for wrong, count in Counter(wrong for _, wrong in failed).most_common(8):
                print(f"{name}: {count} x {wrong}", flush=True)
            row = (name, options.seed, commit, options.count, len(failed), "")
            print(_line(row), f"{time.monotonic() - begun:.0f} s", flush=True)
            total += Counter(tried=options.count, failed=len(failed))
            if options.write:
                _write(row)
    print(f"together: {total['tried']:,} tried, {total['failed']} failed")
    sys.exit(bool(total["failed"]))


def _line(row: Row) -> str:
    what, seed, commit, tried, failed, mended = row
    return f"| {what} | {seed} | {commit} | {tried:,} | {failed} | {mended} |"


def _write(row: Row) -> None:
    """Puts a row into the page, in the place of one of the same attacks; its end stays."""
    rows, end = _read()
    kept = [old for old in rows if old[:2] != row[:2]]
    order = [*FILES, *CALLS]
    kept = sorted([*kept, row], key=lambda row: (order.index(row[0]), row[1]))
    tried, failed = sum(row[3] for row in kept), sum(row[4] for row in kept)
    mended = all(row[5] for row in kept if row[4])
    told = f"{failed} failed{', and were mended' if mended else ''}" if failed else "none failed"
    lines = "".join(f"{_line(row)}\n" for row in kept)
    PAGE.write_text(INTRODUCTION.format(tried=tried, failed=told) + HEADER + lines + end)


def _read() -> tuple[list[Row], str]:
    """The rows of the page, and what it says after them."""
    rows, end = [], ""
    for line in PAGE.read_text().splitlines(keepends=True):
        cells = [cell.strip() for cell in line.strip().removesuffix("|").split("|")[1:]]
        if len(cells) == 6 and cells[1].isdigit():
            what, seed, commit, tried, failed, mended = cells
            numbers = int(tried.replace(",", "")), int(failed)
            rows.append((what, int(seed), commit, *numbers, mended))
            end = ""
        else:
            end += line
    return rows, end


if __name__ == "__main__":
    main()
