"""Test log-likelihood beside zuko and nflows: same architecture, steps, batches and optimiser.

    python benchmarks/quality.py --budget short

Each cell (table, model, library, seed) is kept in the .json file as soon as it is done, and not
trained again: an interrupted run goes on where it was. `--models`, `--libraries`, `--tables`
restrict it.
"""

import argparse
import itertools
import json
import math
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from environment import RESULTS, describe, lines, table, write, write_json
from peers import Density, Model, build
from tables import DATA_DIR, TABLES, Table, gaussian_log_prob, load

LIBRARIES = ("caudal", "zuko", "nflows")
POWER_GAUSSIAN = -7.864  # of the pipeline: anything else, and the rows are not the same


@dataclass(frozen=True)
class Budget:
    """What every library gets."""

    steps: int
    batch: int
    hidden: int
    spline_layers: int
    learning_rate: float = 1e-3
    seeds: int = 3
    test_rows: int = 10**9

    def models(self) -> list[Model]:
        h = self.hidden
        return [
            Model("made", 1, h),
            Model("maf", 5, h),
            Model("maf", 10, h),
            Model("realnvp", 5, h),
            Model("nsf", self.spline_layers, h),
            Model("nsf-ar", self.spline_layers, h),
        ]


BUDGETS = {
    "smoke": Budget(steps=3, batch=64, hidden=16, spline_layers=1, seeds=1, test_rows=500),
    "brief": Budget(steps=500, batch=256, hidden=64, spline_layers=3),
    "short": Budget(steps=1500, batch=256, hidden=64, spline_layers=3),
    "full": Budget(steps=20_000, batch=512, hidden=128, spline_layers=5),
}


@dataclass(frozen=True)
class Cell:
    """One training, and the log-likelihood of the test rows in nats."""

    table: str
    model: str
    library: str
    seed: int
    mean: float
    rows_se: float
    n_params: int
    seconds: float

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.table, self.model, self.library, self.seed


def fit(density: Density, train: Tensor, budget: Budget, seed: int) -> None:
    """Adam with a cosine to zero; the batches are the same for every library."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(density.parameters(), lr=budget.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, budget.steps)
    batches = _batches(len(train), budget.batch, generator)
    for rows in itertools.islice(batches, budget.steps):
        optimiser.zero_grad()
        loss = -density.log_prob(train[rows]).mean()
        loss.backward()
        optimiser.step()
        schedule.step()


@torch.no_grad()
def score(density: Density, x: Tensor) -> Tensor:
    density.eval()
    return torch.cat([density.log_prob(chunk) for chunk in x.split(5000)])


def run_cell(
    name: str, data: Table, model: Model, library: str, seed: int, budget: Budget
) -> Cell:
    density = build(library, model, data.features, seed)
    start = time.perf_counter()
    fit(density, data.train, budget, seed)
    seconds = time.perf_counter() - start
    log_prob = score(density, data.test[: budget.test_rows]).double()
    mean, rows_se = log_prob.mean().item(), log_prob.std().item() / len(log_prob) ** 0.5
    return Cell(name, model.name, library, seed, mean, rows_se, density.n_params, seconds)


def _batches(rows: int, size: int, generator: torch.Generator) -> Any:
    while True:
        order = torch.randperm(rows, generator=generator)
        yield from order[: rows - rows % size].split(size)


class Record:
    """The cells done so far, in a .json file."""

    def __init__(self, path: Path, budget: Budget) -> None:
        self.path = path
        self.budget = asdict(budget)
        self.cells: dict[tuple[str, str, str, int], Cell] = {}
        if path.exists():
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["budget"] != self.budget:
                raise SystemExit(f"{path} holds another budget, {stored['budget']}: move it away")
            self.cells = {cell.key: cell for cell in (Cell(**c) for c in stored["cells"])}

    def add(self, cell: Cell, facts: dict[str, str]) -> None:
        self.cells[cell.key] = cell
        cells = [asdict(c) for c in self.cells.values()]
        write_json(self.path, {**facts, "budget": self.budget, "cells": cells})

    def seeds(self, name: str, model: str, library: str) -> list[Cell]:
        return [c for c in self.cells.values() if c.key[:3] == (name, model, library)]


def compare(record: Record, name: str, model: str) -> list[str] | None:
    """A line of the table: every library, ours against the best peer, parameters, seconds."""
    groups = {library: record.seeds(name, model, library) for library in LIBRARIES}
    if not all(groups.values()):
        return None
    summary = {library: _over_seeds(cells) for library, cells in groups.items()}
    peer = max(LIBRARIES[1:], key=lambda library: _rank(summary[library][0]))
    difference = summary["caudal"][0] - summary[peer][0]
    error = math.hypot(summary["caudal"][1], summary[peer][1])
    rows_se = statistics.mean(cell.rows_se for cell in groups["caudal"])
    return [
        name,
        model,
        *(f"{mean:.3f} ± {2 * se:.3f}" for mean, se in summary.values()),
        f"{difference:+.3f} ± {2 * error:.3f}",
        _verdict(difference, error),
        f"{2 * rows_se:.3f}",
        " / ".join(f"{cells[0].n_params:,}" for cells in groups.values()),
        " / ".join(f"{statistics.median(c.seconds for c in g):.0f}" for g in groups.values()),
    ]


def _verdict(difference: float, error: float) -> str:
    if math.isnan(difference) or difference < -2 * error:
        return "**behind**"
    if math.isnan(error):
        return "one seed"
    return "ahead" if difference > 2 * error else "equal"


def _rank(mean: float) -> float:
    return -math.inf if math.isnan(mean) else mean


def _over_seeds(cells: list[Cell]) -> tuple[float, float]:
    """Mean and standard error over the seeds."""
    means = [cell.mean for cell in cells]
    se = statistics.stdev(means) / len(means) ** 0.5 if len(means) > 1 else math.nan
    return statistics.mean(means), se


def report(record: Record, tables: dict[str, Table], facts: dict[str, str]) -> str:
    budget = Budget(**record.budget)
    header = ["table", "model", *LIBRARIES, "ours - best peer", "verdict", "2 s.e. of the rows"]
    header += ["parameters", "seconds"]
    rows = [compare(record, name, model.name) for name in tables for model in budget.models()]
    return "\n".join(
        [
            "# Test log-likelihood, nats: caudal beside zuko and nflows",
            "",
            *lines(facts),
            f"- budget, the same for all: {budget.steps} steps of {budget.batch} rows, Adam "
            f"{budget.learning_rate:g} with a cosine to 0, {budget.hidden} hidden units, "
            f"{budget.seeds} seeds; no batch normalisation, early stopping or clipping",
            "",
            "Mean over the seeds ± 2 standard errors over the seeds. All libraries score the same",
            "rows, whose own 2 s.e. is beside them. *Behind* or *ahead*: beyond 2 s.e. of the",
            "difference. Parameters and seconds of a training in the order of the libraries.",
            "",
            *table(header, [row for row in rows if row]),
            "",
            *(_baseline(name, data) for name, data in tables.items()),
            "",
        ]
    )


def _baseline(name: str, data: Table) -> str:
    log_prob = gaussian_log_prob(data)
    two_se = 2 * log_prob.std().item() / len(log_prob) ** 0.5
    rows = " / ".join(f"{len(part):,}" for part in data)
    return (
        f"- {name}: {rows} rows of {data.features}; full-covariance Gaussian "
        f"{log_prob.mean().item():.3f} ± {two_se:.3f}"
    )


def check_pipeline(tables: dict[str, Table]) -> None:
    """The Gaussian on POWER is known: another figure means other rows."""
    if "power" in tables:
        mean = gaussian_log_prob(tables["power"]).mean().item()
        if abs(mean - POWER_GAUSSIAN) > 0.06:
            raise SystemExit(f"power: the Gaussian gives {mean:.3f}, not {POWER_GAUSSIAN}")


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    budget = BUDGETS[options.budget]
    tables = load(options.tables, options.data_dir)
    if not tables:
        raise SystemExit("no table found: say where with --data-dir")
    check_pipeline(tables)
    path = options.out / ("quality" + ("" if options.budget == "short" else f"-{options.budget}"))
    record, facts = Record(path.with_suffix(".json"), budget), describe()
    models = [m for m in budget.models() if not options.models or m.kind in options.models]
    # Seeds outermost: the whole table is there early, and gets its standard errors later.
    for seed, (name, data), model in itertools.product(
        range(budget.seeds), tables.items(), models
    ):
        for library in options.libraries:
            if (name, model.name, library, seed) not in record.cells:
                record.add(run_cell(name, data, model, library, seed, budget), facts)
                print(_line(record.cells[name, model.name, library, seed]), flush=True)
        write(path.with_suffix(".md"), report(record, tables, facts))
    print(report(record, tables, facts))


def _line(cell: Cell) -> str:
    return f"{' '.join(map(str, cell.key))}: {cell.mean:.3f} nats, {cell.seconds:.0f} s"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--budget", choices=BUDGETS, default="short")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES)[:3])
    parser.add_argument("--models", nargs="+", choices=["made", "maf", "realnvp", "nsf", "nsf-ar"])
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
