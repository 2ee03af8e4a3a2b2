"""Rows that do not belong: FlowOutlier beside the usual detectors, by the area under the curve.

    OMP_NUM_THREADS=1 python benchmarks/anomaly.py
    OMP_NUM_THREADS=1 python benchmarks/anomaly.py --table thyroid --minutes 0.2

Each detector is fitted to half of a table's ordinary rows, at most `--rows` of them; the test are
the others, at most 10,000, and all anomalies. ECOD needs pyod; where that is missing, its lines of
other runs stay in the files, as other tables do.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from caudal.sklearn import FlowOutlier
from environment import RESULTS
from pages import Facts, Results, text
from tables import DATA_DIR

TABLES = ("cover", "magic", "mammography", "satellite", "shuttle", "thyroid")
TEST = 10_000
Scorer = Callable[[np.ndarray], np.ndarray]
"""Rows (N, D) to how ordinary each is, (N,): more is more so."""


@dataclass
class Row:
    table: str
    detector: str
    rows: int
    columns: int
    test: int
    anomalies: int
    auroc: float
    seconds: float


def read(name: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, D), and which are anomalies, (N,)."""
    with np.load(next((folder / "adbench").glob(f"*_{name}*.npz"))) as file:
        return file["X"].astype(np.float64), file["y"].astype(bool)


def parts(
    x: np.ndarray, is_anomaly: np.ndarray, rows: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ordinary rows to fit, and test rows with whether each is an anomaly."""
    order = np.random.default_rng(seed).permutation(np.flatnonzero(~is_anomaly))
    half = len(order) // 2
    few, others = order[: min(half, rows)], order[half : half + TEST]
    test = np.concatenate([others, np.flatnonzero(is_anomaly)])
    return x[few], x[test], is_anomaly[test]


def flow(x: np.ndarray, minutes: float, seed: int) -> Scorer:
    return FlowOutlier(minutes=minutes, seed=seed).fit(x).score_samples


def isolation_forest(x: np.ndarray, minutes: float, seed: int) -> Scorer:
    from sklearn.ensemble import IsolationForest

    return IsolationForest(random_state=seed).fit(x).score_samples


def local_outlier_factor(x: np.ndarray, minutes: float, seed: int) -> Scorer:
    from sklearn.neighbors import LocalOutlierFactor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)).fit(x).score_samples


def ecod(x: np.ndarray, minutes: float, seed: int) -> Scorer:
    from pyod.models.ecod import ECOD

    fitted = ECOD().fit(x)
    return lambda rows: -fitted.decision_function(rows)


DETECTORS: dict[str, Callable[[np.ndarray, float, int], Scorer]] = {
    "FlowOutlier": flow,
    "IsolationForest": isolation_forest,
    "LocalOutlierFactor": local_outlier_factor,
    **({"ECOD": ecod} if find_spec("pyod") else {}),
}


def run(
    name: str,
    detector: str,
    data: tuple[np.ndarray, np.ndarray],
    rows: int,
    minutes: float,
    seed: int = 0,
) -> Row:
    from sklearn.metrics import roc_auc_score

    few, test, is_anomaly = parts(*data, rows, seed)
    begun = time.monotonic()
    ordinary = DETECTORS[detector](few, minutes, seed)(test)
    seconds = time.monotonic() - begun
    # A row outside of the support is the least ordinary of all.
    auroc = roc_auc_score(is_anomaly, -np.nan_to_num(ordinary, neginf=-1e30))
    return Row(name, detector, *few.shape, len(test), int(is_anomaly.sum()), auroc, seconds)


def key(row: Row) -> tuple[str, str]:
    return row.table, row.detector


HEADER = ["table", "rows", "columns", "anomalies in the test"]
NAMES = ("FlowOutlier", "IsolationForest", "LocalOutlierFactor", "ECOD")


def report(rows: list[Row], facts: Facts, minutes: float) -> str:
    found = {(row.table, row.detector): row for row in rows}
    detectors = [name for name in NAMES if any(row.detector == name for row in rows)]
    body = []
    for name in dict.fromkeys(row.table for row in rows):
        some = [found.get((name, detector)) for detector in detectors]
        one = next(row for row in some if row is not None)
        cells = ["" if row is None else f"{row.auroc:.3f} ({row.seconds:.0f} s)" for row in some]
        share = f"{one.anomalies:,} of {one.test:,}"
        body.append([name, f"{one.rows:,}", str(one.columns), share, *cells])
    what = (
        "Area under the ROC curve by which each detector tells anomalies from ordinary rows that "
        "it has not seen; 0.5 is chance, 1 is perfect. In brackets the seconds of a core to fit "
        f"and to score. FlowOutlier has {minutes:g} minutes of these to fit; all else is as usual."
    )
    return text("Rows that do not belong", [what], facts, ("", [*HEADER, *detectors], body))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", choices=TABLES, nargs="*", default=list(TABLES))
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=0.5)
    options = parser.parse_args()
    if not (DATA_DIR / "adbench").is_dir():
        print("skipped: there is no ../shared/data/adbench beside the repository")
        return
    results = Results(RESULTS / "anomaly.json", Row, key, lambda row: TABLES.index(row.table))
    for name in options.table:
        data = read(name, DATA_DIR)
        for detector in DETECTORS:
            new = run(name, detector, data, options.rows, options.minutes)
            results.add(new, partial(report, minutes=options.minutes))


if __name__ == "__main__":
    torch.set_num_threads(1)
    # caudal plans by the clock on the wall, which runs on while others have the core.
    time.monotonic = time.perf_counter = time.process_time
    main()
