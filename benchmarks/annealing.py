"""The error that annealing tells of log Z, beside how log Z differs between seeds.

    OMP_NUM_THREADS=1 python benchmarks/annealing.py funnel --chains 8192

One target and one number of chains a call; the page `benchmarks/results/annealing.md` grows by a
row.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from caudal.annealing import Broad, anneal
from caudal.targets import TARGETS, Target
from environment import made
from pages import OLDER, Facts, Results, text

SEEDS = 8
RESULTS = Path(__file__).parent / "results" / "annealing.json"


@dataclass(frozen=True)
class Row:
    target: str
    chains: int
    steps: int
    log_z: float
    off: float | None
    spread: float
    told: float
    settled: int
    seconds: float
    commit: str = ""


def measure(target: Target, chains: int, seeds: int = SEEDS) -> Row:
    start, begun = Broad(torch.zeros(()), target.features, target.scale), time.process_time()
    runs = [
        anneal(target, start, chains, torch.Generator().manual_seed(seed)) for seed in range(seeds)
    ]
    log_z = torch.tensor([run.log_z for run in runs], dtype=torch.float64)
    told = torch.tensor([run.log_z_error for run in runs], dtype=torch.float64)
    mean = float(log_z.mean())
    return Row(
        target=target.name,
        chains=chains,
        steps=len(runs[0].temperatures),
        log_z=mean,
        off=None if target.log_z is None else mean - target.log_z,
        spread=float(log_z.std()),
        told=float(told.square().mean().sqrt()),
        settled=sum(run.settled for run in runs),
        seconds=(time.process_time() - begun) / seeds,
        commit=made()["commit"],
    )


def page(rows: list[Row], facts: Facts) -> str:
    words = [
        "The standard error that `caudal.annealing.anneal` tells of log Z, beside the standard "
        f"deviation of log Z over {SEEDS} seeds, in nats; from the Gaussian of each target's "
        "scale, with the default moves.",
        "Settled: in how many of the runs chains kept up with the temperatures. Where they do "
        "not, log Z may be off by more than its error, mostly too low, and the command line says "
        "so. A seed more or less changes a deviation of eight by a quarter.",
        "Made by `python benchmarks/annealing.py TARGET --chains N`; seconds are those of a run.",
        OLDER,
    ]
    header = ["target", "chains", "steps", "log Z", "log Z − true", "spread", "told", "settled"]
    header += ["seconds", "commit"]
    table = [
        [
            row.target,
            f"{row.chains:,}",
            str(row.steps),
            f"{row.log_z:.3f}",
            "" if row.off is None else f"{row.off:.3f}",
            f"{row.spread:.3f}",
            f"{row.told:.3f}",
            f"{row.settled} of {SEEDS}",
            f"{row.seconds:.1f}",
            row.commit,
        ]
        for row in rows
    ]
    return text("The error of log Z by annealing", words, facts, ("", header, table))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=list(TARGETS))
    parser.add_argument("--chains", type=int, default=1000)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    names = list(TARGETS)
    results = Results(
        RESULTS,
        Row,
        lambda row: (row.target, row.chains),
        lambda row: (names.index(row.target), row.chains),
        ("torch",),
    )
    results.add(measure(TARGETS[asked.target](), asked.chains), page)


if __name__ == "__main__":
    main()
