"""Synthetic tables: samples of caudal beside those of other generators, after equal CPU time.

    pip install '.[synthetic]'
    python benchmarks/synthetic.py
    python benchmarks/synthetic.py --data magic --models caudal TVAE --minutes 2

Each model learns the training rows of a table on one core, within so many minutes of CPU time, and
draws as many rows as are tested, at most `--rows`. All are measured by the code that evaluates
caudal's own runs; trees of XGBoost and the prediction of a table's own target come in addition.
Samples are kept in `--samples`; `--measure` measures again those that are there.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from caudal.data import open_data
from caudal.report.table.judge import Judge
from environment import RESULTS, ROOT, made
from pages import Facts, Results, text
from tables import DATA_DIR

MODELS = ("caudal", "CTGAN", "TVAE", "copula", "factorised")
REAL = "real rows"
TRAINED = ("caudal", "CTGAN", "TVAE")
LIBRARIES = ("torch", "ctgan", "xgboost-cpu", "scikit-learn")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
SEED = 42  # of the split


@dataclass
class Cell:
    """What the samples of one model come to; see `caudal.report.table.scoreboard`."""

    data: str
    model: str
    minutes: float
    seed: int
    rows: int
    how: str
    seconds: float
    drawing: float
    shape: float
    trend: float
    c2st: float
    auc: float
    xgb: float | None
    tstr: float | None
    target: float
    dcr: float
    nearer: float | None
    copies: float
    log_prob: float | None = None
    commit: str = ""


@dataclass(frozen=True)
class Table:
    """A table in two parts, and the column that is to be predicted from the others."""

    train: pd.DataFrame
    test: pd.DataFrame
    target: str

    @property
    def discrete(self) -> list[str]:
        """The columns of words, and a target of classes."""
        return [name for name in self.train if not pd.api.types.is_numeric_dtype(self.train[name])]


def adult(folder: Path) -> Table:
    names = ("age", "workclass", "fnlwgt", "education", "education_num", "marital_status")
    names += ("occupation", "relationship", "race", "sex", "capital_gain", "capital_loss")
    names += ("hours_per_week", "native_country", "income")
    numbers = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")

    def part(name: str) -> pd.DataFrame:
        path = folder / "tabular" / f"adult.{name}.gz"
        rows = pd.read_csv(path, header=None, names=names, skipinitialspace=True, dtype=str)
        rows = rows[rows["age"] != "age"]  # one of the two files starts with names
        rows["income"] = rows["income"].str.rstrip(".")
        rows = rows.replace("?", "unknown")  # a word to all models: CTGAN knows no gaps
        return rows.astype(dict.fromkeys(numbers, int))

    return Table(part("data"), part("test"), "income")


def split(rows: pd.DataFrame, target: str) -> Table:
    """A fifth of the rows is for test."""
    order, tail = np.random.default_rng(SEED).permutation(len(rows)), len(rows) // 5
    return Table(rows.iloc[order[tail:]], rows.iloc[order[:tail]], target)


def california(folder: Path) -> Table:
    rows = pd.read_csv(folder / "tabular" / "california_housing.csv.gz").dropna()
    return split(rows, "median_house_value")


def diamonds(folder: Path) -> Table:
    return split(pd.read_csv(folder / "tabular" / "diamonds.csv.gz"), "price")


def magic(folder: Path) -> Table:
    with np.load(next((folder / "adbench").glob("*_magic.gamma.npz"))) as file:
        rows = pd.DataFrame(file["X"].astype(np.float64))
        rows.columns = [f"c{i}" for i in range(rows.shape[1])]
        return split(rows.assign(kind=np.where(file["y"] == 1, "h", "g")), "kind")


DATA: dict[str, Callable[[Path], Table]] = {
    "adult": adult,
    "california": california,
    "diamonds": diamonds,
    "magic": magic,
}


class Ruler:
    """Measures sets of rows of one table; all of them in the columns that caudal finds there."""

    def __init__(self, table: Table, rows: int) -> None:
        self.schema = open_data(table.train, test=table.test, missing="model").schema
        self.rows = min(rows, len(table.test))
        rng = np.random.default_rng(0)
        chosen = rng.permutation(len(table.train))[: self.rows]
        self.train = self.encode(table.train.iloc[chosen])
        self.test = self.encode(table.test.iloc[: self.rows])
        self.target = self.schema.names.index(table.target)
        columns = self.schema.columns
        records = [self.encode(table.train)]
        self.judge = Judge(columns, len(columns), self.train, self.test, records)

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Rows (N, D) as the schema encodes them."""
        return self.schema.encode(frame)[0].double().numpy()

    def measure(self, rows: np.ndarray | None) -> dict[str, Any]:
        """The numbers of a cell, of samples, or of real rows."""
        line = self.judge.real() if rows is None else self.judge.line(rows)
        rows = self.train if rows is None else rows
        kept = {n: v for n, v in vars(line).items() if n in Cell.__dataclass_fields__}
        return {**kept, "xgb": self.xgb(rows), "target": self.predicted(rows)}

    def xgb(self, rows: np.ndarray) -> float | None:
        """C2ST by XGBoost as it comes, taught by the first halves and tested on the second."""
        if not find_spec("xgboost"):
            return None
        from sklearn.metrics import roc_auc_score
        from xgboost import XGBClassifier

        half = self.rows // 2
        sides = self.test, rows
        x, new = (
            np.concatenate([side[part] for side in sides])
            for part in (slice(half), slice(half, None))
        )
        fitted = XGBClassifier(n_jobs=1, random_state=0).fit(x, np.repeat([0, 1], half))
        truth = np.repeat([0, 1], [len(side) - half for side in sides])
        return float(min(1, 2 - 2 * roc_auc_score(truth, fitted.predict_proba(new)[:, 1])))

    def predicted(self, rows: np.ndarray) -> float:
        """R squared of the target, or the AUC, of boosted trees that these rows have taught."""
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from sklearn.metrics import r2_score, roc_auc_score

        (x, y), (new, truth) = (
            (np.delete(side, self.target, 1), side[:, self.target]) for side in (rows, self.test)
        )
        if self.schema.columns[self.target].categories is None:
            return float(
                r2_score(
                    truth, HistGradientBoostingRegressor(random_state=0).fit(x, y).predict(new)
                )
            )
        fitted = HistGradientBoostingClassifier(random_state=0).fit(x, y)
        return float(roc_auc_score(truth, fitted.predict_proba(new)[:, 1]))


class Runner:
    """Has models learn in processes of their own, and keeps what they draw in a folder."""

    def __init__(self, folder: Path, core: int) -> None:
        self.folder, self.core = folder, core
        folder.mkdir(parents=True, exist_ok=True)

    def draw(
        self, name: str, table: Table, model: str, minutes: float, seed: int, rows: int
    ) -> tuple[pd.DataFrame, dict[str, Any]]:
        """The samples of a model, and what the worker told; those that are there are taken."""
        place = self.folder / name
        place.mkdir(exist_ok=True)
        stem = place / f"{model}-{minutes:g}-{seed}"
        out, told = stem.with_suffix(".csv"), stem.with_suffix(".json")
        if not told.exists():
            parts = {"train": table.train, "test": table.test}
            for part, frame in parts.items():
                frame.to_csv(place / f"{part}.csv", index=False)
            job = {part: str(place / f"{part}.csv") for part in parts}
            job |= {"model": model, "discrete": table.discrete, "minutes": minutes}
            job |= {"seed": seed, "rows": rows, "out": str(out), "core": self.core}
            told.write_text(self._work(job), encoding="utf-8")
        words = dict.fromkeys(table.discrete, str)
        return pd.read_csv(out, dtype=words), json.loads(told.read_text("utf-8"))

    def _work(self, job: dict[str, Any]) -> str:
        worker = Path(__file__).with_name("synthetic_job.py")
        command = [sys.executable, str(worker), json.dumps(job)]
        env = {**os.environ, **ONE_THREAD}
        return subprocess.run(
            command, stdout=subprocess.PIPE, text=True, env=env, check=True
        ).stdout


def run(options: argparse.Namespace, results: Results[Cell]) -> None:
    runner = Runner(options.samples, options.core)
    done = {cell_key(cell) for cell in results.read()}
    for name in options.data:
        table, ruler = DATA[name](options.data_dir), None
        for model, minutes, seed in jobs(options):
            if (name, model, minutes, seed) in done and not options.measure:
                continue
            ruler = ruler or Ruler(table, options.rows)
            told: dict[str, Any] = {"how": "", "seconds": 0.0, "drawing": 0.0}
            samples = None
            if model != REAL:
                frame, told = runner.draw(name, table, model, minutes, seed, ruler.rows)
                samples = ruler.encode(frame)
            told |= {**ruler.measure(samples), "commit": made()["commit"]}
            cell = Cell(name, model, minutes, seed, ruler.rows, **told)
            results.add(cell, page)


def jobs(options: argparse.Namespace) -> list[tuple[str, float, int]]:
    """Model, minutes and seed of each cell; what is not trained has neither minutes nor seeds."""
    plain = [(model, 0.0, 0) for model in (REAL, *options.models) if model not in TRAINED]
    times = [(minutes, seed) for minutes in options.minutes for seed in range(options.seeds)]
    return plain + [(m, *time) for time in times for m in options.models if m in TRAINED]


def cell_key(cell: Cell) -> tuple[str, str, float, int]:
    return cell.data, cell.model, cell.minutes, cell.seed


def order(cell: Cell) -> tuple[int, float, int, int]:
    place = (*MODELS, REAL).index(cell.model)
    return list(DATA).index(cell.data), cell.minutes, place, cell.seed


# --- the page ------------------------------------------------------------------------------------

MEASURES = {
    "shape": "shape",
    "trend": "trend",
    "c2st": "C2ST",
    "xgb": "C2ST, XGBoost",
    "tstr": "TSTR",
    "target": "target",
    "nearer": "nearer training",
    "copies": "copies",
}
JUDGED = ("shape", "trend", "c2st", "xgb", "tstr", "target")
HEADER = ["model", *MEASURES.values(), "DCR", "nats a row", "CPU s", "how", "commit"]
COMMAND = "python benchmarks/synthetic.py --data TABLE --models MODEL --minutes 2"
WHAT = (
    "Samples of each model beside as many test rows, after equal CPU time of one core. Shape, "
    "trend, C2ST, TSTR, DCR and the others are those of `caudal eval` ([docs/tables.md]"
    "(../../docs/tables.md#how-good-are-samples)); 1 is best, but for *nearer training*, of which "
    "0.5 is right, and DCR, of which that of real rows is. *Target* is the AUC (adult: income, "
    "magic: kind) or R² (california: median house value, diamonds: price) on test rows of boosted "
    "trees that the samples taught.",
    "caudal has its defaults and the time; CTGAN and TVAE (package ctgan) what they document, and "
    "as many epochs as fit, 300 at most. The copula and the factorised model, whose columns are "
    "drawn by themselves, take no time to speak of; *real rows* are training rows, the best that "
    "samples can be. In bold the best model of each table and time.",
    "CTGAN and TVAE have one seed, caudal has two (`--seeds 2`), of which the mean is told; "
    "after ten minutes it has one too. It ends earlier where it no longer gains. Rows are of "
    "several runs: the last column has the commit at which each was measured (`--measure` "
    "does so again with kept samples).",
    "Published figures are after training on a GPU, of other splits and all rows, so that they "
    "compare loosely: C2ST by XGBoost is 0.79 for TabSyn and 0.84 for TabDiff on adult, 0.76 and "
    "0.77 on magic, and below 0.001 and 0.10 for CTGAN (arXiv:2603.23016). Its third table, "
    "default, is not at hand here.",
)


def page(cells: list[Cell], facts: Facts) -> str:
    tables = []
    for data in dict.fromkeys(cell.data for cell in cells):
        here = [cell for cell in cells if cell.data == data]
        plain = [cell for cell in here if cell.model not in TRAINED]
        for minutes in sorted({cell.minutes for cell in here} - {0.0}):
            shown = [cell for cell in here if cell.minutes == minutes] + plain
            title = f"{data}, {minutes:g} minutes, {shown[0].rows:,} rows"
            tables.append((title, HEADER, rows(shown)))
    shared = {k: v for k, v in facts.items() if k not in ("commit", "date")} | {"command": COMMAND}
    return text("Synthetic tables", [*WHAT, *behind(cells)], shared, *tables)


def rows(cells: list[Cell]) -> list[list[str]]:
    """A line a model, the mean of its seeds; the best of each measure in bold."""
    models = list(dict.fromkeys(cell.model for cell in cells))
    means = {
        m: {n: mean(cells, m, n) for n in [*MEASURES, "dcr", "log_prob", "seconds"]}
        for m in models
    }
    best = {n: max((means[m][n] for m in models if m != REAL), default=0.0) for n in JUDGED}
    lines = []
    for model in models:
        values = means[model]
        shown = [f"{values[n]:.3f}" for n in MEASURES]
        shown = [
            f"**{word}**" if n in JUDGED and model != REAL and values[n] == best[n] else word
            for n, word in zip(MEASURES, shown, strict=True)
        ]
        log_prob = f"{values['log_prob']:.2f}" if values["log_prob"] == values["log_prob"] else ""
        how = next(cell.how for cell in cells if cell.model == model)
        commits = ", ".join(sorted({cell.commit for cell in cells if cell.model == model}))
        numbers = [f"{values['dcr']:.4f}", log_prob, f"{values['seconds']:.0f}"]
        lines.append([model, *shown, *numbers, how, commits])
    return [[word.replace("nan", "") for word in line] for line in lines]


def mean(cells: list[Cell], model: str, name: str) -> float:
    values = [getattr(cell, name) for cell in cells if cell.model == model]
    return float(np.mean([np.nan if value is None else value for value in values]))


def behind(cells: list[Cell]) -> list[str]:
    """Where another model that trains is ahead of caudal, and by how much."""
    found, judged = [], 0
    for data, minutes in dict.fromkeys((c.data, c.minutes) for c in cells if c.minutes):
        here = [c for c in cells if (c.data, c.minutes) in ((data, minutes), (data, 0.0))]
        if not any(c.model == "caudal" for c in here):
            continue
        for name in JUDGED:
            values = {m: mean(here, m, name) for m in MODELS if any(c.model == m for c in here)}
            ours, judged = values.pop("caudal"), judged + 1
            other = max(values, key=lambda m: values[m], default=None)
            if other is not None and values[other] > ours:
                gap = values[other] - ours
                found.append(
                    f"- {data}, {minutes:g} minutes, {MEASURES[name]}: {other} by {gap:.3f}"
                )
    ahead = f"caudal is first in {judged - len(found)} of {judged} cells."
    return [ahead, "It is behind here:\n\n" + "\n".join(found)] if found else [ahead]


def main() -> None:
    options = parse()
    if not (options.data_dir / "tabular").is_dir():
        print("skipped: there is no ../shared/data/tabular beside the repository")
        return
    results = Results(RESULTS / "synthetic.json", Cell, cell_key, order, LIBRARIES)
    run(options, results)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--minutes", nargs="+", type=float, default=[2.0, 10.0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--measure", action="store_true", help="measure kept samples again")
    parser.add_argument("--samples", type=Path, default=ROOT / "runs" / "synthetic")
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    return parser.parse_args()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
