"""Real tables, the same rows for every library: as standardised tensors, or in their own units.

They are not part of the repository; they are looked for in `../shared/data` beside it, or where
`--data-dir` says. Every column in steps is made continuous by uniform noise, drawn once.
"""

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

DATA_DIR = Path(__file__).resolve().parents[2] / "shared" / "data"

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows (N, D) in float64, in their own units, for training, validation and test."""


class Table(NamedTuple):
    """Rows (N, D) in float32."""

    train: Tensor
    val: Tensor
    test: Tensor

    @property
    def features(self) -> int:
        return self.train.shape[1]


def standardised(load: Callable[[Path], Parts]) -> Callable[[Path], Table]:
    """The loader of a table from that of its parts; by the moments of train and val together."""

    @wraps(load)
    def table(folder: Path) -> Table:
        parts = load(folder)
        both = np.vstack(parts[:2])
        mean, std = both.mean(0), both.std(0)
        return Table(*(torch.from_numpy((part - mean) / std).float() for part in parts))

    return table


@standardised
def power(folder: Path) -> Parts:
    """The recipe of the MAF paper (arXiv:1705.07057), on the rows there are."""
    with np.load(folder / "power" / "power_2007H1_float32.npz") as file:
        data = file["data"].astype(np.float64)
    rng = np.random.RandomState(42)
    rng.shuffle(data)
    data = np.delete(np.delete(data, 3, axis=1), 1, axis=1)
    rows = len(data)
    voltage, active = 0.01 * rng.rand(rows, 1), 0.001 * rng.rand(rows, 1)
    metering = rng.rand(rows, 3)
    data += np.hstack([active, voltage, metering, np.zeros((rows, 1))])
    return _split(data)


@standardised
def california_housing(folder: Path) -> Parts:
    """The nine numbers of the complete rows, each with noise of its step; counts as logarithms."""
    frame = pd.read_csv(folder / "tabular" / "california_housing.csv.gz")
    frame = frame.drop(columns="ocean_proximity").dropna()
    steps = {"longitude": 0.01, "latitude": 0.01, "median_income": 1e-4, "median_house_value": 100}
    rng = np.random.RandomState(42)
    frame += rng.rand(*frame.shape) * [steps.get(column, 1.0) for column in frame]
    counts = ["total_rooms", "total_bedrooms", "population", "households"]
    frame[counts] = np.log(frame[counts])
    return _split(rng.permutation(frame.to_numpy()))


@standardised
def adult(folder: Path) -> Parts:
    """Its numbers and two-valued columns, each with noise of its step; amounts as logarithms."""
    frames = [_adult_frame(folder / "tabular" / f"adult.{part}.gz") for part in ("data", "test")]
    rng = np.random.RandomState(42)
    train, test = (frame.to_numpy() + rng.rand(*frame.shape) for frame in frames)
    amounts = [frames[0].columns.get_loc(name) for name in ("weight", "gain", "loss")]
    for data in (train, test):
        data[:, amounts] = np.log1p(data[:, amounts])
    return *_cut_tail(rng.permutation(train)), test


@standardised
def miniboone(folder: Path) -> Parts:
    """The first rows of MINIBOONE, 43 columns: a small table."""
    with np.load(next((folder / "miniboone").glob("*.npz"))) as file:
        data = file[file.files[0]].astype(np.float64)
    return _split(np.random.RandomState(42).permutation(data))


@standardised
def digits(_: Path) -> Parts:
    """scikit-learn's 8x8 digits, 64 pixels with noise of one step; constant ones are noise."""
    from sklearn.datasets import load_digits

    rng = np.random.RandomState(42)
    data = load_digits().data
    return _split(rng.permutation(data + rng.rand(*data.shape)))


@standardised
def diamonds(folder: Path) -> Parts:
    """The seven numbers of each diamond, each with noise of its step."""
    frame = pd.read_csv(folder / "tabular" / "diamonds.csv.gz").select_dtypes("number")
    steps = {"depth": 0.1, "table": 0.1, "price": 1.0}
    rng = np.random.RandomState(42)
    frame += rng.rand(*frame.shape) * [steps.get(column, 0.01) for column in frame]
    return _split(rng.permutation(frame.to_numpy()))


def _anomalies(name: str, step: float, folder: Path) -> Parts:
    """The normal rows of a table of ADBench (arXiv:2206.09426), with noise of the step, if any."""
    with np.load(next((folder / "adbench").glob(f"*_{name}.npz"))) as file:
        data = file["X"][file["y"] == 0].astype(np.float64)
    rng = np.random.RandomState(42)
    return _split(rng.permutation(data + step * rng.rand(*data.shape)))


cover, shuttle = (standardised(partial(_anomalies, name, 1.0)) for name in ("cover", "shuttle"))
magic = standardised(partial(_anomalies, "magic.gamma", 0.0))


TABLES: dict[str, Callable[[Path], Table]] = {
    "power": power,
    "california_housing": california_housing,
    "adult": adult,
    "miniboone": miniboone,
}


def load(names: list[str], folder: Path) -> dict[str, Table]:
    """The tables that are there; says which are not."""
    tables = {}
    for name in names:
        try:
            tables[name] = TABLES[name](folder)
        except FileNotFoundError as error:
            print(f"{name}: left out, {error.filename} is not there (see --data-dir)")
    return tables


def gaussian_log_prob(table: Table) -> Tensor:
    """Of each test row, under a full-covariance Gaussian fitted to train: the pipeline's check."""
    train, test = table.train.double(), table.test.double()
    covariance = train.t().cov(correction=0)
    return torch.distributions.MultivariateNormal(train.mean(0), covariance).log_prob(test)


_ADULT = {
    0: "age",
    2: "weight",
    4: "education",
    9: "sex",
    10: "gain",
    11: "loss",
    12: "hours",
    14: "income",
}


def _adult_frame(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, header=None, usecols=list(_ADULT), skipinitialspace=True)
    frame = frame.rename(columns=_ADULT)
    frame = frame[frame["age"] != "age"]  # one of the two files starts with names
    frame["sex"] = frame["sex"] == "Male"
    frame["income"] = frame["income"].str.startswith(">50K")
    return frame.astype(np.float64)


def _split(data: np.ndarray) -> Parts:
    """The last tenth is for test, and the last tenth of what is left for validation."""
    rest, test = _cut_tail(data)
    return *_cut_tail(rest), test


def _cut_tail(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All but the last tenth, and the last tenth."""
    tail = int(0.1 * len(data))
    return data[:-tail], data[-tail:]
