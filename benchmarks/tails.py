"""How far samples reach beyond the data: their maxima beside those that the data's tails promise.

    OMP_NUM_THREADS=1 python benchmarks/tails.py
    OMP_NUM_THREADS=1 python benchmarks/tails.py --data-dir FOLDER --tables titanic --steps 100

A flow is trained on a table, and draws samples. Their maximum in a column without an upper end is
compared with that which a generalised Pareto law of the outer twentieth of the column promises,
fitted by probability-weighted moments (Hosking and Wallis, 1987). "Heavy" has all tails begin as
Pareto laws of shape 1/4, as before, in the same flow.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

import caudal
from caudal.bijection import Chain, parts_of
from caudal.bijections import Gaussianise, marginals
from caudal.report import evaluate
from environment import RESULTS
from pages import Facts, Results, text
from tables import DATA_DIR

SAMPLES, DRAWN, OUTER = 20_000, 60_000, 0.05
TABLES = {
    "titanic": "real_tables/seaborn_raw_titanic.csv",
    "mpg": "real_tables/seaborn_mpg.csv",
    "planets": "real_tables/seaborn_planets.csv",
    "weather": "real_tables/538_us-weather-history_KCQT.csv",
    "california": "tabular/california_housing.csv.gz",
    "diamonds": "tabular/diamonds.csv.gz",
}


@dataclass
class Row:
    table: str
    column: str
    rows: int
    data: float
    promised: float
    heavy: float
    now: float
    data_999: float
    heavy_999: float
    now_999: float
    test_heavy: float
    test_now: float


@contextmanager
def all_heavy(layer: Gaussianise, lifted: Tensor) -> Iterator[None]:
    """Within, no tail of the fitted distributions is light."""
    kept = {name: value.clone() for name, value in layer.state_dict().items()}
    with mock.patch.object(marginals, "_with_light", lambda fit, _: fit):
        layer.observe(lifted)
    layer.load_state_dict({**kept, "tails": layer.tails.clone(), "light": layer.light.clone()})
    yield
    layer.load_state_dict(kept)


def promised(values: np.ndarray) -> float:
    """The median of the largest of so many samples, by the outer twentieth of values (N,)."""
    values = np.sort(values)
    k = max(20, int(OUTER * len(values)))
    start = values[-k - 1]
    excess = values[-k:] - start
    weights = 1 - (np.arange(k) + 0.65) / k
    first, second = excess.mean(), (weights * excess).mean()
    shape = 2 - first / (first - 2 * second)
    scale = 2 * first * second / (first - 2 * second)
    times = k / len(values) * SAMPLES / np.log(2)
    further = scale * np.log(times)
    if abs(shape) > 1e-3:
        further = scale / shape * (times**shape - 1)
    return float(start + further)


def measure(name: str, path: Path, steps: int) -> Iterator[Row]:
    model = caudal.train("nsf", str(path), steps=steps, seed=0, report=False)
    flow, train, test = model.flow.eval(), model.dataset.train.x, model.dataset.test
    *inner, layer = parts_of(flow.bijection)
    assert isinstance(layer, Gaussianise)
    generator = torch.Generator().manual_seed(0)
    scores, drawn = [], []
    with torch.no_grad():
        lifted = flow.lift(train, generator)[0]
        near = Chain(inner)(flow.base.sample(DRAWN, generator=generator))[0]

    def look() -> None:
        scores.append(evaluate(flow, test, None, model.schema).score_inside)
        drawn.append(layer.elements(near)[0].double().numpy())

    with all_heavy(layer, lifted):
        look()
    look()
    rows = lifted.double().numpy()
    for j, column in enumerate(model.schema.lifted):
        if column.categories is not None or column.period or column.high is not None:
            continue
        values = rows[:, j] + column.offset
        heavy, now = (x[:, j] + column.offset for x in drawn)
        level = 1 - np.log(2) / SAMPLES
        ends = [float(np.quantile(x, level)) for x in (heavy, now)]
        most = [float(np.quantile(x, 0.999)) for x in (values, heavy, now)]
        far = float(values.max()), promised(values)
        yield Row(name, column.name, len(rows), *far, *ends, *most, *scores)


def key(row: Row) -> tuple[str, str]:
    return row.table, row.column


def order(row: Row) -> int:
    return list(TABLES).index(row.table)


HEADER = ["table", "column", "rows", "largest", "promised", "heavy", "now", "heavy / promised"]
HEADER += ["now / promised", "99.9 %: data", "heavy", "now"]


def cells(row: Row) -> list[str]:
    far = (row.data, row.promised, row.heavy, row.now)
    ratios = [f"{x / row.promised:.2f}" for x in (row.heavy, row.now)]
    most = (row.data_999, row.heavy_999, row.now_999)
    numbers = [*(f"{x:.6g}" for x in far), *ratios, *(f"{x:.6g}" for x in most)]
    return [row.table, row.column, str(row.rows), *numbers]


def report(rows: list[Row], facts: Facts) -> str:
    what = (
        f"The largest of {SAMPLES:,} samples of a flow, in the median, in columns without an "
        f"upper end, beside the largest training value, and beside what a generalised Pareto law "
        f"of the outer twentieth of the column promises for as many rows. *Heavy* has all tails "
        f"begin as Pareto laws of shape 1/4; *now* those fall exponentially first that are light "
        f"in the data. The laws are fitted to few rows, 15 where there are 300."
    )
    tests = {
        row.table: [row.table, f"{row.test_heavy:.4f}", f"{row.test_now:.4f}"] for row in rows
    }
    scores = ("Nats a test row", ["table", "heavy", "now"], list(tests.values()))
    return text("Tails", [what], facts, ("", HEADER, [cells(row) for row in rows]), scores)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", choices=TABLES, nargs="*", default=list(TABLES))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    results: Any = Results(options.out / "tails.json", Row, key, order)
    for name in options.tables:
        for row in measure(name, options.data_dir / TABLES[name], options.steps):
            results.add(row, report)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
