"""What is told of image flows: bits/dim, a Gaussian, neighbours, what lies between images."""

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from caudal.bijection import Chain
from caudal.bijections import Rescale
from caudal.data.images import ImageSchema
from caudal.data.source import Rows
from caudal.errors import InputError, NumericalError
from caudal.flow import Flow
from caudal.interpolation import coefficients, interpolate, manifold
from caudal.numerics import RowGenerator
from caudal.recipes.multiscale import variational
from caudal.report import PixelGaussian, evaluate, load_baseline, save_baseline
from caudal.report import gaussian as gaussians
from caudal.report.images import checks
from caudal.report.images.checks import find_neighbours, nearest, reconstruct, shares
from image_flows import rows_of, schema_of, tiny_flow, uniform_flow

GRAY = schema_of()
MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist"

# --- bits/dim ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "expected"), [(8, 8.0), (5, 5.0)])
def test_a_uniform_flow_takes_all_the_bits(bits, expected):
    schema = schema_of((3, 4, 6), bits=bits)
    result = evaluate(uniform_flow(schema), rows_of(schema), None, schema, draws=3)
    assert result.score == pytest.approx(expected, abs=1e-6)
    assert result.importance == pytest.approx(expected, abs=1e-6)
    assert result.noise_std == 0
    assert result.two_se == pytest.approx(0, abs=1e-6)
    assert result.log_prob == pytest.approx(-schema.countable * bits * math.log(2), rel=1e-6)


def test_bits_do_not_depend_on_the_scale_of_pixels():
    rows, flow = rows_of(GRAY), tiny_flow(GRAY).double()
    pixels = flow.bijection.parts[-1]
    assert isinstance(pixels, Rescale)
    # The same density, of pixels in [-1, 1] instead of [0, 1].
    between = Rescale(0.5, 0.5 + pixels.offset)
    rescaled = Chain([*flow.bijection.parts[:-1], between, Rescale(2 / 256, -1.0)])
    other = Flow(rescaled, flow.base, dequantization=flow.dequantization)
    for pair in ((flow, other), (uniform_flow(GRAY), uniform_flow(GRAY, -1.0, 1.0))):
        a, b = (evaluate(f.double(), rows, None, GRAY).score for f in pair)
        assert a == pytest.approx(b, abs=1e-6)


def test_bits_are_those_of_log_prob():
    rows, flow = rows_of(GRAY), tiny_flow(GRAY)
    result = evaluate(flow, rows, None, GRAY, seed=3)
    with torch.no_grad():
        log_prob = flow.log_prob(rows.x.float(), None, RowGenerator(seed=3)).double()
    bits = -log_prob / (64 * math.log(2))
    assert result.score == pytest.approx(float(bits.mean()), abs=1e-9)
    assert result.two_se == pytest.approx(2 * float(bits.std()) / math.sqrt(40), abs=1e-9)
    assert result.kind == "lower bound (uniform dequantisation)"
    assert result.rows == 40
    assert result.baseline is None


def test_noise_is_measured():
    rows, flow = rows_of(GRAY), tiny_flow(GRAY)
    seeds = [evaluate(flow, rows, None, GRAY, seed=s) for s in range(30)]
    means = torch.tensor([r.score for r in seeds])
    assert seeds[0].noise_std > 0
    assert float(means.std()) == pytest.approx(seeds[0].noise_two_se / 2, rel=0.5)
    several = evaluate(flow, rows, None, GRAY, draws=16)
    assert several.noise_two_se == pytest.approx(several.noise_std * 2 / math.sqrt(16 * 40))


def test_the_importance_bound_is_the_tighter_one():
    result = evaluate(tiny_flow(GRAY), rows_of(GRAY), None, GRAY, draws=8)
    assert result.importance < result.score
    assert result.draws == 8


def test_variational_noise_is_named():
    flow = tiny_flow(GRAY)
    flow.dequantization = variational(GRAY.shape, GRAY.levels)
    result = evaluate(flow, rows_of(GRAY), None, GRAY)
    assert result.kind == "lower bound (variational dequantisation)"


def test_an_image_outside_is_counted():
    schema = schema_of(bits=5)
    rows = rows_of(schema)
    rows.x[7, 0, 0, 0] = 40
    gaussian = PixelGaussian.fit(None, Rows(rows.x[:7]), schema)
    result = evaluate(tiny_flow(schema), rows, gaussian, schema)
    assert result.rows_outside == 1
    assert result.score == math.inf
    assert math.isfinite(result.score_inside)
    assert math.isfinite(result.gain)
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert told["bits_per_dim"] is None


def test_a_damaged_flow_raises():
    flow = tiny_flow(GRAY)
    with torch.no_grad():
        next(flow.parameters()).fill_(torch.nan)
    with pytest.raises(NumericalError, match="not a number"):
        evaluate(flow, rows_of(GRAY), None, GRAY)


def test_a_limit_takes_some_images_and_progress_is_shown():
    seen = []

    def track(batches, what, total):
        seen.append((what, total))
        return batches

    result = evaluate(tiny_flow(GRAY), rows_of(GRAY), None, GRAY, limit=10, track=track)
    assert result.rows == 10
    assert seen == [("evaluating", 1)]


# --- the Gaussian ------------------------------------------------------------------------------


def test_the_gaussian_is_that_of_the_logits():
    rows = rows_of(GRAY, 700)
    baseline = PixelGaussian.fit(None, rows, GRAY)
    y, log_det = baseline.logits(rows.x, torch.Generator().manual_seed(0))
    normal = torch.distributions.MultivariateNormal(y.mean(0), y.T.cov(correction=0))
    expected = normal.log_prob(y) + log_det
    found = baseline.log_mass(rows.x, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, expected)
    result = evaluate(tiny_flow(GRAY), rows, baseline, GRAY)
    y, log_det = baseline.logits(rows.x, RowGenerator(seed=0))  # the noise of an evaluation
    bits = -float((normal.log_prob(y) + log_det).mean()) / (64 * math.log(2))
    assert result.baseline == pytest.approx(bits, abs=1e-6)
    assert result.gain == pytest.approx(bits - result.score, abs=1e-6)


def test_a_covariance_of_few_images_is_shrunk():
    few, many = rows_of(GRAY, 50), rows_of(GRAY, 700, 1)
    baseline = PixelGaussian.fit(None, few, GRAY)
    assert "OAS" in baseline.note
    assert "maximum likelihood" in PixelGaussian.fit(None, many, GRAY).note
    result = evaluate(tiny_flow(GRAY), many, baseline, GRAY)
    assert result.baseline < 9  # of maximum likelihood: thousands
    cov = torch.tensor([[4.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    found, share = gaussians.shrunk(cov, 20)
    square = (1 + 1 + 0.25 + 0.25) / 4
    assert share == pytest.approx((square + 1) / (21 * (square - 1 / 2)))
    expected = torch.tensor([[4.0, 1 - share], [1 - share, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_the_log_det_of_the_logits_is_theirs():
    baseline = PixelGaussian.fit(None, rows_of(GRAY), GRAY)
    v = torch.tensor([[[[0.0, 3.0], [200.0, 255.0]]]])
    y, log_det = baseline.logits(v, torch.Generator().manual_seed(1))
    u = torch.rand(v.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = ((v + u) / 256).flatten().requires_grad_()
    p = baseline.alpha + (1 - 2 * baseline.alpha) * x
    slope = torch.autograd.grad((expected := p.logit()).sum(), x)[0]
    torch.testing.assert_close(y[0], expected.detach(), rtol=1e-9, atol=1e-9)
    assert float(log_det[0]) == pytest.approx(float(slope.log().sum()) - 4 * math.log(256))


def test_the_gaussian_is_saved_whole(tmp_path):
    rows = rows_of(GRAY)
    baseline = PixelGaussian.fit(None, rows, GRAY)
    save_baseline(tmp_path / "g.safetensors", baseline)
    loaded = load_baseline(tmp_path / "g.safetensors", "images")
    pair = [g.log_mass(rows.x, torch.Generator().manual_seed(0)) for g in (baseline, loaded)]
    assert torch.equal(*pair)
    assert (loaded.note, loaded.shape, loaded.levels) == (baseline.note, (1, 8, 8), 256)
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged"):
        load_baseline(tmp_path / "bad.safetensors", "images")


def test_large_images_have_independent_pixels(monkeypatch, tmp_path):
    rows = rows_of(GRAY)
    monkeypatch.setattr(gaussians, "MOST", 63)
    baseline = PixelGaussian.fit(None, rows, GRAY)
    assert "independent pixels" in baseline.note
    y, log_det = baseline.logits(rows.x, torch.Generator().manual_seed(0))
    normal = torch.distributions.Normal(y.mean(0), y.std(0, correction=0))
    found = baseline.log_mass(rows.x, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, normal.log_prob(y).sum(1) + log_det)
    save_baseline(tmp_path / "g.safetensors", baseline)
    assert load_baseline(tmp_path / "g.safetensors", "images").gaussian.factor.ndim == 1


@pytest.mark.skipif(not MNIST.exists(), reason="needs MNIST")
def test_the_gaussian_of_mnist_is_mafs():
    """Table 2 of its paper: -1366.9 ± 1.4 nats of logits; 2.0131 bits/dim."""
    train, test = (idx(MNIST / f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k"))
    schema = ImageSchema((1, 28, 28))
    baseline = PixelGaussian.fit(None, Rows(train[:50000]), schema)
    assert baseline.alpha == 1e-6
    y, log_det = baseline.logits(test, torch.Generator().manual_seed(1))
    log_prob = baseline.gaussian.log_density(y)
    assert float(log_prob.mean()) == pytest.approx(-1366.9, abs=0.5)
    bits = -float((log_prob + log_det).mean()) / (784 * math.log(2))
    assert bits == pytest.approx(2.0131, abs=1e-3)


def idx(path):
    with gzip.open(path) as file:
        return torch.from_numpy(np.frombuffer(bytearray(file.read()), np.uint8, offset=16)).view(
            -1, 1, 28, 28
        )


# --- between images ----------------------------------------------------------------------------


def test_coefficients_keep_the_norm():
    phi, phi2 = torch.rand(2, 50, generator=torch.Generator().manual_seed(0)) * 7
    found = coefficients(phi, phi2)
    assert found.shape == (50, 4)
    torch.testing.assert_close(found.square().sum(-1), torch.ones(50, dtype=torch.float64))


def test_interpolation_has_the_examples_at_its_corners():
    z = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    ends = torch.tensor([0.0, math.pi / 2], dtype=torch.float64)
    found = interpolate(z, *torch.meshgrid(ends, ends, indexing="ij"))
    torch.testing.assert_close(found.flatten(0, 1), z, rtol=0, atol=1e-7)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 4, 6)])
def test_the_corners_of_a_manifold_are_the_images(shape, classes):
    schema = schema_of(shape, classes)
    rows, flow = rows_of(schema), tiny_flow(schema)
    images, context = rows.x[:4], None if rows.context is None else rows.context[:4]
    found = manifold(flow, images, context, n=5, seed=1)
    assert found.shape == (5, 5, *shape)
    corners = torch.stack([found[0, 0], found[0, -1], found[-1, 0], found[-1, -1]])
    assert torch.equal(corners, images.float())
    assert torch.equal(found, manifold(flow, images.float(), context, n=5, seed=1))


def test_a_cell_has_the_class_of_its_nearest_corner():
    schema = schema_of(classes=4)
    flow, seen = tiny_flow(schema), []
    decode = flow.decode
    flow.decode = lambda z, context: seen.append(context[:, 0].tolist()) or decode(z, context)
    manifold(flow, rows_of(schema).x[:4], torch.arange(4.0)[:, None], n=3)
    assert seen == [[0, 0, 1], [0, 0, 1], [2, 2, 3]]


def test_a_manifold_has_four_corners():
    with pytest.raises(ValueError, match="4 corners"):
        manifold(tiny_flow(GRAY), rows_of(GRAY).x[:3])


# --- neighbours, reconstructions, statistics ---------------------------------------------------


def test_neighbours_are_those_of_brute_force(monkeypatch):
    monkeypatch.setattr("caudal.report.images.checks.CHUNK", 7 * 64)
    queries, images = rows_of(GRAY, 9, 1).x, rows_of(GRAY, 50).x
    images[13] = queries[4]
    rows, distances = nearest(queries, images)
    difference = queries.double().flatten(1)[:, None] - images.double().flatten(1)[None]
    expected, order = difference.square().mean(2).sqrt().sort(1)
    torch.testing.assert_close(distances, expected[:, :4])
    assert torch.equal(rows[:, 0], order[:, 0])
    assert rows[4, 0] == 13
    assert distances[4, 0] == 0


def test_copies_are_told_by_their_distance():
    train, test = rows_of(GRAY, 50), rows_of(GRAY, 20, 5)
    found = find_neighbours(train.x[:10].float(), test.x, train)
    assert found.ratio == 0
    assert found.medians[1] > 0
    assert find_neighbours(test.x.float(), test.x, train).ratio == 1


def test_where_there_are_many_they_are_searched_all_over(monkeypatch):
    monkeypatch.setattr(checks, "PRODUCTS", 0)  # at least 1000 are searched
    train = rows_of(GRAY, 2500)
    found = find_neighbours(train.x[2400:2401].float(), train.x[3:4], train)
    assert found.training == 834
    assert (int(found.near_samples[0, 0]), int(found.near_test[0, 0])) == (2400, 3)
    assert float(found.sample_distances[0, 0]) == 0


def test_fewer_images_than_neighbours():
    assert nearest(rows_of(GRAY, 3).x, rows_of(GRAY, 2, 1).x)[0].shape == (3, 2)


def test_images_come_back():
    found = reconstruct(tiny_flow(GRAY), rows_of(GRAY))
    assert found.changed <= 1
    assert 0 <= found.largest < 1e-2


def test_shares_of_values_add_up():
    found = shares(rows_of(GRAY).x, 256)
    assert found.shape == (256,)
    assert found.sum() == pytest.approx(1)
    assert found[0] == pytest.approx(float((rows_of(GRAY).x == 0).double().mean()))


def test_eval_json_says_what_it_is():
    result = evaluate(tiny_flow(GRAY), rows_of(GRAY), None, GRAY)
    told = replace(result, split="valid").to_dict()
    assert told["unit"] == "bits/dim"
    assert told["elements"] == 64
    assert "bits_per_dim_importance" not in told


def test_the_gaussian_of_some_of_the_images_says_so() -> None:
    rows = rows_of(GRAY)
    some = PixelGaussian.fit(None, rows, GRAY, most=rows.n_items // 2)
    assert f"{rows.n_items // 2:,} of the training images" in some.note
    assert f"the {rows.n_items:,} training images" in PixelGaussian.fit(None, rows, GRAY).note
