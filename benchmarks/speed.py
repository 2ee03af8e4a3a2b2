"""Speed beside zuko, nflows and normflows, interleaved in one run.

    python benchmarks/speed.py            the whole table
    python benchmarks/speed.py --quick    a third of it, with fewer repetitions

In each repetition every library runs once, in turn, so that whatever else the machine does falls
on all of them; a ratio is the median over the repetitions of ours / the peer's.
"""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from environment import RESULTS, describe, lines, table, write, write_json
from peers import LIBRARIES, Density, Model, build

MODELS = {
    "maf": Model("maf", 5, 512),
    "realnvp": Model("realnvp", 5, 512),
    "nsf": Model("nsf", 2, 256),
    "nsf-ar": Model("nsf-ar", 2, 256),
}
FEATURES = (6, 21, 43, 63, 784)
QUICK_FEATURES = (6, 63)
LARGEST_FOR_AR_SPLINES = 63
WORKLOADS = {"train 100": 100, "train 512": 512, "train 4096": 4096, "log_prob 10000": 10_000}
LONG = 60.0  # seconds: what takes longer is not repeated
COMPILED, FLOWJAX = "caudal compiled", "flowjax"
Work = Callable[[], float]
"""Does it once and gives the seconds it took."""


@dataclass
class Cell:
    """The repetitions of one model, size and workload: seconds by library, in step."""

    model: str
    features: int
    workload: str
    seconds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return WORKLOADS[self.workload]

    @property
    def trains(self) -> bool:
        return self.workload.startswith("train")

    def median_ms(self, library: str) -> float:
        return 1e3 * statistics.median(self.seconds[library])

    def ratio(self, library: str, ours: str = "caudal") -> float:
        """Ours / theirs: below 1, ours is faster."""
        pairs = zip(self.seconds[ours], self.seconds[library], strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)

    @property
    def fastest_peer(self) -> str:
        return min(LIBRARIES[1:], key=self.median_ms)


def work_of(library: str, model: Model, cell: Cell) -> Work:
    """A training step or a pass of `log_prob`, in one of the torch libraries."""
    density = build(library.split()[0], model, cell.features).train(cell.trains)
    torch.manual_seed(0)
    x = torch.randn(cell.rows, cell.features)
    log_prob = _maybe_compiled(density, library == COMPILED)
    optimiser = torch.optim.Adam(density.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        loss = -log_prob(x).mean()
        loss.backward()
        optimiser.step()

    return _timed(step if cell.trains else torch.no_grad()(lambda: log_prob(x)))


def _maybe_compiled(density: Density, compiled: bool) -> Callable[[Tensor], Tensor]:
    if not compiled:
        return density.log_prob
    torch._dynamo.reset()
    return torch.compile(density.log_prob, dynamic=False)


def _timed(run: Callable[[], object]) -> Work:
    def timed() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return timed


class FlowJAX:
    """The compiled anchor, in a process of its own (see flowjax_anchor.py)."""

    def __init__(self, python: Path, threads: int) -> None:
        script = Path(__file__).with_name("flowjax_anchor.py")
        self.process = subprocess.Popen(
            [python, script, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def work_of(self, model: Model, cell: Cell) -> Work:
        request = {**asdict(model), "features": cell.features}
        self._ask({**request, "rows": cell.rows, "train": cell.trains})
        return partial(self._ask, None)

    def _ask(self, request: dict[str, Any] | None) -> float:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        print(json.dumps(request), file=stdin, flush=True)
        answer = stdout.readline()
        if not answer:
            raise SystemExit("FlowJAX ended early: its error is above")
        return float(answer)


def measure(cell: Cell, work: dict[str, Work], seconds: float) -> None:
    """Fills in the cell: at least 5 repetitions, at least 30 of what takes milliseconds."""
    gc.collect()
    first = {name: run() for name, run in work.items()}
    if sum(first.values()) > LONG:
        cell.seconds = {name: [took] for name, took in first.items()}
        return
    once = sum(run() for run in work.values())
    repetitions = max(5, min(200, round(seconds / once)), 30 if once < 0.1 else 0)
    names = tuple(work)
    cell.seconds = {name: [] for name in names}
    for repetition in range(repetitions):
        for name in _rotated(names, repetition):
            cell.seconds[name].append(work[name]())


def _rotated(libraries: tuple[str, ...], by: int) -> tuple[str, ...]:
    """Nobody always runs first, on the cold caches of another."""
    by %= len(libraries)
    return libraries[by:] + libraries[:by]


def cells(models: list[str], features: list[int]) -> Iterator[tuple[Model, Cell]]:
    for kind in models:
        for size in features:
            if kind == "nsf-ar" and size > LARGEST_FOR_AR_SPLINES:
                continue
            for workload in WORKLOADS:
                yield MODELS[kind], Cell(MODELS[kind].name, size, workload)


def import_seconds(statement: str, runs: int = 7) -> float:
    """Of a fresh interpreter, median."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"

    def once() -> float:
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        return float(run.stdout)

    once()
    return statistics.median(once() for _ in range(runs))


def imports() -> list[str]:
    alone, ours = import_seconds("import torch"), import_seconds("import torch, caudal")
    return [
        f"`import caudal` takes {1e3 * (ours - alone):.0f} ms more than `import torch` alone "
        f"({1e3 * alone:.0f} ms; medians of 7 fresh interpreters)."
    ]


def report(done: list[Cell], facts: dict[str, str], import_lines: list[str]) -> str:
    extras = _extras(done)
    header = ["model", "D", "workload", *(f"{name} ms" for name in LIBRARIES)]
    header += [f"/ {name}" for name in LIBRARIES[1:]] + ["/ fastest peer"]
    for name in extras:
        header += [f"{name} ms", f"{name} / fastest peer", f"{name} / ours"]
    behind = [cell for cell in done if cell.ratio(cell.fastest_peer) >= 1]
    return "\n".join(
        [
            "# Speed: caudal beside zuko, nflows and normflows",
            "",
            *lines(facts),
            "",
            "Medians in milliseconds; then ours / theirs, medians over interleaved repetitions:",
            "below 1 ours is faster, and what is not is bold. A training step is loss, backward",
            "and a fused Adam step. Hidden layers: 2 of 512 (maf, realnvp), 2 residual blocks of",
            "256 (nsf). normflows' maf is turned round, to its fast direction.",
            "",
            f"Ahead of the fastest peer in {len(done) - len(behind)} of {len(done)} cells.",
            *import_lines,
            "",
            *table(header, [_row(cell, extras) for cell in done]),
            "",
        ]
    )


def _extras(done: list[Cell]) -> list[str]:
    return [name for name in (COMPILED, FLOWJAX) if any(name in cell.seconds for cell in done)]


def _row(cell: Cell, extras: list[str]) -> list[str]:
    row = [cell.model, str(cell.features), cell.workload]
    row += [_digits(cell.median_ms(library)) for library in LIBRARIES]
    row += [_marked(cell.ratio(library)) for library in (*LIBRARIES[1:], cell.fastest_peer)]
    for name in extras:
        to_peer, to_ours = cell.ratio(cell.fastest_peer, name), cell.ratio("caudal", name)
        row += [_digits(cell.median_ms(name)), f"{to_peer:.2f}", f"{to_ours:.2f}"]
    return row


def _digits(milliseconds: float) -> str:
    return f"{milliseconds:.2f}" if milliseconds < 100 else f"{milliseconds:.0f}"


def _marked(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 1 else f"**{ratio:.2f}**"


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    flowjax = FlowJAX(options.flowjax, options.threads) if options.flowjax else None
    facts, import_lines, done = describe(), imports(), []
    path = options.out / ("speed-quick" if options.quick else "speed")
    for model, cell in cells(options.models, options.features):
        libraries = (*LIBRARIES, COMPILED) if options.compile else LIBRARIES
        work = {library: work_of(library, model, cell) for library in libraries}
        if flowjax:
            work[FLOWJAX] = flowjax.work_of(model, cell)
        measure(cell, work, options.seconds)
        done.append(cell)
        print(" | ".join(_row(cell, _extras(done))), flush=True)
        write(path.with_suffix(".md"), report(done, facts, import_lines))
        write_json(path.with_suffix(".json"), {**facts, "cells": [asdict(c) for c in done]})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="D = 6 and 63, less time a cell")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--features", nargs="+", type=int)
    parser.add_argument("--seconds", type=float, help="for the repetitions of a cell")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile as well")
    parser.add_argument("--flowjax", type=Path, metavar="PYTHON", help="with FlowJAX installed")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.features = options.features or (QUICK_FEATURES if options.quick else FEATURES)
    options.seconds = options.seconds or (2.0 if options.quick else 6.0)
    return options


if __name__ == "__main__":
    main()
