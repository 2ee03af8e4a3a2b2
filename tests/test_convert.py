"""Flows of zuko, nflows and normflows as ours: same weights, same scores, and what follows."""

from functools import partial

import pytest
import torch
from torch import nn

import caudal
from caudal import InputError, conversion
from caudal.recipes import Converted
from caudal.recipes.registry import describe, rebuild

for peer in ("zuko", "nflows", "normflows"):
    pytest.importorskip(peer)

import normflows  # noqa: E402
import zuko  # noqa: E402
from nflows import distributions, flows, transforms  # noqa: E402
from nflows.nn.nets import ResidualNet  # noqa: E402
from nflows.transforms import autoregressive, coupling  # noqa: E402

# normflows' own: it decomposes matrices by a function that torch will remove.
pytestmark = pytest.mark.filterwarnings("ignore:torch.lu")

D, CONTEXT, ROWS = 5, 2, 50
ODD = torch.arange(D) % 2
TAILS = {"tails": "linear", "tail_bound": 3.0, "num_bins": 5}
NET = partial(ResidualNet, hidden_features=16)
STEERED = partial(NET, context_features=CONTEXT)
MASKED = autoregressive.MaskedAffineAutoregressiveTransform
MASKED_SPLINE = autoregressive.MaskedPiecewiseRationalQuadraticAutoregressiveTransform
SPLINES = coupling.PiecewiseRationalQuadraticCouplingTransform


def of_nflows(*steps):
    return flows.Flow(
        transforms.CompositeTransform(steps), distributions.StandardNormal([D])
    ).eval()


def warmed(flow):
    """Batch normalisation with moments of some rows."""
    flow.train()
    for _ in range(20):
        flow.log_prob(torch.randn(100, D))
    return flow.eval()


def initialised(norm):
    norm.initialized.fill_(True)
    return norm


def of_normflows(*steps, shape=D):
    flow = normflows.NormalizingFlow(normflows.distributions.DiagGaussian(shape), list(steps))
    return seen(flow)


def seen(flow):
    """Activation normalisation with the weights that it has."""
    for module in flow.modules():
        if hasattr(module, "data_dep_init_done"):
            module.data_dep_init_done.fill_(1.0)
    return flow


def real_nvp():
    def net():
        return normflows.nets.MLP([D, 8, D])

    f = normflows.flows
    masked = [f.MaskedAffineFlow(b, net(), net()) for b in (ODD.float(), 1.0 - ODD)]
    return of_normflows(*masked, f.ActNorm(D), f.MaskedAffineFlow(ODD.float(), net()))


def blocks(**options):
    f = normflows.flows
    net = normflows.nets.MLP([3, 8, 4])
    mixed = [f.Permute(D, mode="swap"), f.LULinearPermute(D), f.InvertibleAffine(D)]
    return of_normflows(f.AffineCouplingBlock(net, **options), *mixed, f.Permute(D))


def glow(classes=None, **options):
    """Two scales of images 3x8x8, as in the library's own example."""
    bases, merges, levels = [], [], []
    for level in range(2):
        channels, size = 3 * 2 ** (2 - level), 8 // 2 ** (2 - level)
        steps = [normflows.flows.GlowBlock(2 * channels, 8, **options) for _ in range(2)]
        levels.append([*steps, normflows.flows.Squeeze()])
        merges += [normflows.flows.Merge()] * level
        shape = (channels if level else 2 * channels, size, size)
        bases.append(normflows.distributions.GlowBase(shape, num_classes=classes))
    logit = normflows.transforms.Logit(0.05) if classes else None
    flow = normflows.MultiscaleFlow(bases, levels, merges, logit, class_cond=bool(classes))
    return seen(flow)


def masked_normflows(**options):
    layer = normflows.flows.MaskedAffineAutoregressive(D, 16, **options)
    return of_normflows(layer, normflows.flows.LULinearPermute(D))


F = normflows.flows
CASES = {
    "zuko maf": lambda: zuko.flows.MAF(D, CONTEXT, transforms=3, randperm=True),
    "zuko maf tanh": lambda: zuko.flows.MAF(
        D, activation=nn.Tanh, hidden_features=(7, 9, 11), transforms=2
    ),
    "zuko nsf": lambda: zuko.flows.NSF(D, bins=5, transforms=3),
    "zuko nsf coupling": lambda: zuko.flows.NSF(D, CONTEXT, passes=2),
    "zuko realnvp": lambda: zuko.flows.RealNVP(D, CONTEXT, randmask=True),
    "zuko one number": lambda: zuko.flows.NSF(1, CONTEXT, transforms=2),
    "zuko one number alone": lambda: zuko.flows.NSF(1, transforms=2),
    "nflows maf": lambda: flows.MaskedAutoregressiveFlow(D, 16, 3, 2),
    "nflows maf norms": lambda: warmed(
        flows.MaskedAutoregressiveFlow(
            D, 16, 2, 2, False, True, True, batch_norm_between_layers=True
        )
    ),
    "nflows maf context": lambda: of_nflows(
        MASKED(D, 16, CONTEXT), transforms.RandomPermutation(D), MASKED(D, 3, CONTEXT)
    ),
    "nflows maf plain context": lambda: of_nflows(
        MASKED(D, 16, CONTEXT, use_residual_blocks=False), transforms.ReversePermutation(D)
    ),
    "nflows nsf": lambda: of_nflows(
        transforms.PointwiseAffineTransform(torch.randn(D), torch.rand(D) + 0.5),
        transforms.LULinear(D),
        MASKED_SPLINE(features=D, hidden_features=16, context_features=CONTEXT, **TAILS),
        initialised(transforms.ActNorm(D)),
    ),
    "nflows nsf coupling": lambda: of_nflows(
        SPLINES(ODD, NET, apply_unconditional_transform=True, **TAILS),
        SPLINES(1 - ODD, NET, **TAILS),
    ),
    "nflows coupling context": lambda: of_nflows(
        SPLINES(ODD, STEERED, **TAILS), coupling.AffineCouplingTransform(1 - ODD, STEERED)
    ),
    "nflows realnvp": lambda: warmed(
        flows.SimpleRealNVP(D, 16, 3, 2, batch_norm_between_layers=True)
    ),
    "nflows nice": lambda: flows.SimpleRealNVP(D, 16, 3, 2, use_volume_preserving=True),
    "nflows iaf": lambda: of_nflows(transforms.InverseTransform(MASKED(D, 16))),
    "nflows act norm": lambda: of_nflows(
        transforms.InverseTransform(initialised(transforms.ActNorm(D))), MASKED(D, 16)
    ),
    "normflows realnvp": real_nvp,
    "normflows blocks": blocks,
    "normflows blocks sigmoid": lambda: blocks(scale_map="sigmoid"),
    "normflows blocks inverse": lambda: blocks(scale_map="sigmoid_inv"),
    "normflows maf": masked_normflows,
    "normflows maf plain": lambda: masked_normflows(use_residual_blocks=False),
    "normflows maf reversed": lambda: of_normflows(F.Reverse(F.MaskedAffineAutoregressive(D, 16))),
    "normflows nsf": lambda: of_normflows(
        *(F.AutoregressiveRationalQuadraticSpline(D, 2, 16, permute_mask=p) for p in (0, 1))
    ),
    "normflows nsf coupling": lambda: of_normflows(
        *(F.CoupledRationalQuadraticSpline(D, 2, 16, reverse_mask=r) for r in (0, 1))
    ),
    "normflows glow": glow,
    "normflows glow of classes": lambda: glow(4, net_actnorm=True, scale_map="exp", use_lu=False),
}


def build(name, dtype=torch.float64, by=0.2):
    """The peer with weights that bend something."""
    torch.manual_seed(1)
    flow = CASES[name]()
    with torch.no_grad():
        for weight in flow.parameters():
            weight.add_((0.05 if "glow" in name else by) * torch.randn_like(weight))
    return flow.to(dtype).eval()


def recipe_of(flow):
    return Converted(conversion.chain(conversion.read(flow)).plan)


def rows_for(ours, dtype):
    """Rows, some in the tails of splines, and contexts."""
    x = 1.5 * torch.randn(ROWS, *ours.event_shape, dtype=dtype)
    shape = ours.context_shape
    return x, None if shape is None else torch.randn(ROWS, *shape, dtype=dtype)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_the_same_weights_give_the_same_scores(name):
    flow = build(name)
    ours, source = caudal.convert(flow), conversion.read(flow)
    x, context = rows_for(ours, torch.float64)
    x = x.sigmoid() if "classes" in name else x
    theirs = source.log_prob(x, context)
    torch.testing.assert_close(ours.log_prob(x, context), theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["zuko nsf", "nflows maf context", "normflows realnvp"])
@torch.no_grad()
def test_single_precision_stays(name):
    flow = build(name, torch.float32)
    ours, source = caudal.convert(flow), conversion.read(flow)
    x, context = rows_for(ours, torch.float32)
    error = ours.log_prob(x, context) - source.log_prob(x, context)
    assert error.dtype == torch.float32
    assert error.abs().median() < 1e-5


@torch.no_grad()
def test_samples_are_those_of_the_peer():
    flow = build("zuko nsf", by=0.05)
    ours = caudal.convert(flow)
    z = torch.randn(ROWS, D, dtype=torch.float64)
    theirs = flow.transform().inv(z)
    torch.testing.assert_close(ours.decode(z), theirs, rtol=1e-7, atol=1e-7)
    recipe = recipe_of(flow)
    assert (recipe.scores, recipe.samples) == ("parallel", "sequential")


@torch.no_grad()
def test_a_converted_flow_is_built_again_from_plain_data():
    flow = build("nflows nsf coupling")
    ours, recipe = caudal.convert(flow), rebuild(describe(recipe_of(flow)))
    assert isinstance(recipe, Converted)
    again = recipe.build((D,), standardise=False).double().eval()
    again.load_state_dict(ours.state_dict())
    x, _ = rows_for(ours, torch.float64)
    assert torch.equal(again.log_prob(x), ours.log_prob(x))
    assert recipe.samples == "parallel"
    assert Converted.name not in list(caudal.recipes.RECIPES)


def test_an_embedding_net_stays():
    embedding = nn.Linear(7, CONTEXT)
    transform = MASKED(D, 8, CONTEXT)
    flow = flows.Flow(transform, distributions.StandardNormal([D]), embedding)
    with pytest.raises(InputError, match="`context_shape`"):
        caudal.convert(flow)
    ours = caudal.convert(flow, context_shape=(7,))
    x, context = torch.randn(ROWS, D), torch.randn(ROWS, 7)
    torch.testing.assert_close(ours.log_prob(x, context), flow.log_prob(x, context))


def test_what_has_no_counterpart_is_named():
    with pytest.raises(InputError, match=r"transform of the `flow`, a FFJTransform of zuko"):
        caudal.convert(zuko.flows.CNF(D))
    circular = zuko.flows.NCSF(D)
    with pytest.raises(InputError, match="base"):
        caudal.convert(circular)
    planar = of_normflows(F.Planar((D,)))
    with pytest.raises(InputError, match=r"flows\.0 of the `flow`, a Planar of normflows"):
        caudal.convert(planar)
    norms = flows.SimpleRealNVP(D, 8, 1, 1, batch_norm_within_layers=True)
    with pytest.raises(InputError, match="batch normalisation within the net"):
        caudal.convert(norms)
    with pytest.raises(InputError, match=r"nn\.modules\.linear\.Linear: give a zuko"):
        caudal.convert(nn.Linear(2, 2))


def test_a_flow_that_was_changed_by_hand_is_refused():
    flow = zuko.flows.MAF(D, transforms=1)
    flow.transform.transforms[0].hyper.register_forward_hook(lambda *args: 2 * args[-1])
    with pytest.raises(InputError, match="scores other than the flow itself"):
        caudal.convert(flow)


@pytest.mark.parametrize("name", ["zuko nsf coupling", "nflows nsf", "nflows act norm"])
def test_training_goes_on_where_the_peer_was_left(name, tmp_path):
    ours = caudal.convert(build(name, torch.float32, by=0.05))
    x, context = rows_for(ours, torch.float32)
    x = 3 * x + 2
    before = ours.log_prob(x, context)
    caudal.initialize(ours, x, context)
    assert torch.equal(ours.log_prob(x, context), before)

    data = x if context is None else (x, context)
    training = caudal.Training(steps=4, batch_size=20, validate_every=2)
    caudal.fit(ours, data, training=training, out=tmp_path / "run")
    after = ours.log_prob(x, context)
    assert after.mean() > before.mean()
    loaded = caudal.load(tmp_path / "run").flow
    assert torch.equal(loaded.log_prob(x, context), after)
