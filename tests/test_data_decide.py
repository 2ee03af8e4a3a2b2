"""What is decided about the columns of tables as they come, and what comes back in samples."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
import torch

import caudal
from caudal.data import TableWriter, open_data, open_rows
from caudal.data.table.passed import PassedOver
from caudal.errors import InputError

N = 60
RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=N).round(3).tolist()


def some(values, *places):
    """The values, with nothing at some places."""
    return [None if i in places else v for i, v in enumerate(values)]


class Kind:
    """A table with the column `c` beside plain values, and what is decided about it."""

    def __init__(self, values, decided, why="", **options):
        self.table = pa.table({"c": values, "v": VALUES[: len(values)]})
        self.decided, self.why, self.options = decided, why, options


KINDS = {
    "constant": Kind([7] * N, "as it is", "is constant (7 in every row)"),
    "constant words": Kind(["x"] * N, "as it is", "is constant ('x' in every row)"),
    "constant with a gap": Kind(some([7] * N, 3), "as it is", "is constant"),
    "now and then": Kind(some([7] * N, *range(20)), "categorical", "gaps are modelled in c"),
    "empty": Kind(pa.array([None] * N, pa.float64()), "empty", "has no values"),
    "row numbers": Kind(list(range(1, N + 1)), "counted on", "counts the rows (1 .. 60)"),
    "years": Kind(list(range(1960, 1960 + N)), "integer"),
    "few rows that count": Kind(list(range(1, 13)), "integer"),
    "names": Kind([f"n{i}" for i in range(N)], "empty", "has 60 different values (such as 'n0')"),
    "names, few rows": Kind([f"n{i}" for i in range(9)], "empty", "has 9 different values"),
    "free text": Kind([f"it was day {i % 40}" for i in range(N)], "empty", "has 40 different"),
    "cities": Kind([f"n{i % 20}" for i in range(N)], "categorical"),
    "lists": Kind([[1, 2]] * N, "empty", "holds list"),
    "a gap": Kind(some(VALUES, 5), "real", "dropped 1 row with gaps in c"),
    "gaps": Kind(some(VALUES, *range(9)), "real", "gaps are modelled in c"),
    "word": Kind(["unknown", *map(str, VALUES[1:])], "real", "taken as missing: 'unknown' in c"),
    "words": Kind([*"abcdef", *map(str, VALUES[6:])], "empty", "has 60 different"),
    "codes": Kind([*"123x"] * 15, "categorical", "taken as categories"),
    "padded codes": Kind([f"00{i % 7}" for i in range(N)], "categorical"),
    "given, with gaps": Kind(
        some(VALUES, *range(9)), "real", "gaps are told to the flow in c", context=["c"]
    ),
    "given, with a gap": Kind(
        some(VALUES, 5), "real", "gaps are told to the flow in c", context=["c"]
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_decided(name):
    kind = KINDS[name]
    found = open_data(kind.table, **kind.options)
    summary = {s.name: s for s in found.summary}["c"]
    if summary.role == "passed over":
        assert summary.source == kind.decided
        assert kind.why in summary.why
        assert f"c ({kind.decided})" in found.notes[0]
    else:
        assert summary.kind == kind.decided
        assert kind.why in " ".join(found.notes)
        assert bool(found.notes) == bool(kind.why)
    assert sum(part.n_rows for _, part in found.parts) > len(kind.table) - 10
    samples = found.schema.decode(*(torch.as_tensor(p) for p in first_rows(found)), start=0)
    assert samples.column_names == ["c", "v"]
    assert samples.schema.field("c").type in (kind.table.schema.field("c").type, pa.null())


def first_rows(found):
    batch = next(found.train.ordered(3))
    return (batch.x,) if batch.context is None else (batch.x, batch.context)


DECIDED = [name for name in KINDS if KINDS[name].why and "categories" not in KINDS[name].why]


@pytest.mark.parametrize("name", DECIDED)
def test_strict_refuses_what_would_be_decided(name):
    kind = KINDS[name]
    with pytest.raises(InputError) as caught:
        open_data(kind.table, strict=True, **kind.options)
    assert "'c'" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["lists", "names", "row numbers"])
def test_what_is_named_is_modelled_or_refused(name):
    table = KINDS[name].table
    if name == "row numbers":
        assert open_data(table, columns=["c", "v"]).schema.columns[0].kind == "integer"
        assert open_data(table, types=["c=real"]).schema.columns[0].kind == "real"
        return
    with pytest.raises(InputError, match="column 'c' h.*: leave it out with `exclude` c"):
        open_data(table, columns=["c", "v"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", True),
        ("Unnamed: 0", True),
        ("user_id", True),
        ("customerID", True),
        ("Employee ID", True),
        ("paid", False),
    ],
)
def test_names_tell_identifiers(name, expected):
    values = [5, 0, 9, 7, 2, 1, 3, 8, 4, 6, 11, 14]
    if name in ("", "Unnamed: 0"):
        values = sorted(range(12))
    found = open_data(pa.table({name: values, "v": VALUES[:12]}))
    assert bool(found.schema.passed_over) == expected


def test_rows_are_dropped_as_long_as_they_are_few():
    """Of 200 rows 4 may go: the two of `a` and `b`, and not the three more of `c`."""
    a, b, c = RNG.normal(size=(3, 200)).tolist()
    table = pa.table(
        {
            "a": some(a, 1, 2),
            "b": some(b, 2),
            "c": some(c, 2, 50, 51, 52),
        }
    )
    found = open_data(table)
    assert [column.missing for column in found.schema.columns] == [False, False, True]
    assert "dropped 2 rows with gaps in a, b" in found.notes[0]
    assert "gaps are modelled in c" in found.notes[1]
    assert sum(part.n_rows for _, part in found.parts) == 198
    again = open_data(table, schema=found.schema)
    assert torch.equal(again.train.x.nan_to_num(), found.train.x.nan_to_num())


def test_exclude_leaves_a_column_out_of_samples_too():
    table = pa.table({"c": [1] * N, "d": VALUES, "v": VALUES})
    schema = open_data(table, exclude=["c", "d"]).schema
    assert schema.arrow.names == ["v"]
    for names, said in ((["e"], "no such column"), (["c", "d", "v"], "leaves none to model")):
        with pytest.raises(InputError, match=said):
            open_data(table, exclude=names)
    with pytest.raises(InputError, match="'d' is in `context` and in `exclude`"):
        open_data(table, context=["d"], exclude=["d"])


def test_a_table_of_names_alone_is_refused():
    with pytest.raises(InputError, match="leaves no column to model .'a' has 60 different"):
        open_data(pa.table({"a": [f"n{i}" for i in range(N)]}))


def people():
    return pd.DataFrame(
        {
            "": range(N),
            "name": [f"Person {i}" for i in range(N)],
            "age": ["unknown" if i % 9 == 4 else str(20 + i) for i in range(N)],
            "year": 2020,
            "income": [None if i % 7 == 3 else 100.25 + 3.5 * i for i in range(N)],
            "notes": None,
            "city": ["Bari", "Cork", "Oslo"] * (N // 3),
        }
    )


@pytest.mark.parametrize("as_file", [False, True])
@pytest.mark.usefixtures("one_thread")
def test_a_table_as_it_comes_trains_samples_and_scores(as_file, tmp_path):
    data = people()
    if as_file:
        data.to_csv(tmp_path / "people.csv", index=False)
        data = str(tmp_path / "people.csv")
    small = {"layers": 2, "hidden": 8, "steps": 4, "report": False}
    caudal.train("nsf", data, context=["city"], out=tmp_path / "run", **small)
    model = caudal.load(tmp_path / "run")
    model.write_samples(tmp_path / "samples.csv", 70, given={"city": "Oslo"})
    samples = pa_csv.read_csv(
        tmp_path / "samples.csv", convert_options=pa_csv.ConvertOptions(strings_can_be_null=True)
    )
    assert samples.column_names == list(people().columns)
    assert samples[""].to_pylist() == list(range(N, N + 70))
    assert set(samples["year"].to_pylist()) == {2020}
    assert samples["name"].null_count == samples["notes"].null_count == 70
    ages = set(samples["age"].to_pylist())
    assert all(age == "unknown" or age.isdigit() for age in ages)
    scores = np.asarray(model.log_prob(data))
    assert np.isfinite(scores).all()


@pytest.mark.usefixtures("one_thread")
def test_twenty_rows_train_with_batches_that_fit(tmp_path):
    path = tmp_path / "small.csv"
    pd.DataFrame(RNG.normal(size=(20, 3)), columns=list("abc")).to_csv(path, index=False)
    model = caudal.train("nsf", str(path), layers=1, hidden=8, steps=2, report=False)
    assert [part.n_rows > 0 for _, part in model.dataset.parts] == [True] * 3
    assert np.isfinite(np.asarray(model.log_prob(str(path)))).all()


def test_what_a_run_took_columns_for_can_be_given_back(tmp_path):
    table, path = (
        pa.table(people().assign(notes=pd.Series(dtype=float))),
        tmp_path / "columns.yaml",
    )
    model = caudal.train(
        "nsf", table, layers=1, hidden=8, steps=1, report=False, out=tmp_path / "r"
    )
    text = (tmp_path / "r" / "columns.yaml").read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    again = open_data(table, types_from=str(path))
    assert again.schema == model.schema
    text = text.replace("kind: passed over", "kind: excluded", 1)  # the first is the index
    text = text.replace("city:\n  kind: categorical", "city:\n  kind: passed over")
    path.write_text(text.replace("gaps: modelled", "gaps: dropped"), encoding="utf-8")
    edited = open_data(table, types_from=str(path), types=["income=positive"]).schema
    assert edited.arrow.names == ["name", "age", "year", "income", "notes", "city"]
    assert {p.name: p.back for p in edited.passed_over}["city"] == "empty"
    assert not any(column.missing for column in edited.columns)
    assert [c.kind for c in edited.columns] == ["integer", "positive"]


BAD = {
    "3": "must hold names of columns",
    "x: {kind: real}": "column 'x': there is no such column",
    "v: real": "give its kind",
    "v: {kind: reel}": "unknown kind 'reel'",
    "v: {kind: real, step: x}": "step x is not a finite number",
    "v: {kind: interval, low: 0, high: [1]}": "is not a finite number",
    "v: {kind: real, steps: 1}": "unknown entry 'steps'; did you mean 'step'",
    "v: {kind: real, gaps: some}": "choose modelled or dropped",
    "v: {kind: interval, low: 3}": "needs both ends",
    "v: {kind: real, above: [v]}": "above v: that is the column itself",
    "v: {kind: real, above: 5}": "above 5 is neither a name nor a list of names",
    "v: {kind: circular, step: 5}": "a circle without ends takes no step",
    "v: {kind: datetime, step: 5}": "a datetime takes no ends and no step",
    "v: [": "cannot be read",
}


@pytest.mark.parametrize("text", BAD)
def test_a_list_of_columns_is_checked(text, tmp_path):
    path = tmp_path / "columns.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=BAD[text]) as caught:
        open_data(pa.table({"v": VALUES}), types_from=str(path))
    assert "`types_from`" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_words_of_a_run_are_gaps_in_other_files_and_stay_as_they_are(tmp_path):
    ages = ["unknown" if i % 9 == 4 else str(20 + i) for i in range(N)]
    schema = open_data(pa.table({"age": ages, "v": VALUES})).schema
    with TableWriter(tmp_path / "new.csv") as writer:
        writer.write(pa.table({"age": ["31", "unknown"], "v": [0.5, 0.25]}))
    (piece,) = open_rows(str(tmp_path / "new.csv"), schema).pieces()
    assert piece.beside["age"].to_pylist() == ["31", "unknown"]
    assert piece.batch.x[:, 0].isnan().tolist() == [False, True]


@pytest.mark.usefixtures("one_thread")
def test_samples_are_written_as_the_data_are(tmp_path):
    lines = [f"{i * 0.75:.2f};{'ab'[i % 2]};{7 * i}".replace(".", ",") for i in range(60)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["x;;x", *lines]), encoding="utf-8")
    model = caudal.train("nsf", str(path), layers=1, hidden=4, steps=1)
    model.write_samples(tmp_path / "s.csv", 40)
    model.write_samples(tmp_path / "s.tsv", 40)
    head, *rows = (tmp_path / "s.csv").read_text("utf-8").splitlines()
    assert head == "x;;x"
    cells = [row.split(";") for row in rows]
    assert all(len(row) == 3 and row[1] in "ab" and "." not in row[0] for row in cells)
    assert any("," in row[0] for row in cells)
    assert (tmp_path / "s.tsv").read_text("utf-8").splitlines()[0] == "x\t\tx"


def test_a_mark_in_a_column_that_is_passed_over_beside_rows_that_are_dropped():
    """Rows without gaps are surveyed again, without the columns that are passed over."""
    numbers = [str(i + 1) for i in range(N)]
    data = pa.table({"id": [*numbers[:5], "x", *numbers[6:]], "v": some(VALUES, 3)})
    found = open_data(data)
    assert [passed.name for passed in found.schema.passed_over] == ["id"]
    assert "dropped 1 row with gaps in v" in found.notes[-1]


def test_what_samples_have_of_a_column_that_is_passed_over_is_checked():
    whole = {"name": "c", "dtype": "int64", "why": "is constant (1 in every row)", "value": 1}
    assert PassedOver.from_dict(whole).cells(2, 0).to_pylist() == [1, 1]
    for name, odd in (("dtype", 1), ("value", "x"), ("value", 1e30), ("first", 10**30)):
        with pytest.raises(InputError):
            PassedOver.from_dict({**whole, name: odd})
