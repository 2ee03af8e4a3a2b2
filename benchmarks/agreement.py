"""Whether the measures of samples are those of SDMetrics: the largest difference on a real table.

    pip install '.[synthetic]'
    OMP_NUM_THREADS=1 python benchmarks/agreement.py --data adult --rows 500

Both measure training rows with some columns shuffled beside test rows.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
from sdmetrics.single_column import KSComplement, TVComplement
from sdmetrics.single_table.privacy.dcr_utils import calculate_dcr

from caudal.data import Column
from caudal.report.table.closest import to_closest
from caudal.report.table.judge import factorised
from caudal.report.table.measures import shape, trend
from synthetic import DATA, Ruler
from tables import DATA_DIR


def differences(columns: tuple[Column, ...], rows: dict[str, np.ndarray]) -> dict[str, float]:
    """By how much each measure is off, at most."""
    training, test, samples = (rows[name] for name in ("training", "test", "samples"))
    names = [column.name for column in columns]
    real, drawn, records = (pd.DataFrame(x, columns=names) for x in (test, samples, training))
    words = [column.name for column in columns if column.categories is not None]
    found = {"shape": 0.0, "trend": 0.0}
    for i, column in enumerate(columns):
        theirs = (TVComplement if column.name in words else KSComplement).compute(
            real[column.name], drawn[column.name]
        )
        ours = shape((column,), test[:, i : i + 1], samples[:, i : i + 1])
        found["shape"] = max(found["shape"], abs(ours - theirs))
    for i, j in combinations(range(len(columns)), 2):
        pair = [names[i], names[j]]
        both = real[pair].copy(), drawn[pair].copy()
        if not set(pair) & set(words):
            theirs = CorrelationSimilarity.compute(*both)
        else:
            numbers = [name for name in pair if name not in words]
            theirs = ContingencySimilarity.compute(*both, continuous_column_names=numbers)
        chosen = (columns[i], columns[j])
        ours = trend(chosen, test[:, [i, j]], samples[:, [i, j]], 2)
        found["trend"] = max(found["trend"], abs((ours or 0.0) - theirs))
    kinds = {n: {"sdtype": "categorical" if n in words else "numerical"} for n in names}
    theirs = calculate_dcr(drawn, records, {"columns": kinds}).to_numpy()
    ours = to_closest(columns, samples, training, training)
    return found | {"DCR": float(np.abs(ours - theirs).max())}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", choices=DATA, nargs="*", default=list(DATA))
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--data-dir", type=Path, default=DATA_DIR)
    options = parser.parse_args()
    for name in options.data:
        ruler = Ruler(DATA[name](options.data_dir), options.rows)
        columns = ruler.schema.columns
        samples = factorised(ruler.train, len(columns) // 2)
        rows = {"training": ruler.train, "test": ruler.test, "samples": samples}
        found = differences(columns, rows)
        print(name, ", ".join(f"{measure} {value:.1e}" for measure, value in found.items()))


if __name__ == "__main__":
    main()
