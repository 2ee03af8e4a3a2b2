"""Drawing samples from a MAF beside zuko, nflows and normflows, and beside its own scoring.

    python benchmarks/sampling.py

Peers run the whole net once for each column; caudal steps through it (docs/papers/maf.md). Every
way runs once in each repetition, in turn. Sizes that the .json file has already are not run again.
"""

import argparse
import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from caudal.bijections import Autoregressive
from caudal.nets import Rerun
from caudal.nets.fast import blocks
from environment import RESULTS, describe, lines, table, write, write_json
from peers import Density, Model, build
from speed import Cell, Work, _digits, _timed, measure

MODEL = Model("maf", 5, 512)
SIZES = [(d, n) for d in (6, 43, 63, 784) for n in (1, 1000, 10_000)]
PEERS = ("zuko", "nflows", "normflows")
SCORE, SAMPLE, PLAIN, PASSES = "score", "sample", "sample, no Numba", "sample, D passes"
# Multiplications of D passes: about a minute of one core, and ten.
LONG_WORK, MOST_WORK = 1e12, 1e13
FASTEST = ("nflows", "normflows")  # of the peers, where all would take too long


def multiplications(features: int, rows: int) -> float:
    """Of the masked products of D passes."""
    h = MODEL.hidden
    return MODEL.layers * features * rows * (features * h + h * h + h * 2 * features)


@contextlib.contextmanager
def without_numba() -> Iterator[None]:
    kernel, blocks.block_kernel = blocks.block_kernel, lambda: None
    try:
        yield
    finally:
        blocks.block_kernel = kernel


def _plain(run: Callable[[], object]) -> Callable[[], object]:
    def plain() -> object:
        with without_numba():
            return run()

    return plain


def _by_passes(features: int) -> Density:
    """Ours with the slow reference for a step, which is what the peers do."""
    density = build("caudal", MODEL, features)
    for layer in density.modules():
        if isinstance(layer, Autoregressive):
            layer.net = Rerun(layer.net)
    return density


def ways(features: int, rows: int) -> dict[str, Work]:
    """What to time, by name."""
    ours = build("caudal", MODEL, features).eval()
    x = torch.randn(rows, features)
    runs: dict[str, Callable[[], object]] = {
        SCORE: lambda: ours.log_prob(x),
        SAMPLE: lambda: ours.sample(rows),
        PLAIN: _plain(lambda: ours.sample(rows)),
    }
    work = multiplications(features, rows)
    if work < LONG_WORK:
        passes = _by_passes(features).eval()
        runs[PASSES] = lambda: passes.sample(rows)
    for name in PEERS if work < LONG_WORK else FASTEST if work < MOST_WORK else ():
        peer = build(name, MODEL, features).eval()
        runs[name] = lambda peer=peer: peer.sample(rows)
    return {name: _timed(torch.no_grad()(run)) for name, run in runs.items()}


def row(cell: Cell) -> list[str]:
    peers = [name for name in PEERS if name in cell.seconds]
    fastest = min(peers, key=cell.median_ms, default=None)
    times = [_digits(cell.median_ms(name)) if name in cell.seconds else "" for name in COLUMNS]
    ratio = cell.ratio(SCORE, SAMPLE)
    plain = cell.ratio(SCORE, PLAIN)
    gain = f"{cell.ratio(SAMPLE, fastest):,.0f}" if fastest else ""
    return [
        str(cell.features),
        f"{cell.rows_drawn:,}",
        *times,
        f"{ratio:.2f}",
        f"{plain:.2f}",
        gain,
    ]


COLUMNS = (SCORE, SAMPLE, PLAIN, PASSES, *PEERS)


class Draw(Cell):
    """A cell of this table: so many rows of so many columns."""

    @property
    def rows_drawn(self) -> int:
        return int(self.workload)


def report(done: list[Draw], facts: dict[str, str]) -> str:
    header = ["D", "rows", *(f"{name} ms" for name in COLUMNS)]
    header += ["sample / score", "no Numba / score", "fastest peer / sample"]
    return "\n".join(
        [
            "# Sampling a MAF: caudal beside zuko, nflows and normflows",
            "",
            *lines(facts),
            "",
            "Five layers, two hidden layers of 512. Medians in milliseconds; ratios are medians",
            "over interleaved repetitions. *D passes* is caudal with the net run whole for each",
            "column, as peers do. What takes over a minute is run once, and by the two peers that",
            "are fastest elsewhere; what would take over ten is left out.",
            "",
            *table(header, [row(cell) for cell in done]),
            "",
        ]
    )


def stored(path: Path) -> list[Draw]:
    """The cells of an earlier run."""
    if not path.exists():
        return []
    return [Draw(**cell) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    path = options.out / "sampling"
    facts, done = describe(), stored(path.with_suffix(".json"))
    for features, rows in SIZES:
        if options.features and features not in options.features:
            continue
        if any((cell.features, cell.rows_drawn) == (features, rows) for cell in done):
            continue
        cell = Draw(MODEL.name, features, str(rows))
        measure(cell, ways(features, rows), options.seconds)
        done.append(cell)
        print(" | ".join(row(cell)), flush=True)
        write(path.with_suffix(".md"), report(done, facts))
        write_json(path.with_suffix(".json"), {**facts, "cells": [asdict(c) for c in done]})


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--features", nargs="+", type=int)
    parser.add_argument("--seconds", type=float, default=6.0, help="for the repetitions of a cell")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
