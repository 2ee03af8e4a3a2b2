"""Images that are learned with noise, and samples from which it is taken off again."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import caudal
from caudal.base import Normal
from caudal.bijections import Rescale
from caudal.denoising import denoised
from caudal.dequantization import ImageDequantization
from caudal.explore.latent import LEFT, OFF
from caudal.explore.subject import Subject
from caudal.explore.tabs import answer, tabs_of
from caudal.flow import Flow
from caudal.report.images import guide
from caudal.report.images.sheets import sample_images
from command_line import caudal as command


def test_the_step_gives_the_mean_of_a_gaussian_given_its_noisy_value():
    """For x ~ N(0, 2^2) and noise of 1, E[x | y] = 4/5 y."""
    flow = Flow(Rescale(5**-0.5), Normal((3,)))
    y = torch.randn(7, 3)
    torch.testing.assert_close(denoised(flow, y, 1.0), 0.8 * y)
    assert denoised(flow, y[:0], 1.0).shape == (0, 3)


def test_many_rows_are_denoised_in_pieces_with_their_own_contexts(monkeypatch):
    flow = caudal.recipes.MAF(layers=1, hidden=(8,)).build((3,), (2,)).eval()
    y, context = torch.randn(5, 3), torch.randn(5, 2)
    whole = denoised(flow, y, 0.5, context)
    monkeypatch.setattr("caudal.denoising._AT_ONCE", 6)
    torch.testing.assert_close(denoised(flow, y, 0.5, context), whole)
    for one in (context[0], context[:1]):
        each = denoised(flow, y, 0.5, context[:1].expand(5, 2))
        torch.testing.assert_close(denoised(flow, y, 0.5, one), each)
    with torch.inference_mode():
        torch.testing.assert_close(denoised(flow, y + 0, 0.5, context + 0), whole)
    with pytest.raises(caudal.InputError, match="`context` has 3 rows, and `y` 5"):
        denoised(flow, y, 0.5, context[:3])


def test_a_dequantised_flow_is_refused():
    dequantization = ImageDequantization((1, 2, 2), 256, 6.0)
    flow = Flow(Rescale(1.0), Normal((1, 2, 2)), dequantization=dequantization)
    with pytest.raises(caudal.InputError, match=r"give `flow.continuous\(\)`"):
        denoised(flow, torch.zeros(2, 1, 2, 2), 6.0)


def test_noise_comes_on_top_in_training_alone():
    noisy, plain = ImageDequantization((1, 8, 8), 256, 6.0), ImageDequantization((1, 8, 8), 256)
    images = torch.full((200, 1, 8, 8), 100.0)
    y, log_q = noisy.lift(images)
    assert abs(float((y - 100.5).std()) - (36 + 1 / 12) ** 0.5) < 0.2
    assert not log_q.any()
    seeds = [torch.Generator().manual_seed(1) for _ in range(2)]
    scored = [
        part.eval().lift(images, g)[0] for part, g in zip((noisy, plain), seeds, strict=True)
    ]
    assert torch.equal(*scored)


@pytest.fixture(scope="module")
def noisy_run(tmp_path_factory):
    """A flow of pictures of one bright pixel in each of two places, learned with noise."""
    home = tmp_path_factory.mktemp("noisy")
    pixels = np.zeros((64, 4, 4), np.uint8)
    pixels[:32, 0, 0], pixels[32:, 3, 3] = 200, 200
    np.save(home / "pixels.npy", pixels)
    sizes = {"layers": 2, "width": 8, "heads": 2, "patch": 2}
    options = {"steps": 80, "batch_size": 32, "lr": 1e-2, "pixel_noise": 20.0}
    folder = home / "run"
    caudal.train("tarflow", home / "pixels.npy", out=folder, **sizes, **options)
    return folder


def test_denoised_samples_have_less_noise(noisy_run, tmp_path, capsys):
    model = caudal.load(noisy_run)
    rough, smooth = (model.sample(64, seed=1, denoise=d).astype(float) for d in (False, True))
    background = np.s_[:, 1:3, 1:3]
    assert rough[background].mean() > 4  # half of N(0, 20^2) lies above 0, at 16 on average
    assert smooth[background].mean() < 0.7 * rough[background].mean()
    assert command("eval", noisy_run) == 0
    said = capsys.readouterr().out
    assert "of a flow that has learned images with noise of 20 steps" in " ".join(said.split())
    out = tmp_path / "clean.npy"
    assert command("sample", noisy_run, "-n", 4, "--denoise", "--out", out) == 0
    assert np.load(out).shape == (4, 4, 4, 1)
    assert "no samples of the density" in " ".join("".join(capsys.readouterr()).split())
    assert command("sample", noisy_run, "-n", 4, "--denoise", "--out", out, "--overwrite",
                   "--json") == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out)["denoise"] == 20.0


def test_the_page_shows_samples_without_the_noise_and_says_so(noisy_run):
    model = caudal.load(noisy_run)
    schema = model.schema
    kept = sample_images(model.flow, replace(schema, pixel_noise=0.0), 64)[..., 1:3, 1:3]
    taken = sample_images(model.flow, schema, 64)[..., 1:3, 1:3]
    assert taken.mean() < 0.7 * kept.mean()
    assert model.kind.guide.drawing(schema) == {"denoise": True}
    assert "noise of training, of 20 steps" in model.kind.guide.remark(schema)
    told = (noisy_run / "report.html").read_text("utf-8")
    assert "learned with noise of 20 steps, which is taken off samples" in told
    assert "in training of noisy images" in told


@pytest.mark.parametrize("title", ["Noise", "Between four"])
def test_tabs_of_noise_take_it_off_or_leave_it_on(title, noisy_run, monkeypatch):
    subject = Subject(caudal.load(noisy_run))
    shown = []
    monkeypatch.setattr(
        subject.guide, "show", lambda schema, sides, ground=None: shown.append(sides) or []
    )
    (tab,) = (tab for tab in tabs_of(subject) if tab.title == title)
    assert "learned images with noise" in tab.intro
    assert tab.defaults()["grain"] == OFF
    for grain in (OFF, LEFT):
        answer(subject, tab, {**tab.defaults(), "grain": grain})
    clean, left = (np.asarray(sides[-1].items, float) for sides in (shown[0], shown[-1]))
    assert not np.array_equal(clean, left)
    if title == "Noise":
        assert np.array_equal(left, shown[-1][0].items)  # f(z) is the item


def test_layers_end_without_the_noise(noisy_run, monkeypatch):
    shown = []
    monkeypatch.setattr(guide, "draw_greys", lambda *given: shown.append(given))
    monkeypatch.setattr(guide, "draw_one", lambda name, draw: draw())
    model = caudal.load(noisy_run)
    model.kind.guide.film(model.flow, model.schema, seed=0)
    ((shades, ends),) = shown
    (_, noisy), (_, clean) = shades[-2:]
    assert ends == ["noisy", "noise off"]
    assert clean[:, 1:3, 1:3].abs().mean() < noisy[:, 1:3, 1:3].abs().mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixels": "logit"}, "no logit goes"),
        ({"dequantization": "variational"}, "`dequantization` uniform alone"),
        ({"pixel_noise": -1.0}, "pixel_noise"),
    ],
)
def test_noise_refuses_what_it_does_not_go_with(options, message):
    pixels = np.zeros((20, 4, 4), np.uint8)
    with pytest.raises(caudal.InputError, match=message):
        caudal.train("tarflow", pixels, steps=1, **{"pixel_noise": 5.0, **options})


def test_a_run_without_noise_has_none_to_take_off():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 4, 4)).astype(np.uint8)
    model = caudal.train("nice", pixels, steps=1, layers=2, hidden=(4,), report=False)
    with pytest.raises(caudal.InputError, match="is for runs of `pixel_noise`"):
        model.sample(2, denoise=True)
