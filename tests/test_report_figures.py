"""Numbers of the data beside those of samples, and what is said where they differ."""

import numpy as np
import pyarrow as pa
import pytest

from caudal.data import open_data
from caudal.report.table.comparison import Comparison
from caudal.report.table.figures import Figures, differences, numbers_section

RNG = np.random.default_rng(0)
DATA = RNG.normal(10, 2, 4000)
SAMPLES = {
    "alike": (RNG.normal(10, 2, 4000), []),
    "shifted": (RNG.normal(10.5, 2, 4000), ["mean"]),
    "wider": (RNG.normal(10, 3, 4000), ["deviation"]),
    "zeros": (np.where(RNG.random(4000) < 0.08, 0, DATA), ["mean", "deviation", "zeros"]),
    "far out": (np.append(RNG.normal(10, 2, 3999), 60), ["maximum"]),
    "far down": (np.append(RNG.normal(10, 2, 3999), -60), ["minimum"]),
    "nothing": (np.full(4000, np.nan), ["values"]),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_what_differs_is_named(name):
    samples, expected = SAMPLES[name]
    assert differences(Figures.of(DATA), Figures.of(samples)) == expected


def test_few_rows_differ_by_chance():
    data, samples = (Figures.of(RNG.normal(size=30)) for _ in "ab")
    assert differences(data, samples) == []


def test_the_worst_column_stands_first_and_gaps_do_not_count():
    table = pa.table(
        {"a": [1.5, 2.5, None, 0.0] * 20, "b": [1, 2, 3, 5] * 20, "c": [*"uvwx"] * 20}
    )
    schema = open_data(table, missing="model").schema
    data = schema.encode(table)[0].double().numpy()
    samples = data.copy()
    samples[:, 1] += 40
    (section,) = numbers_section(Comparison(schema, data, samples, None, "80 rows"))
    rows = section.blocks[0].rows
    assert [row[0] for row in rows] == ["b", "", "a", ""]
    assert [row[1] for row in rows[:2]] == ["data", "samples"]
    assert rows[0][2:] == ["2.75", "1.479", "1", "5", "", "4", "mean, maximum"]
    assert rows[2][2:] == ["1.3333", "1.0274", "0", "2.5", "33.3%", "3", ""]
