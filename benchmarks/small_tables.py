"""Few rows of real tables: nsf beside the Gaussian and the copula of the same rows.

    OMP_NUM_THREADS=1 python benchmarks/small_tables.py
    OMP_NUM_THREADS=1 python benchmarks/small_tables.py --table wine --rows 50 --seeds 3

Rows are drawn at random; a tenth of them validates, and up to 1,000 others are the test. All
three densities score the test rows with the same noise. Rows of other runs stay in the files.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import caudal
from caudal.data import Batch, open_data
from caudal.modality import modality
from caudal.model.choices import suited
from caudal.model.settings import settings
from caudal.recipes import NSF
from caudal.report import Gaussian
from environment import RESULTS
from pages import Facts, Results, text
from tables import DATA_DIR

TEST, SEED = 1000, 1


@dataclass
class Row:
    table: str
    rows: int
    seed: int
    columns: int
    gaussian: float
    copula: float
    flow: float
    gain: float
    two_se: float
    best_step: int


def power(folder: Path) -> pd.DataFrame:
    with np.load(folder / "power" / "power_2007H1_float32.npz") as file:
        return pd.DataFrame(np.delete(file["data"].astype(np.float64), [1, 3], axis=1))


def miniboone(folder: Path) -> pd.DataFrame:
    with np.load(next((folder / "miniboone").glob("*.npz"))) as file:
        return pd.DataFrame(file[file.files[0]].astype(np.float64))


def california_housing(folder: Path) -> pd.DataFrame:
    frame = pd.read_csv(folder / "tabular" / "california_housing.csv.gz")
    return frame.drop(columns="ocean_proximity").dropna()


def diamonds(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "tabular" / "diamonds.csv.gz").select_dtypes("number")


def adult(folder: Path) -> pd.DataFrame:
    path = folder / "tabular" / "adult.data.gz"
    frame = pd.read_csv(path, header=None, usecols=[0, 2, 4, 10, 11, 12], skipinitialspace=True)
    return frame[frame[0] != "age"].astype(np.float64)


def adbench(name: str) -> Callable[[Path], pd.DataFrame]:
    def read(folder: Path) -> pd.DataFrame:
        with np.load(next((folder / "adbench").glob(f"*{name}*.npz"))) as file:
            return pd.DataFrame(file["X"].astype(np.float64))

    return read


def bundled(name: str) -> Callable[[Path], pd.DataFrame]:
    def read(_: Path) -> pd.DataFrame:
        from sklearn import datasets

        options = {"scaled": False} if name == "diabetes" else {}
        return pd.DataFrame(getattr(datasets, f"load_{name}")(**options).data)

    return read


TABLES: dict[str, Callable[[Path], pd.DataFrame]] = {
    "power": power,
    "california_housing": california_housing,
    "diamonds": diamonds,
    "adult": adult,
    "shuttle": adbench("shuttle"),
    "magic": adbench("magic"),
    "mammography": adbench("mammography"),
    "miniboone": miniboone,
    "iris": bundled("iris"),
    "wine": bundled("wine"),
    "breast_cancer": bundled("breast_cancer"),
    "diabetes": bundled("diabetes"),
}


def subset(frame: pd.DataFrame, rows: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """That many rows, and others for the test, without columns that are constant in the first."""
    order = np.random.default_rng(seed).permutation(len(frame))
    few, test = frame.iloc[order[:rows]], frame.iloc[order[rows : rows + TEST]]
    varied = few.columns[few.nunique() > 1]
    names = {name: f"c{i}" for i, name in enumerate(varied)}
    return few[varied].rename(columns=names), test[varied].rename(columns=names)


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


@torch.no_grad()
def scores(flow: caudal.Flow, x: Tensor) -> Tensor:
    return flow.eval().log_prob(x, generator=noise()).double()


def run(name: str, frame: pd.DataFrame, rows: int, seed: int) -> Row:
    few, test = subset(frame, rows, seed)
    data = open_data(few, test=test)
    made = suited(settings("nsf", modality("table"), {"data": "", "seed": seed}), data)
    torch.manual_seed(seed)
    flow = caudal.assemble(made.recipe, data.schema)
    copula = caudal.assemble(NSF(layers=0), data.schema)
    caudal.initialize(copula, data.train.x, None, noise())
    gaussian = Gaussian.fit(flow, data.train, data.schema)
    batch = Batch(data.test.x, None)
    normal = float(gaussian.log_prob(flow, batch, noise(), noise()).mean())
    training = replace(made.training, minutes=None)
    fitted = caudal.fit(flow, data.train, data.valid, training=training)
    start = flow if fitted.best_step == 0 else copula
    before, after = scores(start, data.test.x), scores(flow, data.test.x)
    gain = after - before
    two_se = 2 * float(gain.std()) / len(gain) ** 0.5
    means = (normal, float(before.mean()), float(after.mean()), float(gain.mean()), two_se)
    return Row(name, rows, seed, few.shape[1], *means, best_step=fitted.best_step)


def cells(row: Row) -> list[str]:
    numbers = [f"{value:.2f}" for value in (row.gaussian, row.copula, row.flow)]
    gain = f"{row.gain:.3f} ± {row.two_se:.3f}" if row.best_step else "0, the copula is kept"
    return [row.table, str(row.rows), str(row.columns), str(row.seed), *numbers, gain]


def key(row: Row) -> tuple[str, int, int]:
    return row.table, row.rows, row.seed


def order(row: Row) -> tuple[int, int, int]:
    return list(TABLES).index(row.table), row.rows, row.seed


HEADER = ["table", "rows", "columns", "seed", "Gaussian", "copula", "nsf", "gain ± 2 s.e."]


def report(rows: list[Row], facts: Facts) -> str:
    worse = [row for row in rows if row.gain < -row.two_se]
    better = [row for row in rows if row.gain > row.two_se]
    what = (
        "Nats a test row, more is better. The Gaussian is that of reports, in the table's own "
        "units; the copula is the flow before its first step. The size of nsf and its rate are "
        "those of `caudal train`."
    )
    found = (
        f"Of {len(rows)} runs {len(better)} end above the copula by more than 2 s.e., "
        f"{len(worse)} below it by as much."
    )
    body = [cells(row) for row in rows]
    return text("Small tables", [what, found], facts, ("", HEADER, body))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", choices=TABLES, nargs="*", default=list(TABLES))
    parser.add_argument("--rows", type=int, nargs="*", default=[50, 200, 1000])
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    results = Results(RESULTS / "small_tables.json", Row, key, order)
    for seed, size in ((s, n) for s in range(options.seeds) for n in options.rows):
        for name in options.table:
            frame = TABLES[name](DATA_DIR)
            if len(frame) >= size + 50:
                results.add(run(name, frame, size, seed), report)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
