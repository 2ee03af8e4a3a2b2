"""The pictures and the page of every kind of images, drawn without complaint."""

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from caudal.data.images import ImageSchema
from caudal.report import (
    Filmstrip,
    ImageTeller,
    PixelGaussian,
    Story,
    evaluate,
    write_report,
)
from caudal.report.film import folder_of
from caudal.report.images.checks import draw_values
from caudal.report.images.filmstrip import draw_filmstrip, spread, steps_in
from caudal.report.images.tiles import Panel, across, draw_panels
from caudal.report.page import to_png
from caudal.report.style import house_style
from image_flows import TINY, dataset_of, rows_of, schema_of, tiny_flow

pytestmark = pytest.mark.usefixtures("drawn")
ALWAYS = {"samples", "temperatures", "manifold", "neighbours", "reconstructions"} | {
    "values",
    "moments",
}
CURVE = [
    {"step": s, "train": 500 / s, "lr": 1e-3, "grad_norm": 1.0}
    | ({"valid": 600 / s} if s % 5 == 0 else {})
    for s in range(1, 41)
]


def told(schema, metrics=(), folder=None, draws=1):
    data, flow = dataset_of(schema), tiny_flow(schema)
    gaussian = PixelGaussian.fit(flow, data.train, schema)
    return Story(
        name="a <run>",
        recipe=TINY,
        flow=flow,
        dataset=data,
        evaluation=evaluate(flow, data.test, gaussian, schema, draws=draws),
        metrics=metrics,
        command="caudal train glow",
        config="recipe: glow\n",
        seconds=3.0,
        seed=0,
        folder=folder,
    )


def pixels(png):
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize(
    "schema",
    [schema_of(), schema_of((3, 6, 10), classes=3), schema_of((2, 4, 4))],
    ids=["gray", "RGB given a class", "two channels"],
)
def test_every_kind_of_images(tmp_path, schema):
    check_page(tmp_path, schema)


@pytest.mark.parametrize(
    "schema",
    [schema_of((1, 8, 8), classes=12, bits=5), schema_of((3, 2, 230))],
    ids=["many classes", "wide"],
)
@pytest.mark.usefixtures("laid_out")
def test_images_that_are_hard_to_lay_out(tmp_path, schema):
    check_page(tmp_path, schema)


def check_page(tmp_path, schema):
    story = told(schema)
    page = write_report(tmp_path, story, ImageTeller()).read_text(encoding="utf-8")
    assert {path.stem for path in (tmp_path / "pictures").iterdir()} == ALWAYS
    for path in (tmp_path / "pictures").iterdir():
        picture = pixels(path.read_bytes())
        assert picture.shape[1] <= 1152
        assert picture.std() > 0
    assert "a &lt;run&gt;" in page
    assert ("given the context" in page) == bool(schema.context)
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count('src="data:image/png;base64,') == len(ALWAYS)


def test_the_page_holds_the_numbers(tmp_path):
    Filmstrip(folder_of(tmp_path), tiny_flow(schema_of()), schema_of(), 0)(1)
    Filmstrip(folder_of(tmp_path), tiny_flow(schema_of()), schema_of(), 0)(7)
    story = told(schema_of(), CURVE, tmp_path, draws=4)
    page = write_report(tmp_path, story, ImageTeller()).read_text(encoding="utf-8")
    e = story.evaluation
    for value, error in ((e.score, e.two_se), (e.gain, e.gain_two_se)):
        assert f"{value:,.4f} ± {error:,.4f}" in page
    for value in (e.baseline, e.importance):
        assert f"{value:,.4f}" in page
    assert f"{e.noise_std:.2g}" in page
    assert "lower bound (uniform dequantisation)" in page
    assert "importance" in page
    assert "blobs of light" in page
    assert "caudal train glow" in page
    names = {path.stem for path in (tmp_path / "pictures").glob("*.png")}
    assert names == ALWAYS | {"filmstrip", "curves"}


@pytest.mark.parametrize(("levels", "between"), [(16, True), (256, False)])
@pytest.mark.usefixtures("laid_out")
def test_shares_are_labelled_in_plain_numbers(levels, between):
    """Matplotlib labels a short logarithmic axis with formulas, which we do not typeset."""
    counts = torch.arange(levels).repeat_interleave(torch.arange(levels) ** (2 - between) + 9)
    values = counts.reshape(-1, 1, 1, 1)
    schema = ImageSchema((1, 1, 1), bits=levels.bit_length() - 1)
    with house_style():
        figure = draw_values(values, values, schema)
        figure.canvas.draw()
    axis = figure.axes[0].yaxis
    texts = [t.get_text() for t in axis.get_ticklabels(which="both") if t.get_text()]
    assert texts
    assert all(re.fullmatch(r"[\d.e-]+", text) for text in texts)
    assert any(text.strip("0.") in ("2", "5") for text in texts) == between


def test_tiles_are_enlarged_by_whole_numbers():
    tiles = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7, 1), np.uint8)
    with house_style():
        drawn = pixels(to_png(draw_panels([Panel(tiles, "title", rows=["a", "b"]), Panel(tiles)])))
    enlarged = tiles[1, 2].repeat(12, 0).repeat(12, 1)  # 84 across
    height, width = enlarged.shape[:2]
    assert np.array_equal(drawn[-height:, -width:], enlarged.repeat(3, 2))


def test_so_many_tiles_fit():
    assert across(28, 8, 2) == 8
    assert across(32, 8, 2, 80) == 7  # of 64 dots each
    assert across(64, 8, 2) == 8
    assert across(128, 8, 2) == 4
    assert across(4000, 8, 2) == 2


# --- the filmstrip -----------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [schema_of((3, 4, 6)), schema_of(classes=3)])
def test_a_filmstrip_is_of_the_same_noise_and_leaves_no_trace(tmp_path, schema):
    flow = tiny_flow(schema)
    flow.train()
    flow.bijection.parts[0].eval()
    modes = [module.training for module in flow.modules()]
    strip, state = Filmstrip(tmp_path, flow, schema, seed=3, n=5), torch.get_rng_state()
    first, second = strip(0), strip(123)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in flow.modules()] == modes
    assert second == tmp_path / "step-000123.png"
    assert first.read_bytes() == second.read_bytes()
    assert list(steps_in(tmp_path)) == [0, 123]
    _, height, width = schema.shape
    with Image.open(first) as picture:
        assert picture.size == (5 * width + 4 * 2, height)


def test_a_filmstrip_draws_what_was_sampled(tmp_path):
    schema = schema_of((3, 4, 6))
    flow = tiny_flow(schema)
    for step in range(30):
        Filmstrip(tmp_path, flow, schema, seed=step, n=3)(step)
    with house_style():
        drawn = pixels(to_png(draw_filmstrip(tmp_path)))
    sampled = flow.sample(3, generator=torch.Generator().manual_seed(29))
    last = schema.decode(sampled)[-1].repeat(14, 0).repeat(14, 1)
    assert np.array_equal(drawn[-last.shape[0] :, -last.shape[1] :], last)


def test_the_steps_shown_are_spread():
    assert spread([5, 6], 10) == [5, 6]
    found = spread(list(range(0, 10001, 100)), 10)
    assert len(found) == 10
    assert found[0] == 0
    assert found[-1] == 10000
    assert found[1] == 100
    assert len(spread(list(range(1000, 1040)), 10)) == 10


def test_a_given_context_is_kept(tmp_path):
    schema = schema_of(classes=3)
    strip = Filmstrip(tmp_path, tiny_flow(schema), schema, 0, rows_of(schema).context[1], n=4)
    assert strip.context[:, 0].tolist() == [1, 1, 1, 1]
    assert strip(1).exists()


def test_a_flow_that_breaks_is_shown_and_said(tmp_path):
    story = told(schema_of())
    sample = story.flow.sample

    def broken(*args, **given):
        x = sample(*args, **given)
        x[0] = torch.nan
        return x

    story.flow.sample = broken
    assert Filmstrip(tmp_path / "steps", story.flow, schema_of(), 0)(1).exists()
    page = write_report(tmp_path, story, ImageTeller()).read_text(encoding="utf-8")
    assert "1 of 40 samples have values that are not finite" in page
