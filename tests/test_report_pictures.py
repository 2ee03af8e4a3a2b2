"""The pictures and the page of every kind of table, drawn without complaint."""

import re

import numpy as np
import pyarrow as pa
import pytest

from caudal.data import open_data
from caudal.recipes import NICE
from caudal.report import Story, compare, evaluate, fit_gaussian, write_report
from caudal.report.curves import draw_curves
from caudal.report.images import image_side
from caudal.training.assemble import assemble


def curve():
    points = [{"step": s, "train": 5 / s, "lr": 1e-3, "grad_norm": 1.0} for s in range(1, 41)]
    for point in points[4::5]:
        point |= {"valid": 6 / point["step"], "tails": 0.01}
    return points


def told(dataset, metrics=()):
    flow = assemble(NICE(layers=2, hidden=(4,)), dataset.schema).eval()
    gaussian = fit_gaussian(flow, dataset.train)
    return Story(
        name="a <run>",
        recipe=NICE(),
        flow=flow,
        dataset=dataset,
        evaluation=evaluate(flow, dataset.test, gaussian, dataset.schema),
        comparison=compare(flow, dataset, rows=200),
        metrics=metrics,
        command="caudal train nice",
        config="recipe: nice\n",
        seconds=3.0,
        seed=0,
    )


def table(columns, rows=600):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, columns)) @ rng.normal(size=(columns, columns))
    return pa.table({f"column_{i}": x[:, i] for i in range(columns)})


def mixed():
    rows = table(7)
    gaps = np.random.default_rng(1).random(600) < 0.2
    values = np.where(gaps, np.nan, rows["column_0"])
    names = np.array([f"level {i}" for i in range(12)])[np.arange(600) % 12]
    return rows.set_column(0, "gappy", [values]).append_column("name", [names])


def drawn(tmp_path, dataset, metrics=()):
    page = write_report(tmp_path, told(dataset, metrics)).read_text(encoding="utf-8")
    assert "a &lt;run&gt;" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    return {path.stem for path in (tmp_path / "pictures").iterdir()}


def test_one_column(tmp_path):
    assert drawn(tmp_path, open_data(table(1)), curve()) == {"marginals", "curves"}


def test_two_columns_have_a_density(tmp_path):
    assert drawn(tmp_path, open_data(table(2))) == {"marginals", "density"}


def test_many_columns(tmp_path):
    data = open_data(table(30))
    assert drawn(tmp_path, data, curve()) == {"marginals", "pairs", "correlations", "curves"}


def test_gaps_and_categories(tmp_path):
    data = open_data(mixed(), missing="model")
    assert drawn(tmp_path, data) == {"marginals", "pairs", "correlations"}


def test_context_is_that_of_the_rows(tmp_path):
    data = open_data(mixed(), missing="model", context=["name"])
    assert told(data).comparison.context.shape == (200, 1)
    assert "pairs" in drawn(tmp_path, data)


@pytest.mark.parametrize("context", [[], ["digit"]])
def test_digits_are_shown_as_images(tmp_path, context):
    data = open_data("digits", context=context)
    assert image_side(data.schema) == 8
    assert "images" in drawn(tmp_path, data)


def test_the_same_run_gives_the_same_page(tmp_path):
    story = told(open_data(table(2)), curve())
    first, again = (write_report(tmp_path / name, story).read_bytes() for name in "ab")
    assert first == again


def test_names_without_glyphs_are_drawn_quietly(tmp_path, recwarn):
    names = ["身長", "年齢", "체중"]
    assert "pairs" in drawn(tmp_path, open_data(table(3).rename_columns(names)))
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


def test_only_fonts_that_are_there_are_asked_for(tmp_path, caplog):
    drawn(tmp_path, open_data(table(2)))
    assert "not found" not in caplog.text


@pytest.mark.parametrize("gaussian", [1e4, 5.0, 0.1, -1.0, -1e4])
def test_the_gaussian_is_told_inside_the_frame(gaussian):
    figure = draw_curves(curve(), gaussian)
    figure.canvas.draw()  # constrained layout warns here where something cannot fit
    axes = figure.subfigs[0].axes[0]
    words = next(t for t in axes.texts if "one Gaussian" in t.get_text())
    low, high = axes.get_ylim()
    assert low <= words.xy[1] <= high
    assert ("frame" in words.get_text()) == (abs(gaussian) > 4)
    assert high - low < 15


def test_the_users_matplotlib_is_left_alone(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawn(tmp_path, open_data(table(2)))
    assert dict(matplotlib.rcParams) == before


def test_samples_are_as_in_the_file():
    data = open_data("digits")
    samples = told(data).comparison.samples
    assert set(np.unique(samples)) <= set(range(17))
