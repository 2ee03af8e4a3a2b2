"""The alpha of the logit is chosen from the images, and keeps every value of a pixel."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import caudal
from caudal import InputError
from caudal.bijections import Logit
from caudal.data import ImageSchema, open_images
from caudal.data.images.alpha import ALPHAS, fitting_alpha
from caudal.recipes import Glow

DATA = Path(__file__).parents[2] / "shared" / "data"


def ink(n=300):
    """White strokes on black with gray edges, as digits are: uint8 (N, 8, 8, 1)."""
    rng = np.random.default_rng(0)
    images = np.zeros((n, 8, 8, 1), np.uint8)
    for image, column in zip(images, rng.integers(1, 6, n), strict=True):
        image[1:7, column] = rng.integers(230, 256, (6, 1))
        image[1:7, column + 1] = rng.integers(0, 256, (6, 1))
    return images


def photographs(n=300):
    """Shades of all values, of which few are black or white."""
    shades = np.random.default_rng(0).normal(120, 55, (n, 8, 8, 1))
    return shades.clip(0, 255).astype(np.uint8)


def channels_first(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def test_ink_asks_for_a_smaller_alpha_than_photographs():
    assert fitting_alpha(channels_first(ink()), 256) <= 1e-3
    assert fitting_alpha(channels_first(photographs()), 256) >= 0.02


def test_the_alpha_is_that_of_the_highest_likelihood():
    images = channels_first(ink()[:, :4])
    x = (images.double() + torch.rand(images.shape, dtype=torch.float64)) / 256

    def likelihood(alpha):
        y, log_det = Logit(alpha).inverse(x)
        normal = torch.distributions.Normal(y.mean(0), y.std(0, correction=0))
        return float((normal.log_prob(y).flatten(1).sum(1) + log_det).mean())

    pairs = [(0.4, 0.05), (0.05, 0.01), (0.01, 1e-3)]
    for one, other in pairs:  # far enough apart for the noise not to matter
        better = max(one, other, key=likelihood)
        assert fitting_alpha(images, 256, (one, other)) == better
    assert likelihood(fitting_alpha(images, 256)) > max(map(likelihood, ALPHAS)) - 0.05


def test_the_choice_is_in_the_schema_unless_it_was_made():
    chosen = open_images(ink()).schema
    assert chosen.alpha == open_images(ink(), pixels="logit").schema.alpha <= 1e-3
    assert open_images(ink(), alpha=0.01).schema.alpha == 0.01
    again = open_images(photographs(), schema=chosen).schema
    assert again == chosen
    assert ImageSchema((1, 8, 8)).alpha == 0.05  # of files that name none


def test_training_and_the_parts_below_it_choose_alike():
    model = caudal.train(
        "glow", ink(), layers=1, maps=2, scales=1, steps=2, batch_size=16, report=False
    )
    schema = open_images(ink(), seed=0).schema
    assert model.schema.alpha == schema.alpha == model.config["alpha"]
    flow = caudal.assemble(Glow(layers=1, maps=2, scales=1), schema)
    logits = [part.alpha for part in flow.modules() if isinstance(part, Logit)]
    assert logits == [schema.alpha]


def test_an_alpha_out_of_its_range_is_refused():
    with pytest.raises(InputError, match="`alpha` 0.5"):
        open_images(ink(), alpha=0.5)


@pytest.mark.parametrize("alpha", [0.4, 0.05, 1e-5, 1e-6])
def test_each_value_survives_the_logit(alpha):
    """In float32, with noise from near the lower to near the upper end of a value."""
    noise = torch.tensor([1e-3, 0.5, 1 - 1e-3])
    x = (torch.arange(256.0)[:, None] + noise) / 256
    y, log_det = Logit(alpha).inverse(x)
    back, back_det = Logit(alpha).forward(y)
    assert torch.equal((back * 256).floor(), (x * 256).floor())
    exact, exact_det = Logit(alpha).inverse(x.double())
    torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(log_det.double(), exact_det, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(back_det, -log_det, rtol=1e-5, atol=1e-4)


def test_samples_far_out_are_the_ends():
    x, log_det = Logit(1e-5).forward(torch.tensor([[-1e3, 1e3]]))
    assert math.isfinite(float(log_det))
    assert x.clamp(0, 1).tolist() == [[0.0, 1.0]]


@pytest.mark.skipif(not DATA.is_dir(), reason="no real data beside the checkout")
@pytest.mark.parametrize(("name", "low", "high"), [("mnist", 0, 1e-4), ("bsds300", 0.02, 0.1)])
def test_real_images(name, low, high):
    assert low <= open_images(DATA / name, crop=[28]).schema.alpha <= high
