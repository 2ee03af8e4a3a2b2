"""Columns that follow from others: found, modelled once, and put back exactly."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import caudal
from caudal.data import Column, TableSchema, open_data
from caudal.data.table import products, sums
from caudal.data.table.broken import impossible
from caudal.data.table.follower import Follower
from caudal.data.table.ruled import Ruled
from caudal.data.table.tables import open_table
from caudal.errors import InputError

N = 600
RNG = np.random.default_rng(0)
CELSIUS = RNG.normal(15, 8, N).round(1)
A, B, C = (RNG.poisson(rate, N) for rate in (20, 5, 9))
X, Y = RNG.normal(size=(2, N))
AGE = RNG.integers(18, 60, N)
DAY = pd.Timestamp("2024-01-01") + pd.to_timedelta(RNG.integers(0, 300, N), unit="D")
GRADE = RNG.integers(1, 9, N)
OTHER = np.random.default_rng(1)
SHARES = np.random.default_rng(2).dirichlet([9.0, 1.0, 0.5], N)
PRICE, RATE = OTHER.choice([4.5, 9.99, 19.99], N), OTHER.gamma(5, 10, N).round(2)


def rounded(values, decimals=0):
    """Halves up, but for what floating point makes of them."""
    return np.floor(values * 10**decimals + 0.5 + 1e-9) / 10**decimals


RULES = {
    "total": ({"total": A + B, "a": A, "b": B}, "total is a + b"),
    "three parts": ({"a": A, "b": B, "c": C, "all": A + B + C}, "all is a + b + c"),
    "balance": ({"x": X, "y": Y, "diff": X - Y}, "diff is x - y"),
    "shares": ({"a": X, "b": 1 - X}, "b is -a + 1"),
    "largest share": (dict(zip("abc", SHARES.T, strict=True)), "a is -b - c + 1"),
    "copy": ({"x": X, "again": X}, "again is x"),
    "other units": (
        {"fahrenheit": rounded(1.8 * CELSIUS + 32, 1), "celsius": CELSIUS},
        "fahrenheit is 1.8 celsius + 32 (rounded)",
    ),
    "mean": ({"a": A, "b": B, "m": rounded((A + B) / 2)}, "m is 0.5 a + 0.5 b (rounded)"),
    "decade": ({"decade": AGE // 10, "age": AGE, "x": X}, "decade is 0.1 age - 0.45 (rounded)"),
    "dates": (
        {"day": DAY, "days": A, "due": DAY + pd.to_timedelta(A, unit="D")},
        "due follows from day and days",
    ),
    "date of a time": (
        {"at": DAY + pd.to_timedelta(RNG.integers(0, 1440, N), "min"), "day": DAY},
        "day follows from at",
    ),
    "category": (
        {"word": np.array([*"jsdfhkrtz"])[GRADE], "grade": GRADE, "x": X},
        "word follows from grade",
    ),
    "group": (
        {"age": AGE, "x": X, "group": np.where(AGE < 30, "young", "old")},
        "group follows from age",
    ),
    "number": ({"grade": GRADE, "price": GRADE**2 + 0.5, "x": X}, "price follows from grade"),
    "product": (
        {"n": B + 1, "price": PRICE, "total": rounded((B + 1) * PRICE, 2)},
        "total is n x price",
    ),
    "rounded product": (
        {"hours": C / 4, "rate": RATE, "pay": rounded(C / 4 * RATE, 2), "x": X},
        "pay is hours x rate (rounded)",
    ),
    "nearly a product": ({"n": A, "rate": RATE, "pay": np.r_[(A * RATE)[:-1], 9.0]}, None),
    "rows again": ({"age": [30, 41, 52] * 30, "city": ["Lima", "Quito", "Lima"] * 30}, None),
    "nearly": ({"a": A, "b": B, "total": np.r_[(A + B)[:-1], 99]}, None),
    "noise": ({"x": X, "y": X + 0.01 * Y}, None),
    "few rows": ({"x": X[:12], "w": ["a", "b"] * 6, "v": [0, 1] * 6}, None),
    "many levels": ({"name": RNG.integers(0, 500, N).astype(str), "x": X}, None),
    "gaps": ({"a": np.where(A > 22, np.nan, A), "twice": np.where(A > 22, np.nan, 2 * A)}, None),
}


@pytest.mark.parametrize("name", RULES)
def test_what_follows_is_found(name):
    columns, rule = RULES[name]
    data = open_data(pd.DataFrame(columns))
    found = [f"{follower.name} {follower.why}" for follower in data.schema.followers]
    assert found == ([rule] if rule else [])
    if rule:
        assert any(rule in note for note in data.notes)
        assert data.train.x.shape[1] == len(columns) - 1


@pytest.mark.parametrize("name", [name for name, (_, rule) in RULES.items() if rule])
def test_samples_keep_the_rule(name):
    """Decoded rows are the user's own, with the column that was not modelled."""
    frame = pd.DataFrame(RULES[name][0])
    schema = open_data(frame).schema
    schema = TableSchema.from_dict(schema.to_dict())
    back = schema.decode(schema.encode(frame)[0]).to_pandas()
    assert list(back) == list(frame)
    for column in frame:
        if frame[column].dtype.kind == "f":
            np.testing.assert_allclose(back[column], frame[column], rtol=1e-6, atol=1e-6)
        else:
            assert back[column].tolist() == frame[column].tolist()


def test_sums_hold_in_the_digits_of_samples():
    schema = open_data(pd.DataFrame(RULES["balance"][0])).schema
    back = schema.decode(schema.encode(pd.DataFrame({"x": X * 1e3, "y": Y}))[0]).to_pandas()
    np.testing.assert_allclose(back["diff"], back["x"] - back["y"], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "options", [{"types": ["total=integer"]}, {"columns": ["total", "a", "b"]}]
)
def test_what_the_user_says_is_modelled(options):
    data = open_data(pd.DataFrame(RULES["total"][0]), **options)
    assert "total" in [column.name for column in data.schema.columns]
    assert not {"total"} & {follower.name for follower in data.schema.followers}


def test_strict_refuses():
    with pytest.raises(
        InputError, match="column 'total' is a .* leave it out with `exclude` total"
    ):
        open_data(pd.DataFrame(RULES["total"][0]), strict=True)


@pytest.fixture(scope="module")
def model():
    frame = pd.DataFrame({**RULES["total"][0], **RULES["category"][0], "x": X})
    return caudal.train("nsf", data=frame, layers=1, hidden=8, steps=5, report=False), frame


def test_rows_that_break_a_rule_are_impossible(model):
    model, frame = model
    rows = frame[:20].copy()
    rows.loc[3, "total"] += 1
    rows.loc[5, "word"] = rows.loc[rows["grade"] != rows.loc[5, "grade"], "word"].iloc[0]
    scores = model.log_prob(rows)
    assert np.isneginf(scores)[[3, 5]].all()
    assert np.isfinite(scores.drop([3, 5])).all()
    del rows["total"]  # what is not there breaks nothing
    assert np.isfinite(model.log_prob(rows)[3])


def test_the_broken_row_is_told(model):
    model, frame = model
    rows = frame[:20].copy()
    rows.loc[3, "total"] += 1
    notes = model.open_all(rows, {}).notes
    assert any("row 4 breaks" in note and "'total' is a + b" in note for note in notes)


def test_rare_counts_are_no_sums_and_cost_nothing(monkeypatch):
    """A column that seldom differs from 0 is nearer to it than a step, whatever it holds."""
    tried = []
    monkeypatch.setattr(sums, "_one_of", lambda *_: tried.append(1))
    counts = {f"c{i}": RNG.poisson(0.1, N) for i in range(5)}
    assert not open_data(pd.DataFrame({"x": X, "y": Y, **counts})).schema.followers
    assert not tried


def test_a_product_is_found_among_rare_counts_that_cost_nothing(monkeypatch):
    """Where nearly all are 0, so are nearly all products."""
    seen, holds = [], products.holds
    monkeypatch.setattr(products, "holds", lambda *rule: seen.append(rule) or holds(*rule))
    rare = np.where(RNG.random((N, 30)) < 0.05, RNG.integers(1, 20, (N, 30)), 0)
    rows = np.column_stack([rare[:, 0] * B, rare, B]).astype(float)
    columns = [Column(f"c{i}", "integer", 0.0, None, 1.0) for i in range(rows.shape[1])]
    assert [f.why for f in products.find_products(columns, rows, ())] == ["is c1 x c31"]
    assert len(seen) < 10


def test_some_rows_rule_a_rounded_sum_out(monkeypatch):
    x = RNG.normal(size=(20_000, 2))
    y = np.round(3 * x[:, 0]) + RNG.integers(0, 2, len(x))
    seen = []
    monkeypatch.setattr(sums.np.linalg, "lstsq", counted(np.linalg.lstsq, seen))
    assert sums._slopes(y, x, 1.0) is None
    assert max(seen) <= 500
    whole = np.floor(3 * x[:, 0] + 0.5)
    np.testing.assert_allclose(sums._slopes(whole, x, 1.0), [3, 0], atol=0.01)


def counted(function, seen):
    """The function, which notes how many rows it is called with."""

    def called(a, *rest, **more):
        seen.append(len(a))
        return function(a, *rest, **more)

    return called


@pytest.mark.parametrize(
    ("name", "changed", "words"),
    [
        ("product", {"levels": []}, "'total': it has no rule"),
        ("product", {"levels": [5]}, "`levels`"),
        ("product", {"levels": 5}, "`levels`"),
        ("product", {"offsets": []}, "'total': it has no rule"),
        ("total", {"slopes": [1.0]}, "'total': it has no rule"),
        ("total", {"sources": ["a", "z"]}, "there is no column 'z'"),
        ("category", {"values": []}, "it has no rule"),
    ],
)
def test_a_file_with_half_a_rule_is_refused(name, changed, words):
    described = open_data(pd.DataFrame(RULES[name][0])).schema.to_dict()
    (follower,) = described["followers"]
    TableSchema.from_dict({**described, "followers": [follower]})
    with pytest.raises(InputError, match=words):
        TableSchema.from_dict({**described, "followers": [{**follower, **changed}]})


def test_gaps_are_filled_by_the_rule(model):
    model, frame = model
    rows = frame[:6].astype({"total": float, "a": float, "grade": float})
    rows.loc[0, "total"] = rows.loc[1, "a"] = np.nan
    rows.loc[2, ["total", "a"]] = np.nan
    rows.loc[3, "grade"] = np.nan
    rows.loc[4, "word"] = None
    filled = model.impute(rows)
    assert filled["total"][0] == frame["total"][0]
    assert filled["a"][1] == frame["a"][1]
    assert (filled["total"] == filled["a"] + filled["b"]).all()
    assert filled["grade"][3] == frame["grade"][3]
    assert filled["word"][4] == frame["word"][4]


def test_several_lists_together_fill_the_gap_of_their_source():
    rng = np.random.default_rng(1)
    quantity, price = rng.integers(1, 9, N), rng.choice([4.5, 9.99, 19.99], N)
    frame = pd.DataFrame({"n": quantity, "price": price, "total": (quantity**2 * price).round(2)})
    schema = open_data(frame.assign(x=X)).schema
    assert {f.sources for f in schema.followers} == {("total",)}
    table = pa.table({"n": frame["n"], "price": frame["price"]})
    place = [column.name for column in schema.columns].index("total")
    x = torch.full((N, len(schema.columns)), torch.nan)
    total = Ruled.of(schema, table, x, None).x[:, place] + schema.columns[place].offset
    np.testing.assert_allclose(total.numpy(), frame["total"], rtol=1e-5)


def test_gaps_of_a_product_and_of_its_factors_are_filled():
    frame = pd.DataFrame({"q": B + 1, "p": PRICE, "total": ((B + 1) * PRICE).round(2)})
    model = caudal.train("nsf", data=frame, layers=1, hidden=8, steps=5, report=False)
    for gaps in (["q"], ["p"], ["total"], ["q", "p"]):
        rows = frame[:5].astype(float)
        rows.loc[0, gaps] = np.nan
        filled = model.impute(rows).astype(float)
        assert not filled.isna().any(axis=None)
        if len(gaps) == 1:
            pd.testing.assert_frame_equal(filled, frame[:5].astype(float))


def test_what_is_filled_keeps_all_rounded_rules_of_it():
    x = 50 + 10 * X
    rules = {"a": rounded(0.1 * x), "b": rounded(0.13 * x + 2)}
    model = caudal.train(
        "nsf",
        data=pd.DataFrame({"x": x, "y": Y, **rules}),
        layers=1,
        hidden=8,
        steps=1,
        report=False,
    )
    assert {f.name for f in model.schema.followers} == {"a", "b"}
    filled = model.impute(pd.DataFrame({"x": None, "y": Y, **rules}))["x"].to_numpy(float)
    assert (rounded(0.1 * filled) == rules["a"]).all()
    assert (rounded(0.13 * filled + 2) == rules["b"]).all()


@pytest.mark.parametrize("order", ["xy", "yx"])
def test_what_one_rule_fills_another_takes_in_whatever_order(order):
    x, y = 50 + 10 * X, 50 + 10 * Y
    rules = {"a": rounded(0.1 * x + 0.2 * y), "b": rounded(0.13 * y + 2)}
    frame = pd.DataFrame({**{name: {"x": x, "y": y}[name] for name in order}, **rules})
    model = caudal.train("nsf", data=frame, layers=1, hidden=8, steps=1, report=False)
    assert {f.name for f in model.schema.followers} == {"a", "b"}
    filled = model.impute(frame[:50].assign(x=None, y=None)).astype(float)
    assert (rounded(0.13 * filled["y"] + 2) == frame["b"][:50]).all()
    assert (rounded(0.1 * filled["x"] + 0.2 * filled["y"]) == frame["a"][:50]).mean() > 0.95


def test_a_product_without_steps_that_no_whole_factor_makes_tells_none():
    frame = pd.DataFrame({"q": B + 1, "p": np.exp(X), "t": (B + 1) * np.exp(X)})
    schema = open_data(frame).schema
    assert {f.name for f in schema.followers} == {"t"}
    place = [column.name for column in schema.columns].index("q")
    rows = frame[:4].astype(float)
    rows.loc[1, "t"] *= 1.01
    x = torch.tensor(rows[[c.name for c in schema.columns]].to_numpy())
    x -= torch.tensor([c.offset for c in schema.columns])
    x[:, place] = torch.nan
    told = Ruled.of(schema, pa.Table.from_pandas(rows), x.float(), None).solved[:, place]
    assert told.tolist() == [True, False, True, True]


def test_what_is_drawn_keeps_the_rules_of_what_is_known():
    """A price without steps makes its total, a rounded one too, and a city lies in its country."""
    place = np.random.default_rng(1).integers(0, 12, N)
    frame = pd.DataFrame({"n": B + 1, "price": np.exp(X), "degrees": CELSIUS})
    frame["total"] = (frame["n"] * frame["price"]).round(2)
    frame["whole"] = rounded(1.8 * CELSIUS + 32, 0)
    frame["city"], frame["country"] = [f"city{i}" for i in place], [f"land{i % 3}" for i in place]
    model = caudal.train("nsf", data=frame, layers=1, hidden=8, steps=1, report=False)
    assert {f.name for f in model.schema.followers} == {"total", "whole", "country"}
    rows = frame[:60].copy()
    rows[["price", "degrees", "city"]] = None
    filled = model.impute(rows)
    assert np.abs(filled["n"] * filled["price"] - rows["total"]).max() < 0.00501
    assert (rounded(1.8 * filled["degrees"].astype(float) + 32, 0) == rows["whole"]).all()
    assert [int(c[4:]) % 3 for c in filled["city"]] == [int(c[4:]) for c in rows["country"]]
    assert filled["city"].nunique() > 5
    assert np.isfinite(model.log_prob(filled)).all()


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_gaps_that_only_rules_fill_are_written_and_counted(model, tmp_path, name):
    model, frame = model
    rows = frame[:5].astype({"total": float, "a": float})
    rows.loc[0, "total"] = rows.loc[2, "total"] = rows.loc[3, "a"] = np.nan
    rows.to_csv(tmp_path / "gap.csv", index=False)
    seen = model.write_imputed(tmp_path / "gap.csv", tmp_path / name)
    assert (seen.cells, seen.rows_with_gaps, seen.rows) == (3, 3, 5)
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    filled = read(tmp_path / name)
    assert (filled["total"] == frame["total"][:5]).all()
    assert (filled["a"] == frame["a"][:5]).all()


def test_filled_rows_keep_their_rule_in_the_digits_that_are_written():
    s, x = X.round(4), Y.round(4)
    frame = pd.DataFrame({"s": s, "x": x, "y": (s - x).round(4), "z": A})
    model = caudal.train("nsf", data=frame, layers=1, hidden=8, steps=5, report=False)
    rows = frame[:100].copy()
    rows[["s", "x", "y"]] = np.nan
    filled = model.impute(rows)
    assert np.isfinite(model.log_prob(filled)).all()


def test_lists_know_numbers_that_steps_made():
    """A key such as 0.30000000000000004 is the 0.3 of the user."""
    p = (2 * RNG.integers(0, 24, N) + 1) / 10
    frame = pd.DataFrame({"p": p, "v": (p**2).round(2), "x": X})
    (follower,) = open_data(frame).schema.followers
    columns = (*open_data(frame).schema.columns, follower.column)
    by_name = {column.name: column for column in columns}
    source, own = by_name[follower.sources[0]], follower.column
    x, y = (frame[c.name].to_numpy() - c.offset for c in (source, own))
    assert follower.is_broken(y + 0.5, x[:, None]).all()
    assert not follower.is_broken(y, x[:, None]).any()
    back = np.array([follower.give_back(value, [source]) for value in y])
    np.testing.assert_allclose(back, x, rtol=1e-6)
    assert not follower.is_broken(y + 0.5, x[:, None] + 0.05).any()  # of no key of the list
    assert follower.give_back(float(y[0]) + 0.5, [source]) is None


@pytest.mark.parametrize(("decimals", "told"), [(0, False), (1, True)])
def test_a_rounded_sum_gives_back_what_no_other_value_makes(decimals, told):
    """9.9 and 10.0 degrees Celsius are both 50 whole degrees Fahrenheit."""
    frame = pd.DataFrame({"celsius": CELSIUS, "f": rounded(1.8 * CELSIUS + 32, decimals), "x": X})
    schema = open_data(frame).schema
    (follower,) = schema.followers
    source = schema.columns[schema.names.index("celsius")]
    back = [follower.give_back(f - follower.column.offset, [source]) for f in frame["f"]]
    if told:
        np.testing.assert_allclose(np.array(back) + source.offset, CELSIUS, rtol=1e-6, atol=1e-6)
    else:
        assert set(back) == {None}


def test_a_source_is_told_from_halves_that_were_rounded_up():
    b = RNG.integers(0, 40, N) / 2
    frame = pd.DataFrame({"a": A, "b": b, "y": np.floor(A + b + 0.5), "x": X})
    schema = open_data(frame).schema
    (follower,) = schema.followers
    by_name = {column.name: column for column in schema.columns}
    columns = [by_name[name] for name in follower.sources]
    sources = np.stack([frame[c.name] - c.offset for c in columns], 1)
    k = follower.sources.index("a")
    made = follower.solved(k, follower.of(sources), sources, columns[k])
    np.testing.assert_allclose(made, sources[:, k])


def test_products_of_products_and_their_factors():
    """Of a product, a factor is told where it can be but one number."""
    rate = OTHER.choice([0.07, 0.19], N)
    frame = pd.DataFrame({"n": B + 1, "price": PRICE, "vat": rate, "x": X})
    frame["total"] = ((B + 1) * PRICE).round(2)
    frame["tax"] = (frame["total"] * rate).round(2)
    schema = open_data(frame).schema
    rules = {f.name: f.why for f in schema.followers}
    assert rules == {"total": "is n x price", "tax": "is vat x total (rounded)"}
    total = next(f for f in schema.followers if f.name == "total")
    by_name = {column.name: column for column in schema.columns}
    columns = [by_name[name] for name in total.sources]
    sources = np.stack(
        [schema.encode(frame)[0][:, schema.names.index(c.name)] for c in columns], 1
    )
    own = frame["total"].to_numpy()
    assert not total.is_broken(own, sources).any()
    assert total.is_broken(own + 0.02, sources).all()
    for k, column in enumerate(columns):
        gone = sources.copy()
        gone[:, k] = np.nan
        np.testing.assert_array_equal(total.solved(k, own, gone, column), sources[:, k])
        assert np.isnan(total.solved(k, own + 0.02, gone, column)).all()


def test_given_followers(model):
    model, frame = model
    word, grade = frame.loc[0, ["word", "grade"]]
    drawn = model.sample(20, given={"word": word})
    assert (drawn["grade"] == grade).all()
    assert (drawn["word"] == word).all()
    with pytest.raises(InputError, match="`given` total: .* give a and b in its place"):
        model.sample(5, given={"total": 20})


def test_whole_keys_of_seven_digits_are_not_the_next_one():
    """A shop that training has not seen has no city, and so breaks no rule."""
    shops = 5_000_000 + 2 * RNG.integers(0, 9, N)
    frame = pd.DataFrame({"shop": shops, "city": np.array([*"abcdefghi"])[(shops // 2) % 9]})
    found = open_data(frame.assign(x=X), types=["shop=integer"])
    (follower,) = (f for f in found.schema.followers if f.name == "city")
    keys = np.array(follower.keys)
    of_another = np.roll(np.array(follower.values), 1)
    assert follower.is_broken(of_another, keys[:, None]).all()
    assert not follower.is_broken(of_another, keys[:, None] + 1).any()


def test_whole_keys_beyond_32_bits_are_looked_up_exactly_and_without_a_word(recwarn):
    keys = (123_456_789.0, 1e39)
    follower = Follower(Column("y", "real"), ("x",), "", keys=keys, values=(7.0, 1e39))
    rows = np.array([[123_456_789.0], [123_456_790.0], [1e39]])
    assert follower.is_broken(np.full(3, 8.0), rows).tolist() == [True, False, True]
    assert not recwarn.list


@pytest.mark.parametrize("source", ["shop", "account"])
def test_numbers_that_32_bits_round_keep_their_rule(source):
    """Numbers of accounts lie beyond 2^24, where 32 bits have not every whole number."""
    rng = np.random.default_rng(1)
    shop = rng.integers(0, 25, N)
    account = rng.integers(2**27, 2**31, 25) | 1
    columns = {"shop": shop, "account": account[shop], "limit": account[::-1][shop]}
    frame = pd.DataFrame({source: columns[source], "limit": columns["limit"], "x": X})
    data = open_data(frame)
    (follower,) = data.schema.followers
    assert follower.sources == (source,)
    (chunk,) = open_table(frame).chunks(list(frame))
    assert not impossible(data.schema, chunk, "frame").any()
    back = data.schema.decode(data.schema.encode(frame)[0]).to_pandas()
    assert back["limit"].tolist() == frame["limit"].tolist()
    frame.loc[7, "limit"] += 2  # odd again, and so not what 32 bits make of it
    (chunk,) = open_table(frame).chunks(list(frame))
    assert np.flatnonzero(impossible(data.schema, chunk, "frame")).tolist() == [7]
