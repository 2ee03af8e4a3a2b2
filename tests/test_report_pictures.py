"""The pictures and the page of every kind of table, drawn without complaint."""

import math
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from caudal.data import open_data
from caudal.modality import assemble
from caudal.recipes import NICE
from caudal.report import Gaussian, Story, TableTeller, evaluate, image_side, write_report
from caudal.report.curves import draw_curves
from caudal.report.table.comparison import compare, draw_marginals, level_names, spike
from caudal.report.table.pictures import LABELLED, draw_correlations, draw_pairs

pytestmark = pytest.mark.usefixtures("drawn")


@pytest.fixture(autouse=True)
def _few(request):
    """Only the test of many columns draws as many panels as there can be."""
    if request.function is not test_many_columns:
        request.getfixturevalue("few_panels")


def curve():
    points = [{"step": s, "train": 5 / s, "lr": 1e-3, "grad_norm": 1.0} for s in range(1, 41)]
    for point in points[4::5]:
        point |= {"valid": 6 / point["step"], "tails": 0.01}
    return points


def told(dataset, metrics=()):
    flow = assemble(NICE(layers=2, hidden=(4,)), dataset.schema).eval()
    gaussian = Gaussian.fit(flow, dataset.train)
    return Story(
        name="a <run>",
        recipe=NICE(),
        flow=flow,
        dataset=dataset,
        evaluation=evaluate(flow, dataset.test, gaussian, dataset.schema),
        metrics=metrics,
        command="caudal train nice",
        config="recipe: nice\n",
        seconds=3.0,
        seed=0,
    )


def written(folder, story):
    return write_report(folder, story, TableTeller(rows=200))


def compared(dataset):
    return compare(told(dataset).flow, dataset, rows=200)


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
    page = written(tmp_path, told(dataset, metrics)).read_text(encoding="utf-8")
    assert "a &lt;run&gt;" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    return {path.stem for path in (tmp_path / "pictures").iterdir()}


def test_one_column(tmp_path):
    assert drawn(tmp_path, open_data(table(1)), curve()) == {"marginals", "curves"}


@pytest.mark.usefixtures("laid_out")
def test_two_columns_have_a_density(tmp_path):
    assert drawn(tmp_path, open_data(table(2))) == {"marginals", "density"}


def test_many_columns(tmp_path):
    data = open_data(table(30))
    assert drawn(tmp_path, data, curve()) == {"marginals", "pairs", "correlations", "curves"}


@pytest.mark.usefixtures("laid_out")
def test_gaps_and_categories(tmp_path):
    data = open_data(mixed(), missing="model")
    assert drawn(tmp_path, data) == {"marginals", "pairs", "correlations"}


def test_context_is_that_of_the_rows(tmp_path):
    data = open_data(mixed(), missing="model", context=["name"])
    assert compared(data).context.shape == (200, 1)
    assert "pairs" in drawn(tmp_path, data)


@pytest.mark.parametrize("context", [[], ["digit"]])
def test_digits_are_shown_as_images(tmp_path, context):
    data = open_data("digits", context=context)
    assert image_side(data.schema) == 8
    assert "images" in drawn(tmp_path, data)


def test_the_same_run_gives_the_same_page(tmp_path):
    story = told(open_data(table(2)))
    first, again = (written(tmp_path / name, story).read_bytes() for name in "ab")
    assert first == again


def panel(figure, title):
    return next(a for a in figure.axes if a.get_title(loc="left") == title)


def test_a_spike_is_told_and_the_rest_is_drawn(tmp_path):
    gain = np.where(np.arange(600) % 10 < 9, 0, 1000 + np.arange(600))
    dataset = open_data(table(2).append_column("gain", [gain]))
    axes = panel(draw_marginals(compared(dataset)), "gain")
    note = axes.texts[0].get_text()
    assert note.startswith("0 is 90% | ")
    assert note.endswith("% of the rows\nand is left out")
    low, high = axes.get_xlim()
    assert 900 < low < high < 1700
    words = "A value of more than half"
    assert words in written(tmp_path, told(dataset)).read_text("utf-8")
    assert words not in written(tmp_path, told(open_data(table(1)))).read_text("utf-8")


@pytest.mark.parametrize("values", [[0] * 9 + [1], [0, 1, 2, 3], [], [0] * 5 + list(range(1, 7))])
def test_no_spike(values):
    assert spike(np.array(values, float)) is None
    assert spike(np.array([np.nan, *[0] * 20, *range(1, 20)], float)) == 0


def test_whole_numbers_have_whole_ticks():
    data = open_data("digits", columns=["p02", "p03"])
    axes = panel(draw_marginals(compared(data)), "p03")
    ticks = axes.xaxis.get_major_locator()()
    assert np.array_equal(ticks, np.round(ticks))


def test_a_missing_category_is_called_so():
    column = open_data(pa.table({"v": ["a", "b", None, "a"] * 9}), missing="model").schema.columns[
        0
    ]
    assert level_names(column) == ["a", "b", "missing"]


def test_names_of_categories_use_the_room_beside_short_bars():
    names = np.where(np.arange(600) % 9 < 8, "Married-civ-spouse", "Married-spouse-absent")
    dataset = open_data(table(2).append_column("status", [names]))
    axes = panel(draw_marginals(compared(dataset)), "status")
    assert [t.get_text() for t in axes.texts] == ["Married-civ-s…", "Married-spouse-absent"]
    figure = draw_pairs(compared(dataset))
    labels = [t.get_text() for t in figure.subfigs[0].axes[1].get_yticklabels()]
    assert labels == ["…civ-spo…", "…spouse-…"]


@pytest.mark.parametrize("outside", [1, 2])
def test_the_page_tells_of_rows_that_score_minus_infinity(tmp_path, outside):
    story = told(open_data(table(1)))
    inside = math.nan if outside == 2 else -1.0
    found = replace(
        story.evaluation, score=-math.inf, two_se=math.nan, rows=2, rows_outside=outside,
        score_inside=inside, baseline=-2.5e40, baseline_inside=inside,
        gain=inside - inside, gain_two_se=math.nan,
    )  # fmt: skip
    page = written(tmp_path, replace(story, evaluation=found)).read_text("utf-8")
    assert "too far from the data" in page
    assert "-2.5e+40" in page
    assert ">nan" not in page
    assert ("Gaussian, 1 finite rows" in page) == (outside == 1)


def test_names_without_glyphs_are_drawn_quietly(tmp_path, recwarn):
    names = ["身長", "年齢", "체중"]
    assert "pairs" in drawn(tmp_path, open_data(table(3).rename_columns(names)))
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


def test_only_fonts_that_are_there_are_asked_for(tmp_path, caplog):
    drawn(tmp_path, open_data(table(2)))
    assert "not found" not in caplog.text


@pytest.mark.parametrize("gaussian", [1e4, 5.0, 0.1, -1.0, -1e4])
@pytest.mark.usefixtures("laid_out")
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
    samples = compared(data).samples
    assert set(np.unique(samples)) <= set(range(17))


def test_correlations_of_many_columns_say_what_their_axes_are():
    rows = np.random.default_rng(0).normal(size=(400, LABELLED + 1))
    panels = draw_correlations(compared(open_data(rows))).axes[:3]
    assert panels[0].get_ylabel() == f"{LABELLED + 1} columns, from the top"
    assert all(axes.get_xlabel() == "the same, from the left" for axes in panels)
