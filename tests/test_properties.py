"""What holds for any data and any parameters, with the examples that hypothesis finds."""

import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from caudal.data import TableWriter, open_data, read_tables
from caudal.elementwise import CircularSpline, RationalQuadraticSpline, SoftSpline

quick = settings(derandomize=True, max_examples=15, deadline=None, database=None)

# --- what is written is read ---------------------------------------------------------------------

# A word begins with a letter, so that it is no number, no gap, and has no blank at its ends.
WORDS = st.text("xé日,;|\"'\n=", max_size=6).map(lambda text: f"w{text}w")
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**53), 2**53)
GAP = st.none()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".jsonl", ".parquet", ".feather"])
@quick
@given(
    st.lists(st.tuples(NUMBERS, WHOLE | GAP, WORDS | GAP), min_size=2, max_size=12).filter(
        lambda rows: all(any(v is not None for v in column) for column in zip(*rows, strict=True))
    )
)
def test_a_table_is_read_as_it_was_written(tmp_path_factory, suffix, rows):
    number, whole, word = (list(column) for column in zip(*rows, strict=True))
    table = pa.table({"number": pa.array(number, pa.float64()), "whole": whole, "word": word})
    path = tmp_path_factory.mktemp("read") / f"t{suffix}"
    with TableWriter(path) as writer:
        writer.write(table)
    read = pa.concat_tables(read_tables(path))
    assert [float(v) for v in read["number"].to_pylist()] == number
    assert read["whole"].to_pylist() == whole
    assert read["word"].to_pylist() == word


# --- a column holds its values -------------------------------------------------------------------


@quick
@given(
    st.one_of(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=20, max_size=40, unique=True),
        st.lists(st.integers(-1000, 1000), min_size=20, max_size=40).filter(
            lambda values: len(set(values)) > 2
        ),
        st.lists(st.sampled_from("abc"), min_size=20, max_size=40).filter(
            lambda values: len(set(values)) > 1
        ),
        st.lists(st.booleans(), min_size=20, max_size=40).filter(
            lambda values: len(set(values)) > 1
        ),
        st.lists(st.dates(), min_size=20, max_size=40, unique=True),
    )
)
def test_a_row_comes_back_from_its_numbers(values):
    """Whatever kind a column is guessed to be, decoding undoes encoding."""
    beside = [0.5 + math.sin(i) for i in range(len(values))]
    data = open_data({"v": values, "beside": beside})
    names = [column.name for column in data.schema.columns]
    if "v" not in names:
        assert any(passed.name == "v" for passed in data.schema.passed_over)
        return
    table = pa.table({"v": values, "beside": beside})
    x, _ = data.schema.encode(table)
    back = data.schema.decode(x)["v"].to_pylist()
    if isinstance(values[0], float):
        scale = max(map(abs, values)) + 1e-30
        np.testing.assert_allclose(back, values, rtol=1e-6, atol=1e-6 * scale)
    else:
        assert back == values
    column = data.schema.columns[names.index("v")]
    numbers = x[:, names.index("v")].double()
    assert column.low is None or (numbers >= column.low - 1e-6 * abs(column.low)).all()
    assert column.high is None or (numbers <= column.high + 1e-6 * abs(column.high)).all()


# --- splines -------------------------------------------------------------------------------------

SPLINES = [RationalQuadraticSpline(bins=4), SoftSpline(bins=4), CircularSpline(bins=4)]


def parameters(spline):
    """Up to very uneven splines, (1, P, 1)."""
    numbers = st.lists(st.floats(-8, 8), min_size=spline.n_params, max_size=spline.n_params)
    return numbers.map(lambda values: torch.tensor(values, dtype=torch.float64)[None, :, None])


def ends(spline):
    return (-math.pi, math.pi) if isinstance(spline, CircularSpline) else (-4.0, 4.0)


@pytest.mark.parametrize("spline", SPLINES, ids=lambda spline: type(spline).__name__)
@quick
@given(data=st.data())
def test_splines_rise_come_back_and_know_their_slope(spline, data):
    low, high = ends(spline)
    params = data.draw(parameters(spline))
    x = torch.linspace(low, high, 24, dtype=torch.float64)[1:-1, None] + 0.01  # not at a knot
    params = params.expand(len(x), -1, -1)
    z, log_det = spline.inverse(x.requires_grad_(), params)
    slope = torch.autograd.grad(z.sum(), x)[0]
    assert (slope > 0).all()
    torch.testing.assert_close(log_det, slope.log(), rtol=1e-6, atol=1e-6)
    if not isinstance(spline, CircularSpline):  # which may turn: only its slope tells
        assert (z.diff(dim=0) > 0).all()
    back, backwards = spline.forward(z.detach(), params)
    torch.testing.assert_close(back, x.detach(), rtol=0, atol=1e-6)
    torch.testing.assert_close(backwards, -log_det.detach(), rtol=1e-4, atol=1e-4)
