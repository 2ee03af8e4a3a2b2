"""Columns of few rows: their fitted distributions on all other rows, and how far samples reach.

    OMP_NUM_THREADS=1 python benchmarks/few_rows.py
    OMP_NUM_THREADS=1 python benchmarks/few_rows.py --tables penguins --draws 5

Each draw takes so many rows of a table, fits each column of numbers by itself, and scores at most
1,500 other rows: with tails that begin as Pareto laws, as the tails of few rows do, and with tails
that fall exponentially first.
"""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from caudal.bijections import Gaussianise, marginals
from caudal.data import open_data
from environment import RESULTS
from pages import Facts, Results, text
from tables import DATA_DIR

SAMPLES, TESTED, SIZES = 1000, 1500, (20, 60)
RULES = (0.5, np.inf)  # skewness to a side up to which the tail there is lighter
TABLES = {
    "penguins": "real_tables/seaborn_penguins.csv",
    "mpg": "real_tables/seaborn_mpg.csv",
    "titanic": "real_tables/seaborn_raw_titanic.csv",
    "planets": "real_tables/seaborn_planets.csv",
    "california": "tabular/california_housing.csv.gz",
    "diamonds": "tabular/diamonds.csv.gz",
}


@dataclass
class Row:
    """Gains are in nats a row; reaches, beyond the rows, in standard deviations of these."""

    table: str
    rows: int
    even: float
    even_2se: float
    every: float
    every_2se: float
    now: float
    now_even: float
    now_every: float
    far: float
    far_even: float
    far_every: float


def numbers(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """All rows (N, D) of the columns of numbers that have no upper end, and their ends and steps.

    Values in steps have their noise; gaps are left out, by columns that have none.
    """
    data = open_data(str(path), missing="drop")
    x = np.concatenate([part.x.double().numpy() for part in (data.train, data.valid, data.test)])
    kept = [
        (j, -np.inf if c.low is None else c.low, c.step or 0.0)
        for j, c in enumerate(data.schema.columns)
        if c.categories is None and not c.atoms and c.high is None
    ]
    places, low, step = (np.array(part) for part in zip(*kept, strict=True))
    x = x[:, places.astype(int)]
    return x + step * np.random.default_rng(0).uniform(size=x.shape), np.stack([low, step])


def fitted(rows: np.ndarray, ends: np.ndarray) -> Gaussianise:
    low, step = (torch.from_numpy(part).float() for part in ends)
    layer = Gaussianise(low, torch.full_like(low, torch.inf), step).double()
    layer.observe(torch.from_numpy(rows))
    return layer


def look(layer: Gaussianise, rows: np.ndarray, test: np.ndarray) -> tuple[float, np.ndarray]:
    """Nats a test row, and how far the outermost of the samples lie, in the median of each."""
    z, log_det = layer.inverse(torch.from_numpy(test))
    score = float((log_det - 0.5 * z.square().sum(1)).mean())
    level = torch.tensor(np.log(2) / SAMPLES)
    z = torch.special.ndtri(torch.stack([level, 1 - level])).double()
    outer = layer.forward(z[:, None].expand(-1, rows.shape[1]).contiguous())[0].numpy()
    reach = np.stack([rows.min(0) - outer[0], outer[1] - rows.max(0)]) / rows.std(0)
    return score, reach


def lighter(most: float) -> ExitStack:
    """Within, tails fall by e^2 exponentially first where values lean by `most` at most."""
    stack = ExitStack()
    stack.enter_context(mock.patch.object(marginals, "_LIGHT", 2.0))
    rate = mock.patch.object(
        marginals, "_light_rate", lambda values, _: 0.0 if skewness(values.x) <= most else None
    )
    stack.enter_context(rate)
    return stack


def skewness(x: np.ndarray) -> float:
    return float((((x - x.mean()) / (x.std() or 1.0)) ** 3).mean())


def measure(name: str, path: Path, size: int, draws: int) -> Row:
    x, ends = numbers(path)
    rng, gains, reaches = np.random.default_rng(0), [], []
    for _ in range(draws):
        order = rng.permutation(len(x))
        rows, test = x[order[:size]], x[order[size : size + TESTED]]
        varied = rows.std(0) > 0
        rows, test, own = rows[:, varied], test[:, varied], ends[:, varied]
        looks = [look(fitted(rows, own), rows, test)]
        for most in RULES:
            with lighter(most):
                looks.append(look(fitted(rows, own), rows, test))
        scores, outer = zip(*looks, strict=True)
        gains.append(np.array(scores[1:]) - scores[0])
        # Beyond an end of the column there is nothing to reach.
        open_ends = np.stack([np.isinf(own[0]), np.ones(len(own[0]), bool)])
        reaches.append(np.stack([reach[open_ends] for reach in outer]))
    two_se = 2 * np.std(gains, 0, ddof=1) / draws**0.5
    reach = np.concatenate(reaches, 1)
    most_reach = np.quantile(reach, 0.9, axis=1)
    even, every = zip(np.mean(gains, 0).tolist(), two_se.tolist(), strict=True)
    middle = np.median(reach, 1).tolist()
    return Row(name, size, *even, *every, *middle, *most_reach.tolist())


def key(row: Row) -> tuple[str, int]:
    return row.table, row.rows


def order(row: Row) -> tuple[int, int]:
    return list(TABLES).index(row.table), row.rows


HEADER = ["table", "rows", "even: gain", "every: gain", "now", "even", "every"]
HEADER += ["now, 90 %", "even, 90 %", "every, 90 %"]


def page(rows: list[Row], facts: Facts) -> str:
    what = (
        f"Columns of numbers, each by itself, fitted to few rows and scored on others. *Now* all "
        f"tails begin as Pareto laws of shape 1/4, as those of columns of fewer than 200 rows do; "
        f"*every* has them fall exponentially first, by a factor e^2, and *even* only those to "
        f"whose side the few rows have a skewness of at most 1/2. Gains are in nats a row, ± 2 "
        f"s.e. over draws. The other numbers say how far the outermost of {SAMPLES:,} samples, in "
        f"the median, lies beyond the outermost row, in standard deviations of the rows: over "
        f"columns and draws in the middle, and in 90 % of them at most."
    )
    return text("Few rows", [what], facts, ("", HEADER, [cells(row) for row in rows]))


def cells(row: Row) -> list[str]:
    gains = (row.even, row.even_2se), (row.every, row.every_2se)
    reaches = (row.now, row.now_even, row.now_every, row.far, row.far_even, row.far_every)
    shown = [f"{gain:+.4f} ± {two_se:.4f}" for gain, two_se in gains]
    return [row.table, str(row.rows), *shown, *(f"{reach:.2f}" for reach in reaches)]


def tasks(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    return ((name, size) for name in options.tables for size in options.sizes)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", choices=TABLES, nargs="*", default=list(TABLES))
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    results: Any = Results(options.out / "few_rows.json", Row, key, order)
    for name, size in tasks(options):
        row = measure(name, options.data_dir / TABLES[name], size, options.draws)
        results.add(row, page)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
