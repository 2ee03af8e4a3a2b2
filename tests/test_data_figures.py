"""Numbers as people write them: found, read, and written again in samples."""

import numpy as np
import pyarrow as pa
import pytest

from caudal.data import open_data
from caudal.data.table.figures import find_format, parse, write

RNG = np.random.default_rng(0)
MONEY = RNG.lognormal(6, 2, 300)
SIGNED = MONEY * np.where(RNG.random(300) < 0.3, -1, 1)


def swapped(text):
    return text.replace(",", "_").replace(".", ",").replace("_", ".")


WRITTEN = {
    "$#,##0.00": [f"${v:,.2f}" for v in MONEY],
    "0.0%": [f"{v:.1f}%" for v in MONEY],
    "#,##0": [f"{v:,.0f}" for v in 100 * MONEY],
    "#.##0,00 €": [swapped(f"{v:,.2f} €") for v in MONEY],
    "0,00": [swapped(f"{v:.2f}") for v in MONEY],
    "0.# kg": [f"{v:g} kg" for v in np.round(np.clip(MONEY, 1, 9999), 1)],
    "EUR 0.00": [f"EUR {v:.2f}" for v in MONEY],
    "0km/h": [f"{v:.0f}km/h" for v in MONEY],
    "# ##0": [f"{v:,.0f}".replace(",", " ") for v in 100 * MONEY],
    "$#,##0.00;($#,##0.00)": [f"(${-v:,.2f})" if v < 0 else f"${v:,.2f}" for v in SIGNED],
    "$#,##0.00;$-#,##0.00": [f"${v:,.2f}" for v in SIGNED],
    "+0.0%;-0.0%": [f"{v:+.1f}%" for v in SIGNED],
}


@pytest.mark.parametrize("form", WRITTEN)
def test_a_format_is_found_read_and_written_back(form):
    texts = pa.array(WRITTEN[form])
    assert find_format(texts.unique()) == form
    numbers = parse(texts, form).to_numpy()
    assert np.isfinite(numbers).all()
    assert write(numbers, form) == WRITTEN[form]


@pytest.mark.parametrize(
    "texts",
    [
        ["A1", "A2"],
        ["1.5", "2.5"],
        ["10-20"],
        ["1.2.3"],
        ["1st", "2nd"],
        ["3x4"],
        ["12345"],
        ["x"],
    ],
)
def test_other_texts_have_none(texts):
    assert find_format(pa.array(texts)) is None


def test_a_column_of_prices_is_numbers_and_its_samples_are_prices():
    table = pa.table({"price": WRITTEN["$#,##0.00"], "share": [f"{v:.1f}%" for v in MONEY % 100]})
    found = open_data(table)
    price, share = found.schema.columns
    assert (price.kind, price.dtype, price.format) == ("positive", "string", "$#,##0.00")
    assert (share.kind, share.low, share.high) == ("interval", 0.0, 100.0)
    back = found.schema.decode(found.train.x)["price"].to_pylist()
    assert sum(text in WRITTEN["$#,##0.00"] for text in back) >= 0.99 * len(back)
    assert "`types` price=categorical" in found.notes[0]


def test_the_flag_of_the_note_undoes_it():
    texts = RNG.choice(["5 %", "10 %", "19 %"], 300)
    assert open_data({"rate": texts}).schema.columns[0].kind == "integer"
    (column,) = open_data({"rate": texts}, types=["rate=categorical"]).schema.columns
    assert column.categories == ("10 %", "19 %", "5 %")


def test_what_is_no_number_among_prices_counts_as_missing():
    texts = [*WRITTEN["$#,##0.00"], "on request"]
    found = open_data({"price": texts}, missing="model")
    (column,) = found.schema.columns
    assert column.missing
    assert any("'on request' is not in the format $#,##0.00" in note for note in found.notes)
    assert np.isnan(found.schema.encode({"price": ["on request", "$1.00"]})[0][0, 0])
