"""Dates, times of day and durations: found in text and arrow types, counted, and written back."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.data import TableSchema, TableWriter, open_data
from caudal.data.table.date_formats import find_format
from caudal.data.table.dates import parse, write
from caudal.data.table.listed import write_columns
from caudal.errors import InputError

RNG = np.random.default_rng(0)
N = 400
SECONDS = pd.Timestamp("2021-01-01") + pd.to_timedelta(RNG.integers(0, 9 * 10**7, N), "s")
FORMATS = (
    *("%Y-%m-%d", "%m/%d/%Y", "%-d/%-m/%Y", "%d.%m.%Y", "%d-%b-%y", "%b %d, %Y", "%B %-d, %Y"),
    *("%Y-%m", "%b %Y", "%H:%M", "%I:%M %p", "%-m/%-d/%y %H:%M", "%Y-%m-%d %H:%M:%S"),
    *("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S+02:00", "%d/%m/%Y %-I:%M:%S %p"),
)


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_is_found_and_written_back(form):
    texts = pa.array(SECONDS.strftime(form).tolist())
    assert find_format(texts.unique()) == (form, None)
    assert write(parse(texts, form), form).equals(texts)


DURATIONS = {
    "%Th %Mm": ["7h 01m", "26h 50m", "19h 00m"],
    "{%Th }{%-Mm}": ["2h 50m", "19h", "45m", "0m", "1h 5m"],
    "%T hr{ %M min}": ["1 hr 20 min", "2 hr", "30 hr 05 min"],
    "{%Th }%-Mm{ %-Ss}": ["5m", "1h 20m 3s", "20m 3s"],
    "%T:%M:%S": ["26:02:03", "4:22:10"],
    "%Th%Mm": ["2h50m", "10h05m"],
}


@pytest.mark.parametrize("form", DURATIONS)
def test_durations_in_text_are_found_and_written_back(form):
    texts = pa.array(DURATIONS[form])
    assert find_format(texts) == (form, None)
    assert parse(texts, form).type == pa.duration("us")
    assert write(parse(texts, form), form).equals(texts)


SIGNED = {
    "%T:%M": ["-0:30", "-1:30", "0:00", "25:00"],
    "%U:%S": ["-90:00", "-0:30"],
    "{%Th}{ %Mm}": ["-30m", "-1h 30m", "00m", "45m", "25h"],
    "{%Th }{%-Mm}": ["-5m", "-25h", "0m", "1h 5m"],
    "{%Th }%-Mm{ %-Ss}": ["-1h 0m 3s", "0m", "25h 0m"],
    "%N days %H:%M": ["-1 days 23:30", "0 days 00:00"],
}


@pytest.mark.parametrize("form", SIGNED)
def test_durations_of_nothing_and_below_are_written_back(form):
    texts = pa.array(SIGNED[form])
    assert write(parse(texts, form), form).equals(texts)
    assert parse(pa.array(["-"]), form).null_count == 1
    numbers = parse(texts, form).cast(pa.int64()).to_pylist()
    assert [n < 0 for n in numbers] == [t.startswith("-") for t in SIGNED[form]]


def test_a_column_of_durations_is_one_of_numbers(tmp_path):
    minutes = RNG.integers(0, 40 * 60, N)
    texts = [f"{m // 60}h {m % 60:02d}m" for m in minutes]
    data = open_data({"took": texts, "x": RNG.normal(size=N)})
    column, _ = (schema := data.schema).columns
    assert (column.kind, column.unit, column.low, column.step) == ("datetime", "minute", 0, 1)
    assert all(" days" not in word and "h " in word for word in data.summary[0].words)
    rows = pa.table({"took": texts, "x": [0.5] * N})
    assert schema.decode(schema.encode(rows)[0])["took"].to_pylist() == texts


def test_numbers_from_10_on_are_written_as_those_beside_them():
    assert find_format(pa.array(["11/6/2018", "12/20/2018"]))[0] == "%-m/%-d/%Y"
    assert find_format(pa.array(["11/20/2018", "12/21/2018"]))[0] == "%m/%d/%Y"


OTHERS = ["192.168.1.1"], ["1-2", "3-4"], ["12 kg"], ["A-1"], ["1.5"], ["555-1234"], ["2024"]


@pytest.mark.parametrize("texts", [*OTHERS, ["45m", "30m"]])
def test_other_texts_have_no_format_of_dates(texts):
    assert find_format(pa.array(texts)) is None


def test_no_date_is_made_of_a_day_that_is_none():
    assert parse(pa.array(["2023-02-29", "2024-02-29", "x"]), "%Y-%m-%d").null_count == 2


def table():
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.integers(0, 60, N), "D")
    return pd.DataFrame(
        {
            "day": days,
            "moment": days[::-1] + pd.to_timedelta(RNG.integers(0, 86400, N), "s"),
            "zoned": days[RNG.permutation(N)].tz_localize("Europe/Berlin") + pd.Timedelta("8h"),
            "quarter": days[RNG.permutation(N)]
            + pd.to_timedelta(15 * RNG.integers(0, 96, N), "min"),
            "wait": pd.to_timedelta(RNG.integers(0, 500, N), "min"),
        }
    )


FOUND = {
    "day": ("day", 1.0),
    "moment": ("second", 1.0),
    "zoned": ("day", 1.0),
    "quarter": ("minute", 15.0),
    "wait": ("minute", 1.0),
}


@pytest.mark.parametrize("container", ["pandas", "polars", "parquet", "csv"])
def test_dates_are_counted_at_their_resolution_whatever_holds_them(container, tmp_path):
    data = table()
    if container == "csv":
        data.to_csv(tmp_path / "t.csv", index=False)
    if container == "parquet":
        pq.write_table(pa.Table.from_pandas(data), tmp_path / "t.parquet")
    held = {"pandas": data, "polars": pl.from_pandas(data)}
    found = open_data(held.get(container, str(tmp_path / f"t.{container}")))
    columns = {c.name: (c.kind, c.unit, c.step) for c in found.schema.columns}
    expected = {name: ("datetime", *rest) for name, rest in FOUND.items()}
    expected["zoned"] = ("datetime", "hour", 24.0)
    assert columns == expected
    rows = open_data(
        held.get(container, str(tmp_path / f"t.{container}")), split=(0.5, 0.25, 0.25)
    )
    back = rows.schema.decode(rows.train.x)
    source = rows.schema.encode(back)[0]
    assert np.array_equal(source.numpy(), rows.train.x.numpy())
    whole = {"pandas": data, "polars": data}.get(container)
    if whole is not None:
        assert set(back["moment"].to_pylist()) <= set(whole["moment"].dt.to_pydatetime())


def test_a_column_of_dates_samples_back_what_it_holds(tmp_path):
    texts = pa.table({"day": SECONDS.strftime("%d.%m.%Y").tolist(), "v": RNG.normal(size=N)})
    found = open_data(texts)
    (day, _), back = found.schema.columns, found.schema.decode(found.test.x)
    assert (day.format, day.dtype, day.low) == ("%d.%m.%Y", "string", None)
    assert set(back["day"].to_pylist()) <= set(texts["day"].to_pylist())
    assert day.words(0.0) == str(SECONDS.min().date())
    again = TableSchema.from_dict(found.schema.to_dict())
    assert again == found.schema


def test_months_are_counted_as_months():
    months = pd.date_range("1949-01-01", periods=144, freq="MS")
    (column,) = open_data(pd.DataFrame({"month": months})).schema.columns
    assert (column.unit, column.step, column.offset) == ("month", 1.0, (1949 - 1970) * 12)


def test_moments_that_32_bits_cannot_count_are_continuous_and_come_back_rounded():
    us = pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.integers(0, 10**13, N), "us")
    found = open_data(pd.DataFrame({"t": us}))
    (column,) = found.schema.columns
    assert (column.unit, column.step) == ("microsecond", None)
    back = found.schema.decode(found.train.x)["t"].to_pandas()
    near = np.abs(back.to_numpy()[:, None] - us.to_numpy()).min(1)
    assert near.max() < np.timedelta64(2, "s")


def test_times_of_day_stay_within_the_day():
    (column,) = open_data({"t": pa.array(SECONDS.time)}).schema.columns
    assert (column.unit, column.low, column.high) == ("second", 0.0, 86399.0)


def test_days_and_months_that_may_be_either_are_noted_and_can_be_set():
    texts = [f"{a:02d}/{b:02d}/2024" for a in range(1, 11) for b in range(1, 11)]
    found = open_data({"day": texts})
    assert found.schema.columns[0].format == "%m/%d/%Y"
    assert "`types` day=datetime:%d/%m/%Y" in found.notes[0]
    other = open_data({"day": texts}, types=["day=datetime:%d/%m/%Y"])
    assert other.schema.columns[0].format == "%d/%m/%Y"
    assert other.notes == ()


def test_four_formats_of_days_in_one_column_are_dates():
    days = pd.date_range("2024-01-01", periods=400)
    forms = ("%Y-%m-%d", "%d/%m/%Y", "%d %b %Y", "%B %d, %Y")
    values = pa.array([day.strftime(forms[i % 4]) for i, day in enumerate(days)])
    found = find_format(values)
    assert found is not None
    assert parse(values, found[0]).to_pylist() == days.to_pydatetime().tolist()


def test_of_several_formats_the_one_that_may_be_either_is_noted_in_its_place():
    either = [f"{a:02d}/{b:02d}/2024" for a in range(1, 11) for b in range(1, 11)]
    found = open_data({"day": [*either, *(f"2024-03-{day:02d}" for day in range(1, 31))]})
    assert found.schema.columns[0].format == "%m/%d/%Y | %Y-%m-%d"
    assert "`types` 'day=datetime:%d/%m/%Y | %Y-%m-%d'" in found.notes[0]


def test_days_and_months_in_both_orders_are_no_dates():
    texts = [f"{d:02d}/{m:02d}/2024" for d in range(13, 28) for m in range(1, 13)]
    swapped = ["/".join((m, d, year)) for d, m, year in (text.split("/") for text in texts)]
    assert find_format(pa.array([*texts, *swapped])) is None


def test_what_is_no_date_among_dates_counts_as_missing_and_is_noted():
    texts = [*SECONDS.strftime("%Y-%m-%d"), "unknown"]
    found = open_data({"day": texts}, missing="drop")
    assert any("'unknown' is not in the format %Y-%m-%d" in note for note in found.notes)
    assert found.train.n_rows + found.valid.n_rows + found.test.n_rows == N
    with pytest.raises(
        InputError, match="table, row 2, column 'day': 'soon' is not in the format"
    ):
        found.schema.encode({"day": [texts[0], "soon"]})


def test_a_context_of_dates_is_read_in_its_own_format_and_in_that_of_iso():
    data = pa.table({"day": SECONDS.strftime("%d/%m/%Y").tolist(), "v": RNG.normal(size=N)})
    schema = open_data(data, context=["day"]).schema
    both = schema.encode_context({"day": ["31/12/2022", "2022-12-31"]})
    assert both[0] == both[1]
    dated = schema.encode_context({"day": pa.array([pd.Timestamp("2022-12-31")])})
    assert dated[0] == both[0]
    with pytest.raises(InputError, match="column 'day' holds int64"):
        schema.encode_context({"day": [20221231]})


def test_dates_are_written_to_text_without_what_none_needs(tmp_path):
    data = pa.Table.from_pandas(table())
    with TableWriter(tmp_path / "t.csv") as writer:
        writer.write(data)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    first = data.slice(0, 1).to_pylist()[0]
    day, moment, _, _, wait = lines[1].split(",")
    assert day == str(first["day"].date())
    assert moment == str(first["moment"])
    assert wait.startswith("0 days ")


@pytest.mark.parametrize(
    ("types", "words"),
    [
        ("v=datetime", "column 'v' holds no dates in a format that is known"),
        ("v=datetime:%Q", "%Q is none of %Y %y"),
        ("v=datetime:%d/%m/%Y %T", "%T is of durations, and takes no %d beside it"),
        ("v=datetime:%N %T", "%N is of durations, and takes no %T beside it"),
        ("v=datetime:%U:%M", "%U is of durations, and takes no %M beside it"),
        ("v=datetime:{%Th}{.%f}", ".%f cannot be in braces"),
        ("v=datetime:day", "names each part of a date once"),
    ],
)
def test_what_is_declared_a_date_must_be_one(types, words):
    with pytest.raises(InputError, match=words):
        open_data({"v": ["a", "b"] * 30, "w": RNG.normal(size=60)}, types=[types])


@pytest.mark.parametrize("form", ["%H:%M", None])
def test_times_of_day_go_around_midnight_where_that_is_declared(form, tmp_path):
    """Half of the times are before midnight and half behind: linear, they lie at both ends."""
    minutes = (RNG.normal(0, 40, N).round().astype(int)) % 1440
    times = pa.array((minutes * 60).astype(np.int32)).cast(pa.time32("s"))
    if form:
        times = pa.array([f"{m // 60:02d}:{m % 60:02d}" for m in minutes])
    table = pa.table({"at": times, "x": RNG.normal(size=N)})
    plain = open_data(table)
    assert any("before and after midnight" in note for note in plain.notes)
    data = open_data(table, types=["at=circular"])
    column = data.schema.columns[0]
    assert (column.kind, column.unit, column.period, column.step) == (
        "circular",
        "minute",
        1440,
        1,
    )
    assert not any("midnight" in note for note in data.notes)
    assert data.schema.decode(data.schema.encode(table)[0])["at"].to_pylist() == times.to_pylist()
    (tmp_path / "columns.yaml").write_text(write_columns(data.schema, data.summary))
    again = open_data(table, types_from=str(tmp_path / "columns.yaml"))
    assert again.schema.columns[0] == column


def test_what_is_no_time_of_day_needs_the_ends_of_its_circle(tmp_path):
    table = {"day": SECONDS.strftime("%Y-%m-%d").tolist(), "x": RNG.normal(size=N)}
    with pytest.raises(InputError, match="'day': dates and durations do not go around"):
        open_data(table, types=["day=circular"])
    with pytest.raises(InputError, match="`types` x=circular: a circle needs both ends"):
        open_data(table, types=["x=circular"])
    path = tmp_path / "columns.yaml"
    path.write_text("x: {kind: circular}")
    with pytest.raises(InputError, match="`types_from`, column 'x': a circle needs both ends"):
        open_data(table, types_from=str(path))
