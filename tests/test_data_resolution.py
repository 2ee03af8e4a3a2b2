"""Numbers far from 0 are counted from an offset, so that 32 bits tell them apart."""

import re

import numpy as np
import pyarrow as pa
import pytest

from caudal.data import open_data
from caudal.errors import InputError

RNG = np.random.default_rng(0)
SECONDS = 1_700_000_000 + np.sort(RNG.choice(60_000, 2000, replace=False))
NORMAL = RNG.standard_normal(2000)
FAR = {
    "seconds": (SECONDS, []),
    "milliseconds": (SECONDS + np.round(NORMAL, 3), []),
    "normal": (1e9 + 9e2 * NORMAL, []),
    "hardly any spread": (1e9 + 1e-3 * NORMAL, []),
    "declared seconds": (SECONDS, ["v=integer"]),
    "declared ends": (SECONDS, ["v=integer[1700000000,1700060000]"]),
    "declared steps": (1e6 + np.round(NORMAL, 2), ["v=real:0.01"]),
    "skewed": (1e9 + np.exp(NORMAL), []),
}
NEAR = {
    "many rows": 1.7 + 0.1 * RNG.standard_normal(200_000),
    "large and wide": RNG.integers(0, 2**40, 2000),
    "skewed money in cents": np.rint(np.exp(14 + NORMAL)).astype(int),
    "seconds since a start": SECONDS - SECONDS[0],
    "coarse already": (1e5 + NORMAL).astype("f"),
}


@pytest.mark.parametrize("name", FAR)
def test_values_that_would_fall_together_have_an_offset(name):
    values, types = FAR[name]
    found = open_data(pa.table({"v": values, "row": 7 + np.arange(2000)}), types=types)
    x = found.train.x
    assert found.schema.columns[0].offset != 0
    assert found.notes == ()
    back = found.schema.decode(x)["v"].to_numpy()
    true = values[found.schema.decode(x)["row"].to_numpy() - 7]
    close = 1e-6 * (values.max() - values.min()) + 2 * np.spacing(values.max() * 1.0)
    assert np.abs(back - true).max() <= (0 if values.dtype.kind == "i" else close)


@pytest.mark.parametrize("name", NEAR)
def test_other_values_have_none(name):
    (column,) = open_data(pa.table({"v": NEAR[name]})).schema.columns
    assert column.kind in ("real", "positive", "integer")
    assert column.offset == 0


def test_values_that_no_offset_tells_apart_are_noted():
    values = np.concatenate([[0.0], 1e12 + NORMAL])
    *_, note = open_data(pa.table({"v": values})).notes
    assert re.match(r"'v' is taken as continuous: of \d+ different values 32 bits tell 2 ap", note)


def test_steps_that_32_bits_cannot_tell_apart_are_refused():
    table = pa.table({"v": RNG.integers(0, 2**40, 2000)})
    with pytest.raises(InputError, match="column .v.: 32 bits cannot tell steps of 1 apart"):
        open_data(table, types=["v=integer"])


def test_a_lattice_may_begin_anywhere():
    values = 7 + 25 * RNG.integers(0, 200, 2000)
    signed = values - 2500
    (column,) = open_data(pa.table({"v": signed})).schema.columns
    assert (column.step, column.offset, column.low) == (25, 7, None)
    found = open_data(pa.table({"v": values}))
    (column,) = found.schema.columns
    assert (column.step, column.offset, column.low, column.support) == (25, 0, 7, "[7, inf)")
    assert np.isin(found.schema.decode(found.test.x)["v"].to_numpy(), values).all()


def test_the_context_is_counted_from_an_offset_too():
    found = open_data(pa.table({"t": SECONDS, "v": NORMAL}), context=["t"])
    told = found.schema.encode_context({"t": SECONDS[:2]})
    assert (told[:, 0].double() + found.schema.context[0].offset).tolist() == SECONDS[:2].tolist()
    with pytest.raises(InputError, match=r"1700000011\.5 is no multiple of 1"):
        found.schema.encode_context({"t": SECONDS[:2] + 0.5})
