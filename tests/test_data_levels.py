"""Categories stand in the order of the column that decides them."""

import numpy as np
import pandas as pd

from caudal.data import open_data


def table(rows=400):
    rng = np.random.default_rng(0)
    years = rng.integers(0, 4, size=rows)
    names = np.array(["none", "school", "college", "doctor"])[years]
    short = np.array(["N", "S", "C", "D"])[years]
    pet = rng.choice(["cat", "ant", "bee"], size=rows)
    frame = {"school": names, "years": 10 * years + rng.integers(0, 10, size=rows), "pet": pet}
    return pd.DataFrame(frame | {"short": short})


def levels(frame, **options):
    columns = open_data(frame, **options).schema.columns
    return {c.name: c.categories for c in columns if c.categories is not None}


def test_categories_follow_what_decides_them_and_others_the_alphabet():
    found = levels(table(), types=("school=categorical", "short=categorical"))
    assert found["school"] == ("none", "school", "college", "doctor")
    assert found["short"] == ("N", "S", "C", "D")
    assert found["pet"] == ("ant", "bee", "cat")


def test_a_gap_stays_the_last_and_an_order_of_the_type_stays():
    frame = table()
    frame.loc[::7, "school"] = None
    assert levels(frame, missing="model")["school"][-2:] == ("doctor", None)
    order = ["school", "none", "doctor", "college"]
    frame["school"] = pd.Categorical(frame["school"], order, ordered=True)
    assert levels(frame, missing="model")["school"] == (*order, None)


def test_many_levels_of_few_rows_decide_nothing():
    rng = np.random.default_rng(0)
    names = [f"n{k:02}" for k in rng.permutation(np.repeat(np.arange(20), 2))]
    frame = pd.DataFrame({"name": names, "x": rng.normal(size=40)})
    assert levels(frame, types=("name=categorical",))["name"] == tuple(sorted(set(names)))


def test_rows_come_back_as_they_were():
    frame = table()
    data = open_data(frame)
    decoded = data.schema.decode(data.train.x).to_pandas()
    kept = frame.merge(decoded.drop_duplicates(), on=list(frame.columns))
    assert len(kept) >= len(decoded)
