"""A target: one column given all others, with gaps and new categories in its context."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import caudal
from caudal.data import open_data
from caudal.errors import InputError
from caudal.nets import ColumnEmbedding
from command_line import caudal as command

SMALL = {"steps": 30, "size": "small", "report": False}


def houses(rows=300, seed=0):
    """A price that depends on what stands beside it, in which there are gaps."""
    rng = np.random.default_rng(seed)
    area, town = rng.uniform(30, 200, rows), rng.choice(["Rome", "Bari", "Pisa"], rows)
    price = 1000 + 20 * area + 500 * (town == "Rome") + rng.normal(0, 100, rows)
    age = np.where(rng.random(rows) < 0.1, np.nan, rng.integers(1, 90, rows))
    return pd.DataFrame(
        {
            "id": [f"h{i}" for i in range(rows)],
            "price": price.round(2),
            "area": area.round(1),
            "age": age,
            "town": town,
            "country": "Italy",
        }
    )


@pytest.fixture(scope="module")
def model():
    return caudal.train("nsf", houses(), target="price", **SMALL)


def names(columns):
    return [column.name for column in columns]


def test_all_other_columns_are_the_context_but_those_of_no_use():
    found = open_data(houses(), target="price")
    assert names(found.schema.columns) == ["price"]
    assert names(found.schema.context) == ["area", "age", "town"]
    assert names(found.schema.passed_over) == ["id", "country"]
    left_out = open_data(houses(), target="price", exclude=["area"])
    assert names(left_out.schema.context) == ["age", "town"]
    labels = open_data("digits", target="digit")
    assert names(labels.schema.columns) == ["digit"]
    assert len(labels.schema.context) == 64


def test_samples_have_the_columns_of_the_data(model):
    drawn = model.sample(20)
    assert list(drawn.columns) == list(houses().columns)
    assert set(drawn["country"]) == {"Italy"}
    assert drawn["area"].isin(houses()["area"]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "prise"}, "`target` prise: .* has no such column; did you mean 'price'"),
        ({"target": "id"}, "column 'id' .* looks like an identifier"),
        ({"target": "country"}, "column 'country' is constant"),
        ({"target": "price", "exclude": ["price"]}, "'price' is in `exclude` and in `target`"),
        ({"target": "price", "context": ["age"]}, "`target` price and `context` age: .* leave"),
        ({"target": "price", "columns": ["price"]}, "`target` price and `columns` price: "),
        ({"target": "price", "exclude": ["area", "age", "town"]}, "no column to predict 'price'"),
        (
            {"target": "price", "exclude": ["id", "area", "age", "town", "country"]},
            "no other column to predict it from",
        ),
    ],
)
def test_what_is_no_target_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        open_data(houses(), **options)


def test_the_command_line_has_it_too(tmp_path, capsys):
    houses().to_csv(tmp_path / "houses.csv", index=False)
    run = tmp_path / "run"
    small = ["--steps", "3", "--size", "small", "--no-report", "--out", run]
    data = ["--data", tmp_path / "houses.csv"]
    assert command("train", "nsf", *data, "--target", "price", *small) == 0
    assert "target: price" in (run / "config.yaml").read_text()
    capsys.readouterr()
    assert command("train", "nsf", *data, "--target", "price", "--context", "age") == 2
    assert "--target price and --context age" in capsys.readouterr().err


# --- gaps and new categories in the context ------------------------------------------------------


def test_gaps_of_the_context_leave_no_row_out_and_those_of_the_target_do():
    table = houses()
    table.loc[:2, "price"] = np.nan
    found = open_data(table, target="price")
    rows = sum(part.n_rows for _, part in found.parts)
    assert rows == len(table) - 3
    assert found.schema.gaps_of_context == [False, True, False]
    kept = open_data(table, target="price", missing="drop")
    assert sum(part.n_rows for _, part in kept.parts) == len(table[3:].dropna())
    assert not any(kept.schema.gaps_of_context)


def test_a_gap_is_a_feature_of_its_own_with_the_number_at_its_mean():
    embedding = ColumnEmbedding([0, 3], [True, False])
    context = torch.tensor([[1.0, 0.0], [3.0, 2.0], [torch.nan, -1.0]])
    embedding.observe(context)
    expected = [[-1, 0, 1, 0, 0], [1, 0, 0, 0, 1], [0, 1, 1 / 3, 1 / 3, 1 / 3]]
    torch.testing.assert_close(embedding(context), torch.tensor(expected, dtype=torch.float32))


def test_gaps_and_new_categories_are_scored_and_told(model):
    told = []
    model.voice.note = told.append
    new = houses(6, seed=1)
    new["age"] = [np.nan, 10, 20, 30, 40, 50]
    new.loc[1:2, "town"] = "Oslo"
    assert np.isfinite(model.log_prob(new)).all()
    (note,) = told
    assert note == (
        "2 rows with a category of 'town' that training has not seen, such as 'Oslo', read as the "
        "mean of the known ones"
    )
    assert model.sample(3, given={"age": None, "area": 50, "town": "Bari"})["age"].isna().all()
    with pytest.raises(InputError, match="unknown category 'Oslo'"):
        model.sample(3, given={"town": "Oslo"})


def test_a_new_category_of_a_modelled_column_has_no_density(tmp_path):
    table = houses().drop(columns=["id"])
    run = tmp_path / "run"
    model = caudal.train("nsf", table, target="town", out=run, **SMALL)
    told = []
    model.voice.note = told.append
    new = houses(6, seed=1)
    new.loc[1, "town"] = "Oslo"
    scores = model.log_prob(new)
    assert np.isneginf(scores[1])
    assert np.isfinite(scores.drop(1)).all()
    assert told == [
        "1 row with a category of 'town' that training has not seen, such as 'Oslo', whose "
        "log_prob is -inf"
    ]
    assert model.evaluate(new).rows_outside == 1
    (line,) = model.explain(new, rows=(2,)).to_dict("records")
    assert line["surprise"] == np.inf
    assert line["value"] == "(not seen in training)"
    assert json.loads((run / "eval.json").read_text())["rows_outside"] == 0
    model.config["strict"] = True
    with pytest.raises(InputError, match="row 2, column 'town': unknown category 'Oslo'"):
        model.log_prob(new)
