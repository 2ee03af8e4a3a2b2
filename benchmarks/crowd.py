"""Steps of training beside other programs: all threads, those that `uncrowded` takes, and one.

    python benchmarks/crowd.py

Other programs are processes that count; they may run on every core. The three ways take turns, so
that whatever else the machine does befalls all of them.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from statistics import median

import torch

from caudal.recipes import NSF
from caudal.training.threads import uncrowded
from environment import RESULTS, describe, lines, table, write

FEATURES, ROWS = 15, 256
COUNTING = "n = 0\nwhile True: n += 1"
WAYS = ("all", "uncrowded", "one")


@contextmanager
def others(number: int) -> Iterator[None]:
    """Within, so many other programs run."""
    running = [subprocess.Popen([sys.executable, "-c", COUNTING]) for _ in range(number)]
    try:
        time.sleep(1)
        yield
    finally:
        for program in running:
            program.kill()
            program.wait()


def seconds_of_a_step(flow, optimizer, x, seconds: float) -> float:
    """The median over the steps of so many seconds, one at least."""
    times: list[float] = []
    while not times or sum(times) < seconds:
        start = time.perf_counter()
        optimizer.zero_grad()
        (-flow.log_prob(x).mean()).backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return median(times)


def measure(number: int, repetitions: int, seconds: float) -> list[str]:
    """A row of the table: beside `number` other programs."""
    torch.manual_seed(0)
    flow = NSF(layers=5, hidden=64, blocks=2).build((FEATURES,))
    optimizer = torch.optim.Adam(flow.parameters(), 1e-3)
    x, usual = torch.randn(ROWS, FEATURES), torch.get_num_threads()
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    chosen = []
    with others(number):
        for _ in range(repetitions):
            for way in WAYS:
                torch.set_num_threads(1 if way == "one" else usual)
                with uncrowded() if way == "uncrowded" else nullcontext():
                    chosen += [torch.get_num_threads()] if way == "uncrowded" else []
                    taken[way].append(seconds_of_a_step(flow, optimizer, x, seconds))
            torch.set_num_threads(usual)
            time.sleep(10)  # it looks no oftener
    step = {way: median(times) for way, times in taken.items()}
    return [
        str(number),
        *(f"{1e3 * step[way]:.1f}" for way in WAYS),
        " ".join(map(str, chosen)),
        f"{step['all'] / step['uncrowded']:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    os.environ.pop("OMP_NUM_THREADS", None)  # which would be obeyed
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    rows = [
        measure(number, options.repetitions, options.seconds)
        for number in sorted({0, 1, cores, 2 * cores})
    ]
    header = [
        "other programs",
        *(f"{way}, ms" for way in WAYS),
        "threads taken",
        "all / uncrowded",
    ]
    text = [
        "# Training beside other programs",
        "",
        f"Milliseconds of a step of `nsf` ({FEATURES} columns, {ROWS} rows, 5 layers of 64), the "
        "median of the repetitions: with all threads, with those that `uncrowded` of "
        "caudal.training.threads takes, as every command and `caudal.fit` do, and with one.",
        "",
        *lines(describe(["torch"])),
        "",
        *table(header, rows),
    ]
    write(RESULTS / "crowd.md", "\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
