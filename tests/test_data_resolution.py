"""Values that 32 bits cannot tell apart are refused, not merged in silence."""

import numpy as np
import pyarrow as pa
import pytest

from caudal.data import open_data
from caudal.errors import InputError

RNG = np.random.default_rng(0)
SECONDS = 1_700_000_000 + np.sort(RNG.choice(60_000, 2000, replace=False))
NORMAL = RNG.standard_normal(2000)
MERGED = {
    "seconds": (SECONDS, [], r"different values such as 17000\d+ 32 bits tell only \d+ apart"),
    "milliseconds": (SECONDS + np.round(NORMAL, 3), [], "32 bits tell only"),
    "a far offset": (1e9 + 9e2 * NORMAL, [], "32 bits tell only"),
    "no spread left": (1e9 + 1e-3 * NORMAL, [], "constant in 32 bits"),
    "declared seconds": (SECONDS, ["v=integer"], "cannot tell steps of 1 apart"),
    "declared steps": (1e6 + np.round(NORMAL, 2), ["v=real:0.01"], "steps of 0.01 apart"),
}
KEPT = {
    "many rows": 1.7 + 0.1 * RNG.standard_normal(200_000),
    "large and wide": RNG.integers(0, 2**40, 2000),
    "skewed money in cents": np.rint(np.exp(14 + NORMAL)).astype(int),
    "seconds since a start": SECONDS - SECONDS[0],
    "coarse already": (1e5 + NORMAL).astype("f"),
}


@pytest.mark.parametrize("name", MERGED)
def test_values_that_fall_together_are_refused(name):
    values, types, words = MERGED[name]
    with pytest.raises(InputError, match=f"table, column 'v'.*{words}.*subtract an offset such"):
        open_data(pa.table({"v": values}), types=types)


@pytest.mark.parametrize("name", KEPT)
def test_values_that_stay_apart_are_taken(name):
    table = pa.table({"v": KEPT[name]})
    assert open_data(table).schema.columns[0].kind in ("real", "positive", "integer")


def test_context_is_held_to_it_too():
    table = pa.table({"t": SECONDS, "v": NORMAL})
    with pytest.raises(InputError, match="column 't'"):
        open_data(table, context=["t"])
