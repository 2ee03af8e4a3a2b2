"""Tables as people keep them: titles, units, totals, sentinels, mixed dates, kept formats."""

import csv
import io
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from torch import nn

import caudal
from caudal.bijections import Gaussianise
from caudal.cli.train import read_options
from caudal.data import TableWriter, open_data, open_images
from caudal.modality import modality
from caudal.model.choices import in_pieces, suited
from caudal.model.settings import settings
from caudal.training.processes import as_launched

RNG = np.random.default_rng(0)
ROWS = 60
KINDS = [f"{'abc'[i % 3]}{i % 2}" for i in range(ROWS)]


def write(tmp_path, lines, name="t.csv"):
    (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(tmp_path / name)


def kinds(found):
    return {c.name: c.kind for c in found.schema.columns}


def back(found, tmp_path):
    """The training rows as a file of samples would have them: header, and a row a line."""
    path = tmp_path / "back.csv"
    with TableWriter(path, found.schema.written) as writer:
        writer.write(found.schema.decode(found.train.x))
    text = path.read_text("utf-8")
    return list(csv.reader(io.StringIO(text), delimiter=found.schema.written.delimiter))


def test_titles_filled_up_with_delimiters_are_above_the_header(tmp_path):
    titles = ["Statement;;", "Account;DE00 1234;", ";;", "Day;What;Amount"]
    rows = [f"{i % 28 + 1:02d}.03.2024;{KINDS[i]};{i * 7 % 50},{i % 10}0" for i in range(ROWS)]
    found = open_data(write(tmp_path, [*titles, *rows, "Summe;;12,00"]))
    assert kinds(found) == {"Day": "datetime", "What": "categorical", "Amount": "real"}
    assert found.train.n_rows + found.valid.n_rows + found.test.n_rows == ROWS
    assert any("3 lines above the table" in note for note in found.notes)


def test_a_header_with_an_empty_name_is_no_title(tmp_path):
    rows = [f"{i},{KINDS[i]},{i * 3 % 7}" for i in range(ROWS)]
    found = open_data(write(tmp_path, [",kind,n", *rows]))
    assert kinds(found) == {"kind": "categorical", "n": "integer"}


def test_units_below_the_header_are_no_row(tmp_path):
    rows = [f"{50 + i % 17}.5,{150 + i % 31},{KINDS[i]}" for i in range(ROWS)]
    found = open_data(write(tmp_path, ["weight,height,who", "kg,cm,-", *rows]))
    assert found.train.n_rows + found.valid.n_rows + found.test.n_rows == ROWS
    assert any("words over numbers, 'kg cm -'" in note for note in found.notes)


@pytest.mark.parametrize("first", ["x,unknown,unknown", ",unknown,unknown", "x,unknown,refused"])
def test_a_first_row_without_numbers_is_a_row(tmp_path, first):
    rows = [f"{KINDS[i]},{i % 9},{i * 5 % 23}" for i in range(ROWS)]
    found = open_data(write(tmp_path, ["kind,n,m", first, *rows]), missing="model")
    assert found.train.n_rows + found.valid.n_rows + found.test.n_rows == ROWS + 1


def test_totals_below_a_table_are_no_row_unless_other_rows_begin_so(tmp_path):
    rows = [f"{KINDS[i]},{i % 9},{i * 5 % 23}" for i in range(ROWS)]
    found = open_data(write(tmp_path, ["kind,n,m", *rows, "Total,240,660"]))
    assert max(found.train.x[:, 1]) < 9
    assert "1 row below the table" in " ".join(found.notes)
    often = [f"{'Total' if i % 4 == 3 else 'x'},{i % 9},{i * 5 % 23}" for i in range(ROWS)]
    found = open_data(write(tmp_path, ["kind,n,m", *often]))
    assert found.train.n_rows + found.valid.n_rows + found.test.n_rows == ROWS


def test_what_stands_around_a_last_total_is_no_row_though_a_total_that_is_not_alone_is(tmp_path):
    rows = [f"{KINDS[i]},{i % 9},{i * 5 % 23}" for i in range(ROWS)]
    groups = [*rows[:30], "Total,99,98", *rows[30:], "Total,97,96", ",,", "Source: office"]
    found = open_data(write(tmp_path, ["kind,n,m", *groups]))
    assert "Source: office" not in found.schema.columns[0].categories
    assert found.train.n_rows + found.valid.n_rows + found.test.n_rows == ROWS + 2
    found = open_data(write(tmp_path, ["kind,n,m", *rows, ",,", "Total,240,660", ",,"]))
    assert found.train.n_rows + found.valid.n_rows + found.test.n_rows == ROWS
    assert not any("gaps" in note for note in found.notes)


@pytest.mark.parametrize("frame", [False, True])
def test_a_number_of_nines_far_from_the_others_is_missing_and_comes_back(tmp_path, frame):
    values = [-999.0 if i % 8 == 0 else 10 + i % 13 / 10 for i in range(ROWS)]
    data = pd.DataFrame({"t": values, "kind": KINDS})
    if not frame:
        data.to_csv(tmp_path / "t.csv", index=False)
    found = open_data(data if frame else str(tmp_path / "t.csv"))
    assert found.schema.columns[0].marks == ("-999",)
    assert found.schema.columns[0].missing
    assert any("-999 in t" in note and "t=real" in note for note in found.notes)
    share = found.train.x[:, 0].isnan().float().mean()
    assert abs(share - 1 / 8) < 0.1
    decoded = found.schema.decode(found.train.x)["t"].to_numpy()
    assert np.mean(decoded == -999) == pytest.approx(float(share))
    assert not open_data(data, types=["t=real"]).schema.columns[0].missing
    whole = open_data(data.assign(t=np.where(data["t"] < 0, -999, data["t"] * 10).round()))
    assert any("t=integer" in note for note in whole.notes)


def test_nines_among_the_others_are_numbers():
    data = pd.DataFrame({"t": np.arange(0, 3000, 30) + 9.0, "kind": (KINDS * 2)[:100]})
    data.loc[::9, "t"] = 999
    assert not open_data(data).schema.columns[0].marks


def test_dates_in_several_formats(tmp_path):
    days = pd.Timestamp("2021-01-05") + pd.to_timedelta(np.arange(ROWS) * 11, "D")
    forms = ["%Y-%m-%d", "%Y-%m-%d", "%Y-%m-%d", "%d/%m/%Y", "%b %d %Y"]
    texts = [day.strftime(forms[i % 5]) for i, day in enumerate(days)]
    found = open_data(
        write(tmp_path, ["day,kind", *map(",".join, zip(texts, KINDS, strict=True))])
    )
    (column, _) = found.schema.columns
    assert column.kind == "datetime"
    assert column.format.startswith("%Y-%m-%d | ")
    x, _ = found.schema.encode(pd.DataFrame({"day": texts, "kind": KINDS}))
    assert torch.equal(x[:, 0] - x[0, 0], torch.arange(ROWS) * 11.0)
    assert found.schema.decode(x)["day"].to_pylist() == [str(day.date()) for day in days]


def test_zeros_at_the_end_of_decimals_are_kept(tmp_path):
    rows = [f"{i % 7}.0,{i * 37 % 50 / 20:.2f},{i * 11 % 90 + i / 64:.5f}" for i in range(ROWS)]
    found = open_data(write(tmp_path, ["store,price,place", *rows]))
    lines = back(found, tmp_path)[1:]
    assert {len(cell.partition(".")[2]) for cell, *_ in lines} == {1}
    assert {len(cell.partition(".")[2]) for _, cell, _ in lines} == {2}
    assert {len(cell.partition(".")[2]) for *_, cell in lines} == {5}


def test_decimals_finer_than_those_of_the_data_are_kept_where_they_are_asked_for(tmp_path):
    rows = [f"{i % 7}.25,{i * 37 % 50 / 20:.2f},{KINDS[i]}" for i in range(ROWS)]
    path = write(tmp_path, ["fine,given,kind", *rows])
    found = open_data(path, types=["fine=real:0.125"], context=["given"])
    out = tmp_path / "out.csv"
    numbers = pa.table({"given": [1.23456, 5, -0.0, 1e10, None], "fine": [1.125] * 5})
    with TableWriter(out, found.schema.written) as writer:
        writer.write(numbers)
    given, fine = zip(*(line.split(",") for line in out.read_text().split()[1:]), strict=True)
    assert given == ("1.23456", "5.00", "0.00", "10000000000.00", "")
    assert set(fine) == {"1.125"}


def test_percentages(tmp_path):
    rows = [f"{i * 7 % 101} %,{[0.2, 0.75, 1.5][i % 3]} %,{i - 9} %" for i in range(ROWS)]
    found = open_data(write(tmp_path, ["share,fee,growth", *rows]))
    share, fee, growth = found.schema.columns
    assert (share.low, share.high) == (0, 100)
    assert growth.high is None
    assert fee.categories == ("0.2 %", "0.75 %", "1.5 %")


def test_a_few_times_of_day_stay_what_they_are(tmp_path):
    rows = [f"00:{(15, 30, 45)[i % 3]},{i % 24:02d}:{i:02d}" for i in range(ROWS)]
    found = open_data(write(tmp_path, ["break,start", *rows]))
    few, many = found.schema.columns
    assert (few.step, few.high, few.offset) == (15, 30, 15)
    assert (many.step, many.high) == (1, 1439)


def test_skewed_numbers_that_begin_near_0_end_there():
    prices = np.exp(RNG.normal(6, 0.9, 300))
    data = pd.DataFrame({"price": prices, "height": RNG.normal(170, 9, 300)})
    price, height = open_data(data).schema.columns
    assert price.low == 0
    assert height.low is None


def test_places_on_the_globe_are_known_by_name():
    data = pd.DataFrame(
        {"latitude": RNG.normal(35, 6, 200), "stop_lon": RNG.uniform(-180, 180, 200)}
    )
    assert [(c.low, c.high) for c in open_data(data).schema.columns] == [(-90, 90), (-180, 180)]


def test_identifiers_with_gaps_and_numbers_counted_from_anywhere():
    ids = np.where(np.arange(200) % 20, RNG.integers(10_000, 90_000, 200), np.nan)
    data = pd.DataFrame({"customer_id": ids, "who": np.arange(1000, 1200)})
    data = data.assign(year=np.arange(1800, 2000), x=RNG.normal(size=200))
    found = open_data(data)
    assert [p.name for p in found.schema.passed_over] == ["customer_id", "who"]
    assert list(kinds(found)) == ["year", "x"]


def test_identifiers_that_often_repeat_are_numbers():
    data = pd.DataFrame({"customer_id": RNG.integers(10_000, 10_400, 600), "kind": KINDS * 10})
    assert not open_data(data).schema.passed_over


def test_advice_quotes_names_with_blanks(tmp_path):
    cells = ["do not know" if i % 9 == 0 else str(i % 31) for i in range(ROWS)]
    rows = [",".join(pair) for pair in zip(cells, KINDS, strict=True)]
    found = open_data(write(tmp_path, ["Hours a week,kind", *rows]))
    assert any("`types` 'Hours a week=categorical'" in note for note in found.notes)


@pytest.mark.parametrize("scale", [1e-18, 1e16, 1e25])
def test_marginals_are_the_same_in_any_unit(scale):
    x = torch.from_numpy(np.exp(np.random.default_rng(1).normal(size=(400, 1)))).float()
    found = []
    for unit in (1.0, scale):
        part = Gaussianise(torch.zeros(1), torch.full((1,), torch.inf))
        part.observe(x * unit)
        z, log_det = part.inverse(1.01 * x * unit)
        assert torch.allclose(part.forward(z)[0], 1.01 * x * unit, rtol=1e-3)
        found.append((z, log_det + np.log(unit)))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-3)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-3)


def test_wide_tables_have_no_lu_maps_and_go_in_pieces():
    data = pd.DataFrame(RNG.normal(size=(40, 300)), columns=[f"c{i}" for i in range(300)])
    model = caudal.train("nsf", data, steps=1, batch_size=24, layers=1, hidden=4, blocks=1)
    assert model.recipe.linear is False
    assert model.config["accumulate"] == 1
    narrow = caudal.train("nsf", data.iloc[:, :3], steps=1, layers=1, hidden=4, blocks=1)
    assert narrow.recipe.linear is True


def test_a_wide_run_of_a_caudal_without_the_field_keeps_its_lu_maps(tmp_path):
    data = pd.DataFrame(RNG.normal(size=(40, 300)), columns=[f"c{i}" for i in range(300)])
    small = {"layers": 1, "hidden": 4, "blocks": 1, "batch_size": 24, "report": False}
    caudal.train("nsf", data, steps=1, out=tmp_path / "run", linear=True, **small)
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("linear: true\n", ""))
    _, read = read_options(["--resume", "--out", str(tmp_path / "run"), "--data", "x.csv"])
    assert "linear" in read.given
    model = caudal.train("nsf", data, steps=2, out=tmp_path / "run", resume=True)
    assert model.recipe.linear is True


def test_a_batch_has_so_many_pieces_that_memory_has_a_bound():
    def pieces(columns, rows, batch_size):
        schema = SimpleNamespace(columns=range(columns))
        dataset = SimpleNamespace(schema=schema, train=SimpleNamespace(n_rows=rows))
        return modality("table").pieces(dataset, batch_size)

    assert [pieces(d, 10_000, 256) for d in (10, 500, 1000, 2000)] == [1, 1, 2, 4]
    assert pieces(2000, 10_000, 250) == 5  # a divisor of the batch
    assert pieces(100_000, 3, 256) == 2  # no more than there are rows


def test_pieces_are_shares_of_processes_are_told_and_leave_batch_norm_whole(monkeypatch):
    table = modality("table")
    schema = SimpleNamespace(columns=range(20_000))
    dataset = SimpleNamespace(schema=schema, train=SimpleNamespace(n_rows=10_000))
    start = settings("nsf", table, {"data": "x"})
    one = in_pieces(start, dataset, nn.Linear(1, 1))
    assert one.training.accumulate == 64
    assert "batches in 64 pieces" in one.why[-1]
    assert in_pieces(start, dataset, nn.Sequential(nn.BatchNorm1d(1))).training.accumulate == 1
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    each = in_pieces(start, dataset, nn.Linear(1, 1)).training
    assert as_launched(each).batch_size % (8 * each.accumulate) == 0
    assert each.accumulate == 8


def test_what_suits_wide_tables_is_told():
    data = pd.DataFrame(RNG.normal(size=(600, 300)), columns=[f"c{i}" for i in range(300)])
    made = suited(settings("nsf", modality("table"), {"data": data}), open_data(data))
    assert made.why[0].startswith("size small, with linear False as suits the data; `size`")


def test_a_size_has_the_rate_of_its_own_optimiser():
    digits = open_images("digits")

    def training(**options):
        return suited(settings("glow", modality("images"), {"data": "digits", **options}), digits)

    own, adam = training(size="small").training, training(size="small", optimizer="adam").training
    assert (own.optimizer, own.lr) == ("muon", 4e-3)
    assert (adam.optimizer, adam.lr) == ("adam", 1e-2)
    assert training(size="small", optimizer="muon").training.lr == own.lr
