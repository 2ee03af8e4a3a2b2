"""DESIGN's laws on small images: every bijection, every recipe, with and without a class."""

import math
from copy import deepcopy
from functools import cache

import pytest
import torch
from torch import nn

from caudal import Chain, Flow, InputError, bijection, calibrate, initialize
from caudal.base import Normal
from caudal.bijection import in_pieces, walk
from caudal.bijections import ZCA, ActNorm, FactorOut, LUConv1x1, Rescale, Squeezed
from caudal.data import ImageSchema
from caudal.dequantization import ImageDequantization
from caudal.modality import assemble
from caudal.recipes import NICE, Glow, NSFImage, RealNVP
from caudal.recipes.multiscale import variational
from image_cases import FLAT, RECIPES, SHAPES, away_from_start, bijections

BATCH = 6
GIVEN = list(zip(SHAPES, (3, 0, 3), strict=True))
"""Shapes, and numbers of context."""
PARTS = [(name, *pair) for pair in GIVEN for name in bijections(*pair)]
FLOWS = [(name, *pair) for name in RECIPES for pair in GIVEN]


@cache
def fresh(shape, context, dtype):
    """All bijections, made once: a test takes a copy of one."""
    return bijections(shape, context)


def built(name, shape, context, scale=0.1):
    given = (context,) if context else None
    if name in RECIPES:
        module = RECIPES[name].build(shape, given).eval().bijection
    else:
        module = deepcopy(fresh(shape, context, torch.get_default_dtype())[name])
        torch.manual_seed(1)  # whichever test made them
    return away_from_start(module, scale), torch.randn(BATCH, context) if context else None


@pytest.mark.parametrize(("name", "shape", "context"), PARTS + FLOWS)
@pytest.mark.usefixtures("float64")
def test_round_trip_and_log_det(name, shape, context):
    bijection, rows = built(name, shape, context)
    before = {key: value.clone() for key, value in bijection.state_dict().items()}
    z = torch.randn(BATCH, *shape)
    x, log_det = bijection.forward(z, rows)
    back, log_det_back = bijection.inverse(x, rows)
    assert x.shape == z.shape
    assert log_det.shape == log_det_back.shape == (BATCH,)
    torch.testing.assert_close(back, z, atol=1e-9, rtol=0)
    torch.testing.assert_close(log_det, -log_det_back, atol=1e-8, rtol=0)
    assert all(torch.equal(v, before[key]) for key, v in bijection.state_dict().items())
    one = None if rows is None else rows[:1]
    for function, point, told in (
        (bijection.forward, z, log_det),
        (bijection.inverse, x, log_det_back),
    ):
        jacobian = torch.autograd.functional.jacobian(
            lambda v, f=function: f(v.view(1, *shape), one)[0].flatten(), point[0].flatten()
        )
        torch.testing.assert_close(
            torch.linalg.slogdet(jacobian).logabsdet, told[0], atol=1e-8, rtol=1e-8
        )


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.usefixtures("float64")
def test_a_vector_recipe_takes_images_flattened(name):
    shape = (2, 3, 2)
    flow = assemble(FLAT[name], ImageSchema(shape)).eval()
    images = torch.randint(0, 256, (200, *shape)).double()
    initialize(flow, images)
    away_from_start(flow.bijection, 0.1)
    y, _ = flow.lift(images[:4])
    z, log_det = flow.bijection.inverse(y)
    torch.testing.assert_close(flow.bijection.forward(z)[0], y, atol=1e-9, rtol=0)
    jacobian = torch.autograd.functional.jacobian(
        lambda v: flow.bijection.inverse(v.view(1, *shape))[0].flatten(), y[0].flatten()
    )
    torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, log_det[0])


@pytest.mark.parametrize("name", RECIPES)
def test_float32_round_trip_from_noise_and_from_data(name):
    shape, context = GIVEN[-1]
    bijection, rows = built(name, shape, context, 0.05)
    for start in (torch.randn(BATCH, *shape), torch.rand(BATCH, *shape) - 0.5):
        x, _ = bijection.forward(start, rows)
        torch.testing.assert_close(bijection.inverse(x, rows)[0], start, atol=1e-4, rtol=1e-4)
        z, _ = bijection.inverse(start, rows)
        torch.testing.assert_close(bijection.forward(z, rows)[0], start, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "name", sorted(set(RECIPES) - {"iresnet", "iresnet-whole", "residual-flow"})
)
@pytest.mark.usefixtures("float64")
def test_a_new_flow_turns_and_does_not_stretch(name):
    """Couplings and priors start as the identity, 1x1 convolutions as rotations."""
    shape = (3, 4, 4)
    flow = RECIPES[name].build(shape).eval()
    x = torch.randn(BATCH, *shape)
    z, log_det = flow.bijection.inverse(x)
    # An untouched BatchNorm divides by sqrt(1 + eps) each time; the rest is exact.
    slack = {"atol": 1e-2, "rtol": 0} if name == "realnvp" else {"atol": 1e-9, "rtol": 0}
    torch.testing.assert_close(log_det, torch.zeros(BATCH), **slack)
    torch.testing.assert_close(z.flatten(1).norm(dim=1), x.flatten(1).norm(dim=1), **slack)


def test_a_squeeze_puts_a_checkerboard_into_the_first_half():
    class Ones(FactorOut):
        def put(self, taken, into):
            return torch.cat([torch.ones_like(taken), torch.zeros_like(taken)], 1)

    shape = (2, 4, 6)
    x = torch.randn(1, *shape)
    marked, _ = Squeezed(Ones(LUConv1x1(4), 4)).forward(x)
    board = (torch.arange(4)[:, None] + torch.arange(6)) % 2 == 0
    assert torch.equal(marked[0].bool(), board.expand(shape))


@pytest.mark.usefixtures("float64")
def test_bits_of_the_scales_sum_to_those_of_the_whole():
    """One base over the data's shape is the product of the noise that each scale leaves."""
    shape = (3, 8, 8)
    flow = away_from_start(Glow(scales=3, layers=1, maps=4).build(shape, standardise=False).eval())
    x = torch.randn(BATCH, *shape)
    total, at, bijection = torch.zeros(BATCH), x, flow.bijection
    while True:  # scale by scale, as with a list of latents
        at = bijection.take(at)
        factored = next((p for p in bijection.bijection.parts if isinstance(p, FactorOut)), None)
        for part in reversed(bijection.bijection.parts):
            if part is factored:
                break
            at, log_det = part.inverse(at)
            total = total + log_det
        left = at if factored is None else at[:, factored.channels :]
        total = total + Normal(tuple(left.shape[1:])).log_prob(left)
        if factored is None:
            break
        at, bijection = at[:, : factored.channels], factored.bijection
    torch.testing.assert_close(flow.log_prob(x), total, atol=1e-6, rtol=1e-12)


def test_initialize_reaches_every_scale_once_and_survives_a_reload():
    recipe = Glow(scales=2, layers=2, maps=4)
    flow, images = recipe.build((3, 8, 8), standardise=False), 3 + 2 * torch.randn(500, 3, 8, 8)
    initialize(flow, images)
    norms = [m for m in flow.modules() if isinstance(m, ActNorm)]
    assert len(norms) == 5  # two of each scale, and the top prior
    assert all(norm.initialized for norm in norms)
    for _, part, reached, _ in walk(flow.bijection, images):
        if isinstance(part, ActNorm):
            z = part.inverse(reached)[0]
            torch.testing.assert_close(
                z.mean((0, 2, 3)), torch.zeros(z.shape[1]), atol=1e-3, rtol=0
            )
            torch.testing.assert_close(z.std((0, 2, 3)), torch.ones(z.shape[1]), atol=1e-2, rtol=0)
    again = recipe.build((3, 8, 8), standardise=False)
    again.load_state_dict(flow.state_dict())
    initialize(again, 10 * images)
    torch.testing.assert_close(again.log_prob(images), flow.log_prob(images))


@pytest.mark.parametrize("name", ["glow", "realnvp", "nsf-image"])
def test_an_image_scores_alone_as_in_any_batch(name):
    flow = away_from_start(RECIPES[name].build((1, 8, 8)).eval())
    x = torch.randn(40, 1, 8, 8)
    whole = flow.log_prob(x)
    torch.testing.assert_close(flow.log_prob(x[7:8]), whole[7:8], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(flow.log_prob(x[5:12].flip(0)).flip(0), whole[5:12])


def test_calibration_gives_nets_the_moments_of_all_images():
    flow = RealNVP(scales=1, maps=3, blocks=1).build((1, 4, 4))
    x = 5 + torch.randn(300, 1, 4, 4)
    initialize(flow, x)
    flow.train()
    flow.log_prob(x[:8])  # leaves running averages of next to nothing
    calibrate(flow, x)
    norm = next(m for m in flow.modules() if isinstance(m, nn.BatchNorm2d))
    seen = []
    hook = norm.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    flow.eval().log_prob(x)
    hook.remove()
    torch.testing.assert_close(norm.running_mean, seen[0].mean((0, 2, 3)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(norm.running_var, seen[0].var((0, 2, 3)), atol=1e-3, rtol=1e-3)
    assert norm.momentum == 0.1
    assert not norm.training


def test_long_batches_go_in_pieces_that_change_nothing():
    flow = away_from_start(Glow(scales=1, layers=1, maps=4).build((1, 32, 32)).eval())
    x = torch.randn(1100, 1, 32, 32)
    with torch.no_grad():
        pieces, log_dets = in_pieces(flow.bijection.inverse, x, None)
    with torch.enable_grad():
        whole, log_det = in_pieces(flow.bijection.inverse, x, None)
    torch.testing.assert_close(pieces, whole, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(log_dets, log_det, atol=1e-2, rtol=1e-4)


def test_whitening_refuses_what_no_covariance_is_sensible_for():
    with pytest.raises(ValueError, match="at most 4096 are whitened"):
        ZCA(3 * 64 * 64)


@pytest.mark.usefixtures("float64")
def test_whitening_whitens():
    mixed = torch.randn(2000, 5) @ torch.randn(5, 5) + 3
    white = ZCA(5)
    white.observe(mixed)
    z, log_det = white.inverse(mixed)
    torch.testing.assert_close(z.T.cov(correction=0), torch.eye(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(white.whiten, white.whiten.T)  # of all whitenings the symmetric one
    torch.testing.assert_close(torch.linalg.slogdet(white.whiten).logabsdet, log_det[0])


# --- sizes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 3, 2), (1, 6, 10)])
def test_real_nvp_and_glow_take_the_sizes_they_can(shape):
    x = torch.randn(2, *shape)
    assert RealNVP(maps=2, blocks=1).build(shape).eval().log_prob(x).shape == (2,)
    if not (shape[1] % 2 or shape[2] % 2):
        assert Glow(layers=1, maps=2).build(shape).eval().log_prob(x).shape == (2,)


@pytest.mark.parametrize(
    ("recipe", "shape", "said"),
    [
        (
            Glow(scales=3),
            (1, 28, 28),
            r"multiples of 8: 28x28 will not do; try images of 32x32 .`resize=.32, 32.`., o",
        ),
        (
            Glow(),
            (3, 321, 481),
            r"multiples of 2: 321x481 will not do; try images of 320x480 .`resize=.320, 480.`.",
        ),
        (
            RealNVP(scales=3),
            (1, 30, 20),
            r"multiples of 4: 30x20 .* 32x20 .`resize=.32, 20.`., or 2 scales",
        ),
        (NSFImage(scales=2), (1, 8, 6), r"nsf-image halves images 2 times"),
        (Glow(scales=3), (1, 30, 30), r"or 1 scale$"),
        (Glow(scales=4), (1, 28, 28), r"or 2 scales$"),
        (RealNVP(scales=5), (1, 8, 8), r"or 3 scales$"),  # of a 4th there is a single pixel
        (Glow(), (6,), r"glow models images \(C, H, W\)"),
        (RealNVP(), (2, 6), r"realnvp models vectors \(D,\) or images \(C, H, W\)"),
        (RealNVP(layers=3), (1, 8, 8), "`layers` is for tables, and these are images"),
        (RealNVP(maps=8), (6,), "`maps` is for images, and these are vectors"),
        (NICE(), (1, 8, 8), r"nice models vectors \(D,\), got"),
    ],
)
def test_the_constructor_says_which_size_would_do(recipe, shape, said):
    with pytest.raises(ValueError, match=said):
        recipe.build(shape)


# --- pixels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pixels", ["unit", "centred", "logit"])
@pytest.mark.parametrize("bits", [1, 5, 8])
@torch.no_grad()
@pytest.mark.usefixtures("float64")
def test_probabilities_of_all_images_sum_to_at_most_one(pixels, bits):
    """Two pixels of 2^bits values: the bound on each mass, summed, is at most 1, and near it."""
    schema = ImageSchema((1, 1, 2), bits=bits, pixels=pixels)
    flow = assemble(NICE(hidden=(4,), prior="normal"), schema).eval()
    with torch.no_grad():  # wider than the data: nearly all of its mass is on [0, levels]^2
        nice = flow.bijection.parts[0].bijection.parts[0]
        nice.parts[0].log_scale.fill_(
            math.log({"unit": 0.05, "centred": 0.05, "logit": 0.7}[pixels])
        )
    levels = torch.arange(schema.levels).double()
    images = torch.cartesian_prod(levels, levels).view(-1, 1, 1, 2)
    total = float(flow.log_prob(images).exp().sum())
    y = torch.cartesian_prod(*[torch.linspace(0, schema.levels, 401)] * 2).view(-1, 1, 1, 2)
    inside = flow.continuous().log_prob(y[1:-1]).exp().mean() * schema.levels**2
    assert total <= 1
    if bits == 8:
        assert abs(total - float(inside)) < 0.02


def test_uniform_pixels_have_eight_bits():
    schema = ImageSchema((3, 4, 4))
    flow = Flow(Chain([Unit(), Rescale(1 / 256)]), Normal((3, 4, 4)))
    images = torch.randint(0, 256, (10, 3, 4, 4)).float()
    lifted = Flow(flow.bijection, flow.base, dequantization=ImageDequantization(schema.shape, 256))
    bits = -lifted.log_prob(images) / (schema.countable * math.log(2))
    torch.testing.assert_close(bits, torch.full((10,), 8.0), atol=1e-4, rtol=0)


@pytest.mark.usefixtures("float64")
def test_the_same_density_on_unit_and_on_symmetric_pixels_has_the_same_bits():
    shape = (1, 4, 4)
    core = away_from_start(Glow(scales=1, layers=1, maps=3).build(shape).eval())
    dequantization = ImageDequantization(shape, 256)

    def flow(*pixels):
        chain = Chain([core.bijection, *pixels])
        return Flow(chain, core.base, dequantization=dequantization)

    images = torch.randint(0, 256, (10, *shape)).double()
    unit = flow(Rescale(2.0, -1.0), Rescale(1 / 256))
    symmetric = flow(Rescale(2 / 256, -1.0))
    a, b = (
        f.log_prob(images, generator=torch.Generator().manual_seed(1)) for f in (unit, symmetric)
    )
    torch.testing.assert_close(a, b, atol=1e-6 * 16 * math.log(2), rtol=0)


class Unit(Rescale):
    """A map between the unit cube, uniform, and a standard normal."""

    def __init__(self):
        super().__init__(1.0)

    def inverse(self, x, context=None):
        z = torch.special.ndtri(x)
        normal = -0.5 * z.square() - 0.5 * math.log(2 * math.pi)
        return z, -normal.flatten(1).sum(1)


@pytest.mark.parametrize(
    "make", [lambda s: ImageDequantization(s, 256), lambda s: variational(s, 256)]
)
def test_noise_stays_below_the_next_value_and_is_undone(make):
    shape = (3, 4, 6)
    dequantization = away_from_start(make(shape))
    images = torch.randint(0, 256, (50, *shape)).float()
    y, log_q = dequantization.lift(images)
    assert (y >= images).all()
    assert (y < images + 1).all()
    assert torch.equal(dequantization.lower(y), images)
    assert torch.isfinite(log_q).all()
    again, _ = dequantization.lift(images)
    assert not torch.equal(y, again)  # drawn anew each time
    seeded = [dequantization.lift(images, torch.Generator().manual_seed(3))[0] for _ in range(2)]
    assert torch.equal(*seeded)


@pytest.mark.parametrize("value", [0.5, -1.0, 256.0])
def test_what_is_no_pixel_has_no_mass(value):
    flow = assemble(Glow(layers=1, maps=2), ImageSchema((1, 4, 4)))
    images = torch.zeros(2, 1, 4, 4)
    images[1, 0, 2, 2] = value
    assert torch.isfinite(flow.log_prob(images)).tolist() == [True, False]
    assert flow.log_prob(images)[1] == -torch.inf


@torch.no_grad()
@pytest.mark.usefixtures("float64")
def test_variational_noise_is_a_density():
    """E_q[1 / q] over the unit cube is its volume, 1."""
    dequantization = away_from_start(variational((1, 1, 2), 256), 0.05)
    image = torch.tensor([10.0, 200.0]).view(1, 1, 1, 2).expand(40_000, 1, 1, 2)
    y, log_q = dequantization.lift(image)
    weights = (-log_q).exp()
    spread = float(weights.std()) / len(weights) ** 0.5
    assert abs(float(weights.mean()) - 1) < 4 * spread
    assert spread < 0.05
    # Its density at the draw, found the other way: from the noise that the draw comes from.
    u = y - image
    v = torch.logit(u)
    e, log_det = dequantization.noise.inverse(v, dequantization.features(2 * image / 255 - 1))
    expected = Normal((1, 1, 2)).log_prob(e) + log_det
    expected = expected - (u.log() + (-u).log1p()).flatten(1).sum(1)
    torch.testing.assert_close(log_q, expected, atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_variational_noise_of_many_images_is_drawn_in_pieces(monkeypatch):
    monkeypatch.setattr(bijection, "_IMAGES", (3, 0))
    dequantization = away_from_start(variational((1, 4, 4), 256), 0.05)
    seen = []
    dequantization.features.register_forward_hook(lambda _, x, __: seen.append(len(x[0])))
    x = torch.randint(0, 256, (7, 1, 4, 4)).float()
    y, log_q = dequantization.lift(x, torch.Generator().manual_seed(0))
    assert seen == [3, 3, 1]
    monkeypatch.setattr(bijection, "_IMAGES", (7, 0))
    whole, log_q_whole = dequantization.lift(x, torch.Generator().manual_seed(0))
    torch.testing.assert_close(y, whole)
    torch.testing.assert_close(log_q, log_q_whole)


def test_variational_noise_learns_with_the_flow():
    schema = ImageSchema((1, 4, 4), dequantization="variational")
    flow = assemble(Glow(layers=1, maps=2), schema)
    flow.log_prob(torch.randint(0, 256, (5, 1, 4, 4)).float()).sum().backward()
    assert all(p.grad is not None for p in flow.dequantization.parameters())
    assert flow.kind == "lower bound"


def test_a_schema_survives_json_and_refuses_nonsense():
    schema = ImageSchema((3, 8, 8), bits=5, pixels="logit", alpha=0.01)
    assert ImageSchema.from_dict(schema.to_dict()) == schema
    for bad in ({"bits": 9}, {"pixels": "raw"}, {"alpha": 0.5}, {"dequantization": "none"}):
        with pytest.raises(InputError):
            ImageSchema((1, 8, 8), **bad)
