"""Circles: splines of angles, flows without a seam, and circular columns of tables."""

import math

import numpy as np
import pytest
import torch

import caudal
from cases import randomise
from caudal.data import Column, TableSchema, open_data
from caudal.elementwise import CircularSpline
from caudal.errors import InputError
from caudal.nets import ColumnEmbedding
from caudal.recipes import MAF, NCSF, NICE, NSF, NSFAR
from caudal.training.checkpoint import load, save_model

SEAM = torch.tensor([-math.pi, math.pi], dtype=torch.float64)
SMALL = {"layers": 3, "hidden": 12, "blocks": 1}


def grid(n, low=-math.pi, high=math.pi):
    """The middles of n equal parts of an interval."""
    return low + (high - low) * (torch.arange(n) + 0.5) / n


def pairs(*axes):
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))


def wrapped(x):
    return torch.remainder(x + math.pi, 2 * math.pi) - math.pi


@pytest.mark.usefixtures("float64")
def test_a_spline_of_the_circle_comes_back_and_tells_its_slope():
    spline = CircularSpline(bins=6)
    x = torch.cat([grid(40), SEAM, torch.zeros(1)]).requires_grad_()
    params = torch.randn(1, spline.n_params, 1).expand(len(x), -1, -1)
    z, log_slope = spline.inverse(x[:, None], params)
    back, log_back = spline.forward(z, params)
    torch.testing.assert_close(wrapped(back[:, 0] - x), torch.zeros(len(x)), atol=1e-9, rtol=0)
    torch.testing.assert_close(log_back, -log_slope, atol=1e-9, rtol=0)
    (slope,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(slope.log()[:40], log_slope[:40, 0], atol=1e-9, rtol=0)
    assert z.min() >= -math.pi
    assert z.max() <= math.pi


@pytest.mark.usefixtures("float64")
def test_without_parameters_a_circle_is_left_as_it_is():
    spline, angles = CircularSpline(), torch.cat([grid(9), SEAM[1:]])[None]
    for direction in (spline.forward, spline.inverse):
        moved, log_slope = direction(angles, torch.zeros(1, spline.n_params, 10))
        torch.testing.assert_close(wrapped(moved - angles).abs().max(), torch.tensor(0.0))
        torch.testing.assert_close(log_slope, torch.zeros_like(angles))


FLOWS = {
    "ncsf": lambda: NCSF(**SMALL).build((2,)),
    "autoregressive": lambda: NCSF(**SMALL, autoregressive=True).build((2,)),
    "nice": lambda: NICE(hidden=(8, 8)).build_on_circles(
        (2,), {0: (-math.pi, math.pi), 1: (0, 24)}
    ),
}


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.usefixtures("float64")
def test_a_density_on_the_torus_integrates_to_one_and_has_no_seam(name):
    torch.manual_seed(0)
    flow = randomise(FLOWS[name](), 0.02 if name == "nice" else 0.05).eval()
    high = 24.0 if name == "nice" else math.pi
    low = 0.0 if name == "nice" else -math.pi
    area = 2 * math.pi * (high - low)
    with torch.no_grad():
        inside = flow.log_prob(pairs(grid(160), grid(160, low, high)))
        assert float(inside.exp().mean()) * area == pytest.approx(1, abs=1e-3)
        assert inside.std() > 0.01  # it is no uniform one
        for angle, ends in ((0, (-math.pi, math.pi)), (1, (low, high))):
            rows = grid(50)[:, None].expand(-1, 2).clone()
            sides = []
            for value in (
                *ends,
                ends[0] + 1e-7,
                ends[1] - 1e-7,
                ends[0] + 3 * (ends[1] - ends[0]),
            ):
                rows[:, angle] = value
                sides.append(flow.log_prob(rows))
            assert (torch.stack(sides) - sides[0]).abs().max() < 1e-4
        x, log_prob = flow.sample_with_log_prob(500)
        torch.testing.assert_close(flow.log_prob(x), log_prob, atol=1e-6, rtol=0)
    assert (x[:, 1] >= low).all()
    assert (x[:, 1] <= high).all()


@pytest.mark.parametrize(
    "recipe", [NCSF(**SMALL, dropout=0.5, autoregressive=True), NSFAR(**SMALL, dropout=0.5)]
)
def test_dropout_of_autoregressive_angles_is_for_training(recipe):
    circles = dict.fromkeys(range(3), (-math.pi, math.pi))
    flow = randomise(recipe.build_on_circles((3,), circles))
    x = torch.rand(20, 3)
    assert not torch.equal(flow.train().log_prob(x), flow.log_prob(x))
    assert torch.equal(flow.eval().log_prob(x), flow.log_prob(x))


def test_float32_is_finite_at_the_seam_and_next_to_it():
    flow = randomise(NCSF(**SMALL).build((1,)), 0.05).eval()
    at = torch.tensor([-math.pi, math.pi, math.pi - 1e-6, 0.0])[:, None].requires_grad_()
    log_prob = flow.log_prob(at)
    (gradient,) = torch.autograd.grad(log_prob.sum(), at)
    assert log_prob.isfinite().all()
    assert gradient.isfinite().all()
    assert (log_prob[:3] - log_prob[0]).abs().max() < 1e-3


@pytest.mark.parametrize("recipe", [NSF(**SMALL), NSFAR(**SMALL), NCSF(**SMALL), MAF(2, (8, 8))])
@pytest.mark.usefixtures("float64")
def test_any_recipe_models_other_columns_given_the_angles(recipe):
    flow = recipe.build_on_circles((3,), {1: (0.0, 360.0)}, (2,)).eval()
    flow = randomise(flow, 0.05)
    x, context = torch.randn(4, 3) * torch.tensor([1.0, 300.0, 1.0]), torch.randn(4, 2)
    with torch.no_grad():
        z = flow.encode(x, context)
        back = flow.decode(z, context)
    x[:, 1] = x[:, 1].remainder(360)
    torch.testing.assert_close(back, x, atol=1e-6, rtol=0)
    noise = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    embedded = flow.embed(context)
    for row in range(4):
        jacobian = torch.autograd.functional.jacobian(
            lambda v, r=row: flow.bijection.inverse(v[None], embedded[r : r + 1])[0][0], x[row]
        )
        told = flow.log_prob(x, context)[row]
        expected = noise[row] + torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(told, expected, atol=1e-6, rtol=0)


def test_a_flow_on_circles_is_saved_with_them(tmp_path):
    x = torch.cat([8 + 24 * torch.rand(200, 1), torch.randn(200, 1)], 1)
    recipe = NSF(layers=1, hidden=8, blocks=1)
    flow = recipe.build_on_circles((2,), {0: (0, 24)})
    caudal.initialize(flow, x)
    save_model(tmp_path / "flow.safetensors", flow.eval(), recipe)
    loaded = load(tmp_path / "flow.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(loaded.log_prob(x), flow.log_prob(x))


@pytest.mark.parametrize("circles", [{}, {3: (0, 1)}, {0: (1, 1)}])
def test_circles_that_are_none_are_refused(circles):
    with pytest.raises(ValueError, match="`circles`"):
        NSF().build_on_circles((2,), circles)


# --- tables ----------------------------------------------------------------------------------


def day(n=400):
    rng = np.random.default_rng(0)
    hour = (23 + 3 * rng.normal(size=n)) % 24
    return {
        "hour": np.floor(hour).astype(int),
        "wind": (np.degrees(0.3 * rng.normal(size=n)) + 15 * hour) % 360,
        "warmth": np.cos(hour / 12 * np.pi) + 0.2 * rng.normal(size=n),
    }


CIRCULAR = ["hour=circular[0,24]", "wind=circular[0,360]"]


def flow_of(data, recipe, scale=0.03):
    torch.manual_seed(0)
    flow = caudal.assemble(recipe, data.schema).eval()
    caudal.initialize(flow, data.train.x, data.train.context)
    return randomise(flow, scale) if scale else flow


def test_whole_hours_are_a_lattice_on_a_circle_and_degrees_are_none():
    table = day()
    table["hour"][:3], table["wind"][0] = (24, -1, 47), -10.0
    hour, wind, _ = open_data(table, types=CIRCULAR).schema.columns
    assert (hour.step, hour.low, hour.high, hour.period) == (1, 0, 23, 24)
    assert (wind.step, wind.low, wind.high, wind.period) == (None, 0, 360, 360)
    assert (hour.support, wind.support) == ("[0, 24)", "[0, 360)")
    x, _ = TableSchema((hour, wind)).encode({name: table[name][:3] for name in ("hour", "wind")})
    assert x[:, 0].tolist() == [0, 23, 23]
    assert x[0, 1].item() == pytest.approx(350)


@pytest.mark.parametrize("recipe", [NSF(**SMALL), NCSF(**SMALL), MAF(layers=1, hidden=(8,))])
def test_samples_of_a_table_lie_on_their_circles_and_the_density_has_no_seam(recipe):
    data = open_data(day(), types=CIRCULAR)
    flow = flow_of(data, recipe)
    drawn = data.schema.decode(flow.sample(300)).to_pandas()
    assert set(drawn["hour"]) <= set(range(24))
    assert drawn["wind"].between(0, 360).all()
    smooth = flow.continuous()
    for column, high in ((0, 24.0), (1, 360.0)):
        rows = data.train.x[:50].clone()
        rows[:, column] = 0.0
        ends = [rows, rows.clone()]
        ends[1][:, column] = high
        with torch.no_grad():
            low, top = (smooth.log_prob(end) for end in ends)
        torch.testing.assert_close(low, top, atol=2e-3, rtol=0)


def test_a_single_circular_column_has_its_density_in_its_own_unit():
    data = open_data({"wind": day()["wind"]}, types=["wind=circular[0,360]"])
    flow = flow_of(data, NSF(**SMALL))
    with torch.no_grad():
        log_prob = flow.log_prob(grid(4000, 0, 360)[:, None])
    assert float(log_prob.exp().mean()) * 360 == pytest.approx(1, abs=1e-3)
    assert log_prob.std() > 0.01


def test_latitude_and_longitude_are_a_density_on_the_sphere():
    rng = np.random.default_rng(0)
    up = rng.uniform(-1, 1, size=500)
    data = open_data(
        {"lat": np.degrees(np.arcsin(up)), "lon": rng.uniform(-180, 180, size=500)},
        types=["lat=latitude", "lon=circular[-180,180]"],
    )
    flow = flow_of(data, NSF(**SMALL), scale=0.0).double()
    rows = pairs(grid(2000, -90, 90), grid(8, -180, 180)).double()
    with torch.no_grad():
        log_prob = flow.log_prob(rows)
    assert float(log_prob.exp().mean()) * 180 * 360 == pytest.approx(1, abs=2e-3)
    area = log_prob - torch.cos(rows[:, 0] * math.pi / 180).log()  # of a square of one degree
    assert area.std() < 0.5 < log_prob.std()


def test_a_circle_in_the_context_is_told_without_its_seam():
    embedding = ColumnEmbedding([0, 0, 3], [True, False, False], True, {0: (0.0, 24.0)})
    embedding.observe(torch.tensor([[1.0, 2.0, 0.0], [23.0, 5.0, 2.0]]))
    rows = torch.tensor([[0.0, 3.0, 1.0], [24.0, 3.0, 1.0], [math.nan, 3.0, 1.0]])
    features = embedding(rows)
    assert features.shape == (3, embedding.n_features)
    torch.testing.assert_close(features[0], features[1], atol=1e-5, rtol=0)
    assert features[2, :7].tolist() == [0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ("hour=circular", "both ends"),
        ("hour=circular[0,]", "both ends"),
        ("hour=circular[24,0]", "below the upper end"),
        ("hour=circular[0,24]:5", "whole number of steps"),
        ("hour=circular[0,24]@0", "no atoms"),
        ("warmth=latitude:1", "no step"),
        ("warmth=latitude[0,]", "both poles"),
    ],
)
def test_what_is_no_circle_is_refused(types, message):
    with pytest.raises(InputError, match=message):
        open_data(day(), types=[types])


def test_pi_is_a_number_of_an_end():
    data = open_data({"a": np.linspace(-3, 3, 50)}, types=["a=circular[-pi,pi]"])
    assert data.schema.columns[0].period == pytest.approx(2 * math.pi)


def test_ncsf_says_that_a_table_has_no_circle():
    with pytest.raises(InputError, match="there is none: declare one"):
        caudal.assemble(NCSF(), open_data(day()).schema)


def test_gaps_of_a_circular_column_stay_gaps():
    hour = Column("hour", "circular", low=0.0, high=24.0)
    turned = hour.turned(np.array([25.0, np.nan, -1.0, 24.0]))
    np.testing.assert_array_equal(turned, [1.0, np.nan, 23.0, 0.0])
