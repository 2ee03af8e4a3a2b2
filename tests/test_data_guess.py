"""What a column is taken for, and what it is declared to be."""

import numpy as np
import pyarrow as pa
import pytest

from caudal.data import open_data
from caudal.errors import InputError

RNG = np.random.default_rng(0)
N = 2000
NORMAL = RNG.standard_normal(N)
GUESSES = {
    "real": (NORMAL, ("real", None, None, None)),
    "skewed": (np.exp(1.5 * NORMAL), ("positive", 0.0, None, None)),
    "positive but even": (10 + NORMAL, ("real", None, None, None)),
    "nothing at times": (
        np.where(np.arange(N) < 5, 0.0, np.abs(10 + 3 * NORMAL)),
        ("real", 0.0, None, None),
    ),
    "share": (RNG.random(N), ("interval", 0.0, 1.0, None)),
    "skewed share": (np.exp(1.5 * NORMAL - 1.5 * NORMAL.max()), ("interval", 0.0, 1.0, None)),
    "small price": (
        0.8 * np.exp(1.5 * NORMAL - 1.5 * NORMAL.max()),
        ("positive", 0.0, None, None),
    ),
    "small": (np.exp(1.5 * NORMAL - 1.5 * NORMAL.max()) / 3, ("positive", 0.0, None, None)),
    "count": (RNG.poisson(4, N), ("integer", 0.0, None, 1.0)),
    "signed": (RNG.integers(-99, 99, N), ("integer", None, None, 1.0)),
    "signed codes": (RNG.integers(-9, 9, N), ("integer", -9.0, 8.0, 1.0)),
    "codes of whole floats": (RNG.integers(0, 9, N) + 0.0, ("integer", 0.0, 8.0, 1.0)),
    "stars": (RNG.integers(1, 11, N) / 2, ("real", 0.0, None, 0.5)),
    "prices": (RNG.choice([4.99, 9.99, 19.95, 129.0], N), ("categorical", 0.0, 3.0, 1.0)),
    "fives": (5 * RNG.integers(0, 99, N), ("integer", 0.0, None, 5.0)),
    "twentieths": (RNG.integers(5, 999, 60) / 20, ("real", 0.0, None, 0.05)),
    "few even numbers": (RNG.choice([4, 6, 8, 400], N), ("integer", 4.0, 400.0, 1.0)),
    "few thirds": (RNG.choice([1 / 3, 2 / 3, 5 / 7], N), ("categorical", 0.0, 2.0, 1.0)),
    "large numbers": (RNG.integers(0, 2**40, N), ("real", None, None, None)),
    "0 and 1": (RNG.integers(0, 2, N), ("categorical", 0.0, 1.0, 1.0)),
    "two floats": (RNG.choice([0.25, 1 / 3], N), ("categorical", 0.0, 1.0, 1.0)),
    "truth": (RNG.random(N) < 0.5, ("categorical", 0.0, 1.0, 1.0)),
    "words": (RNG.choice(["u", "v", "w"], N), ("categorical", 0.0, 2.0, 1.0)),
    "rounded": (np.round(NORMAL, 1), ("real", None, None, 0.1)),
    "rounded from 0": (np.round(10 + NORMAL, 2), ("real", 0.0, None, 0.01)),
    "rounded float32": (np.round(NORMAL, 1).astype("f"), ("real", None, None, 0.1)),
    "rounded and skewed": (np.round(0.2 + np.exp(2 * NORMAL), 1), ("positive", 0.0, None, 0.1)),
    "rounded without ties": (np.round(1e4 * NORMAL, 2), ("real", None, None, None)),
    "differences": (RNG.integers(0, 400, N) / 100 - 2.01, ("real", None, None, 0.01)),
    "capped": (np.minimum(RNG.integers(0, 400, N), 350), ("integer", 0.0, 350.0, 1.0)),
    "capped prices": (
        np.minimum(RNG.integers(200, 6000, N) / 20, 250.05),
        ("interval", 0.0, 250.05, 0.05),
    ),
    "capped rarely": (
        np.minimum(np.exp(NORMAL), np.exp(2.4)),
        ("interval", 0.0, float(np.exp(2.4)), None),
    ),
    "from a floor": (np.maximum(RNG.integers(-99, 300, N), -50), ("integer", -50.0, None, 1.0)),
    "ends in a rush": (np.round(100 * RNG.random(N) ** 0.5), ("integer", 0.0, None, 1.0)),
    "round numbers": (5 * RNG.poisson(8, N) + (RNG.random(N) < 0.2), ("integer", 0.0, None, 1.0)),
    "coarse float32": ((1e5 + NORMAL).astype("f"), ("real", None, None, None)),
}


@pytest.mark.parametrize("name", GUESSES)
def test_guess(name):
    values, expected = GUESSES[name]
    column = open_data(pa.table({"v": values})).schema.columns[0]
    assert (column.kind, column.low, column.high, column.step) == expected
    assert not column.missing


def test_ten_thousand_words_are_categories_and_the_frequent_ones_come_first():
    words = np.char.add("w", (RNG.zipf(1.3, 40_000) % 5000).astype(str))
    found = open_data(pa.table({"word": words, "v": RNG.standard_normal(40_000)}))
    (word, _) = found.schema.columns
    different, counts = np.unique(words, return_counts=True)
    assert 1000 < len(different) == len(word.categories)
    assert word.categories[0] == different[counts.argmax()]
    with pytest.raises(InputError, match="looks like an identifier"):
        open_data(pa.table({"word": np.append(different, different[:9])}))


def test_missing_numbers_are_marked_and_missing_words_are_a_category():
    table = pa.table({"v": [1.5, None, 2.5, 0.5] * 20, "s": ["b", None, "a", "b"] * 20})
    number, word = open_data(table, missing="model").schema.columns
    assert number.missing
    assert word.categories == ("a", "b", None)
    assert not word.missing


def test_only_columns_with_gaps_may_be_missing():
    table = pa.table({"v": [1.5, None, 2.5, 0.5] * 20, "w": [1.5, 3.5, 2.5, 0.5] * 20})
    assert [c.missing for c in open_data(table, missing="model").schema.columns] == [True, False]


DECLARED = {
    "real": ("real", None, None, None),
    "positive": ("positive", 0.0, None, None),
    "positive:0.5": ("positive", 0.0, None, 0.5),
    "interval[0,10]": ("interval", 0.0, 10.0, None),
    "interval[-1, 10]": ("interval", -1.0, 10.0, None),
    "interval[0,10]:0.5": ("interval", 0.0, 10.0, 0.5),
    "integer": ("integer", 0.0, None, 1.0),
    "integer[0,120]": ("integer", 0.0, 120.0, 1.0),
    "integer[0,]": ("integer", 0.0, None, 1.0),
    "integer[,99]": ("integer", None, 99.0, 1.0),
    "real:0.1": ("real", None, None, 0.1),
    "categorical": ("categorical", 0.0, 3.0, 1.0),
    "real@7,2": ("real", None, None, None),
    "positive@7": ("positive", 0.0, None, None),
}


@pytest.mark.parametrize("kind", DECLARED)
def test_declared(kind):
    table = pa.table({"a=b": [1, 4, 2, 7] * 20})
    column = open_data(table, types=[f"a=b={kind}"]).schema.columns[0]
    assert (column.kind, column.low, column.high, column.step) == DECLARED[kind]
    assert column.dtype == "int64"


BAD_TYPES = {
    "v": "write name=kind",
    "w=real": "no column 'w' in use; there are v",
    "v=reel": "unknown kind 'reel'; kinds are real, positive",
    "v=interval": "needs both ends",
    "v=interval[1,0]": "lower end 1 must be below the upper end 0",
    "v=interval[0,x]": "'x' is not a number",
    "v=interval[0,inf]": "'inf' is not a number",
    "v=interval[0,1]:0.3": "not a whole number of steps",
    "v=real[0,1]": "real takes no ends",
    "v=real:-1": "a step is a number above 0",
    "v=categorical:1": "a step is",
    "v=integer[0.5,3]": "whole numbers",
    "v=integer@4": "only continuous columns have atoms",
    "v=real@x": "'x' is not a number",
}


@pytest.mark.parametrize("text", BAD_TYPES)
def test_bad_declarations(text):
    with pytest.raises(InputError, match=BAD_TYPES[text]):
        open_data(pa.table({"v": [1.0, 2.0, 4.0] * 30}), types=[text])


OUTSIDE = {
    "v=positive": "row 2, column 'v': 0 is not above 0",
    "v=interval[0,1]": "row 3, column 'v': 2.5 is above 1",
    "v=integer[1,9]": "row 2, column 'v': 0 is below 1",
    "v=integer": "row 3, column 'v': 2.5 is no multiple of 1",
    "v=real:0.2": "row 3, column 'v': 2.5 is no multiple of 0.2",
}


@pytest.mark.parametrize("text", OUTSIDE)
def test_values_are_held_to_what_is_declared(text):
    with pytest.raises(InputError, match=OUTSIDE[text]):
        open_data(pa.table({"v": [1.0, 0.0, 2.5, 4.0] * 30}), types=[text])


def heaped(n=2000):
    """An amount of which 0.7 are 0, one that ends at 5, and one of which some are 99."""
    some, rest = RNG.random(n), RNG.lognormal(0, 1, n)
    return {
        "zeros": np.where(some < 0.7, 0.0, rest),
        "cap": np.minimum(rest, 5.0),
        "unknown": np.where(some < 0.08, 99.0, 20 + rest),
        "shares": np.where(some < 0.2, 0.0, np.where(some > 0.8, 1.0, some)),
        "smooth": rest,
        "cents": np.round(np.where(some < 0.2, 20.0, 900 * rest), 2),
    }


def test_values_with_a_probability_of_their_own_are_atoms():
    columns = {c.name: c for c in open_data(pa.table(heaped())).schema.columns}
    assert {name: column.atoms for name, column in columns.items()} == {
        "zeros": (0.0,),
        "cap": (5.0,),
        "unknown": (99.0,),
        "shares": (0.0, 1.0),
        "smooth": (),
        "cents": (),  # a value in steps has a probability already
    }
    ends = {name: (c.kind, c.low, c.high) for name, c in columns.items()}
    assert ends["zeros"] == ("real", 0.0, None)
    assert ends["cap"] == ("interval", 0.0, 5.0)
    assert ends["unknown"] == ("interval", 0.0, 99.0)
    assert ends["shares"] == ("interval", 0.0, 1.0)
    assert columns["zeros"].support == "[0, inf), atoms 0"


def test_an_atom_may_lie_outside_of_what_is_declared():
    found = open_data(pa.table(heaped()), columns=["zeros"], types=["zeros=positive@0"])
    (column,) = found.schema.columns
    assert (column.kind, column.low, column.atoms) == ("positive", 0.0, (0.0,))
    back = found.schema.decode(found.test.x)["zeros"].to_numpy()
    assert np.array_equal(back.astype("f"), found.test.x[:, 0].numpy())


def test_a_column_is_declared_once():
    with pytest.raises(InputError, match="declared twice"):
        open_data(pa.table({"v": [1.0, 2.0] * 30}), types=["v=real", "v=positive"])


def test_a_declared_lattice_may_be_constant():
    found = open_data(pa.table({"v": [0, 0] * 30}), types=["v=integer[0,16]"])
    assert found.schema.columns[0].high == 16


def test_repeated_values_in_a_continuous_column_are_noted():
    values = RNG.choice(RNG.random(100), 500)
    (note,) = open_data(pa.table({"shares": values})).notes
    assert "often repeat: shares" in note


def test_a_word_among_numbers_is_noted():
    (note,) = open_data(pa.table({"age": [*"123456789", "unknown"] * 10})).notes
    assert "table, row 10, column 'age' is 'unknown' though most values there are numbers" in note


def test_the_summary_has_a_row_for_each_column():
    table = pa.table({"n": [4.0, None, 2.5, 0.25] * 25, "s": ["b", "b", "a", "c"] * 25})
    found = open_data(table, missing="model", context=["s"], types=["n=positive"])
    number, word = found.summary
    assert (number.role, number.kind, number.source) == ("event", "positive", "declared")
    assert (number.missing, number.low, number.median, number.high) == (0.25, 0.25, 2.5, 4.0)
    assert (word.role, word.kind, word.source) == ("context", "categorical", "guessed")
    assert word.top == (("b", 0.5), ("a", 0.25), ("c", 0.25))
    assert number.values == "0.25 .. 2.5 .. 4"
    assert word.values == "b 50%, a 25%, c 25%"


def test_statistics_do_not_depend_on_how_the_file_is_cut():
    from caudal.data.table.stats import SAMPLE, Stats

    values = np.exp(RNG.standard_normal(3 * SAMPLE))
    rows = np.arange(len(values))
    whole, parts = Stats(), Stats()
    whole.add_numbers(values, rows, 2e-16)
    for some in np.array_split(rows, 7):
        parts.add_numbers(values[some], some, 2e-16)
    centred = values - values.mean()
    assert whole.skewness == pytest.approx((centred**3).mean() / values.std() ** 3)
    assert parts.skewness == pytest.approx(whole.skewness)
    assert parts.mean == pytest.approx(values.mean())
    assert len(parts.sample) == SAMPLE
    assert sorted(parts.sample) == sorted(whole.sample)
