"""The same weights give the same densities and samples in zuko, nflows, normflows and here."""

from functools import partial

import pytest
import torch
from torch import nn

from caudal import Chain, Flow
from caudal.base import Normal
from caudal.bijections import Autoregressive, Coupling, Flip, LULinear
from caudal.elementwise import Affine
from caudal.nets import MADE, MLP, ResidualMLP

for peer in ("zuko", "nflows", "normflows"):
    pytest.importorskip(peer)

import zuko  # noqa: E402
from nflows.nn.nets import ResidualNet  # noqa: E402
from nflows.transforms import autoregressive, coupling  # noqa: E402
from nflows.transforms import base as nflows_base  # noqa: E402
from nflows.transforms import lu as nflows_lu  # noqa: E402
from nflows.transforms import permutations as nflows_permutations  # noqa: E402
from normflows.utils import splines as normflows_splines  # noqa: E402

from peer_weights import (  # noqa: E402
    BINS,
    BOUND,
    SPLINE,
    ZERO_SLOPE,
    AffineAR,
    AffineCoupling,
    D,
    NoContext,
    affine_for_zuko,
    by_parameter,
    copy_masked,
    copy_plain,
    linears,
    rescale_spline,
    spline_for_zuko,
)

LAYERS, CONTEXT, ROWS = 3, 2, 64
UNITS = 3 * D * (D - 1)  # so that every degree has as many units, with and without context
SPLINE_SHAPES = [(BINS,), (BINS,), (BINS - 1,)]
EVEN = torch.arange(D) % 2 == 0


@pytest.fixture(autouse=True)
def _float64():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


# The cases: (our flow, a peer's x -> (z, log_det), its z -> x).


def our_flow(data_to_noise, context):
    base = Normal((D,))
    return Flow(Chain(data_to_noise[::-1]), base, context_shape=(CONTEXT,) if context else None)


def our_made(elementwise, context, residual=False, units=UNITS):
    widths = (units,) * (5 if residual else 2)
    return MADE(D, elementwise.n_params, widths, CONTEXT if context else 0, residual=residual)


def zuko_masked(elementwise, univariate, shapes, context):
    peer = zuko.flows.MAF(
        D,
        CONTEXT if context else 0,
        transforms=LAYERS,
        hidden_features=(UNITS, UNITS),
        univariate=univariate,
        shapes=shapes,
    )
    parts = []
    for layer, transform in enumerate(peer.transform.transforms):
        net = our_made(elementwise, context)
        copy_masked(net, linears(transform.hyper), flipped=layer % 2 == 1)
        parts += [Flip()] if layer else []
        parts.append(Autoregressive(net, elementwise))
    parts += [Flip()] if LAYERS % 2 == 0 else []
    return our_flow(parts, context), *zuko_directions(peer)


def zuko_coupling(elementwise, univariate, shapes, context):
    width = CONTEXT if context else 0
    peer = zuko.flows.NICE(
        D,
        width,
        transforms=LAYERS,
        hidden_features=(UNITS, UNITS),
        univariate=univariate,
        shapes=shapes,
    )
    parts = []
    for transform in peer.transform.transforms:
        keep = transform.mask
        kept = int(keep.sum())
        net = MLP(kept, D - kept, elementwise.n_params, (UNITS, UNITS), width)
        copy_plain(linears(net), linears(transform.hyper))
        by_parameter(net.last, D - kept)
        parts.append(Coupling(net, elementwise, keep))
    return our_flow(parts, context), *zuko_directions(peer)


def zuko_directions(peer):
    def inverse(x, context):
        return peer.transform(context).call_and_ladj(x)

    return inverse, lambda z, context: peer.transform(context).inv(z)


def nflows_masked(make, elementwise, context, residual):
    """`make` builds one masked transform; reversed in between."""
    parts, peers = [], []
    for layer in range(LAYERS):
        peer = make(
            features=D,
            hidden_features=UNITS,
            context_features=CONTEXT if context else None,
            num_blocks=2 if residual else 1,
            use_residual_blocks=residual,
        )
        made = peer.autoregressive_net
        extra = None
        if context:
            extra = made.context_layer.weight.abs_()  # of a positive context: relu lets it pass
            made.context_layer.bias.zero_()
        net = our_made(elementwise, context, residual, UNITS * D // (D - 1) if context else UNITS)
        masked = [m for m in made.modules() if hasattr(m, "mask")]
        copy_masked(net, masked, flipped=False, context=extra)
        if elementwise is SPLINE:
            rescale_spline(net.last, D, 1)
        parts += [Flip()] if layer else []
        peers += [nflows_permutations.ReversePermutation(D)] if layer else []
        parts.append(Autoregressive(net, elementwise))
        peers.append(peer)
    return our_flow(parts, context), *nflows_directions(peers)


def nflows_affine_coupling(context):
    parts, peers = [], []
    width = CONTEXT if context else 0
    for layer in range(LAYERS):
        keep = EVEN if layer % 2 == 0 else ~EVEN
        kept = int(keep.sum())
        net = MLP(kept, D - kept, 2, (UNITS, UNITS), width)
        for last in (net.last.weight, net.last.bias):
            last.uniform_(-0.1, 0.1)
        first, second = net.hidden
        plain = NoContext(first, nn.ReLU(), second, nn.ReLU(), net.last)
        peers.append(AffineCoupling((~keep).int(), lambda _, __, plain=plain: plain))
        parts.append(Coupling(net, Affine(), keep))
    return our_flow(parts, context), *nflows_directions(peers)


def nflows_spline_coupling():
    parts, peers = [], []
    for layer in range(LAYERS):
        keep = EVEN if layer % 2 == 0 else ~EVEN
        kept = int(keep.sum())
        peer = coupling.PiecewiseRationalQuadraticCouplingTransform(
            (~keep).int(),
            partial(ResidualNet, hidden_features=UNITS),
            num_bins=BINS,
            tails="linear",
            tail_bound=BOUND,
        )
        theirs = peer.transform_net
        net = ResidualMLP(kept, D - kept, SPLINE.n_params, UNITS, blocks=2)
        copy_plain([net.first, net.last], [theirs.initial_layer, theirs.final_layer])
        copy_plain(list(net.inner), [block.linear_layers[0] for block in theirs.blocks])
        copy_plain(list(net.outer), [block.linear_layers[1] for block in theirs.blocks])
        rescale_spline(net.last, D - kept, UNITS)
        by_parameter(net.last, D - kept)
        parts.append(Coupling(net, SPLINE, keep))
        peers.append(peer)
    return our_flow(parts, False), *nflows_directions(peers)


def nflows_directions(peers):
    peer = nflows_base.CompositeTransform(peers)
    return peer.forward, lambda z, context: peer.inverse(z, context)[0]


def nflows_spline_ar(**options):
    return autoregressive.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
        num_bins=BINS, tails="linear", tail_bound=BOUND, **options
    )


AFFINE = Affine()
CASES = {
    "zuko maf": lambda c: zuko_masked(AFFINE, affine_for_zuko, [(), ()], c),
    "zuko nsf": lambda c: zuko_masked(SPLINE, spline_for_zuko, SPLINE_SHAPES, c),
    "zuko realnvp": lambda c: zuko_coupling(AFFINE, affine_for_zuko, [(), ()], c),
    "zuko nsf coupling": lambda c: zuko_coupling(SPLINE, spline_for_zuko, SPLINE_SHAPES, c),
    "nflows maf": lambda c: nflows_masked(AffineAR, AFFINE, c, residual=False),
    "nflows realnvp": nflows_affine_coupling,
    "nflows nsf": lambda c: nflows_masked(nflows_spline_ar, SPLINE, c, residual=False),
    "nflows resmade": lambda c: nflows_masked(AffineAR, AFFINE, c, residual=True),
    "nflows resmade nsf": lambda c: nflows_masked(nflows_spline_ar, SPLINE, c, residual=True),
    "nflows nsf coupling": lambda c: nflows_spline_coupling(),
}
# There each residual block sees the context too; ours sees it once, in the first layer.
WITHOUT_CONTEXT = ("nflows resmade", "nflows resmade nsf", "nflows nsf coupling")
RUNS = [(name, False) for name in CASES] + [(n, True) for n in CASES if n not in WITHOUT_CONTEXT]


@pytest.mark.parametrize(("name", "conditional"), RUNS)
@torch.no_grad()
def test_same_weights_same_flow(name, conditional):
    flow, peer_inverse, peer_forward = CASES[name](conditional)
    context = torch.rand(ROWS, CONTEXT) if conditional else None
    x = 1.5 * torch.randn(ROWS, D)  # some of it in the tails of the splines
    z, log_det = peer_inverse(x, context)
    torch.testing.assert_close(flow.encode(x, context), z, rtol=1e-9, atol=1e-9)
    log_prob = Normal((D,)).log_prob(z) + log_det
    torch.testing.assert_close(flow.log_prob(x, context), log_prob, rtol=1e-9, atol=1e-9)
    assert z.sub(x).abs().max() > 0.1, "the weights must bend something for the test to see"
    noise = torch.randn(ROWS, D)
    sample = peer_forward(noise, context)
    torch.testing.assert_close(flow.decode(noise, context), sample, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("inverse", [False, True])
def test_spline_equals_normflows(inverse):
    params = 2 * torch.randn(ROWS, D, SPLINE.n_params)
    value = 1.5 * torch.randn(ROWS, D)
    direction = SPLINE.forward if inverse else SPLINE.inverse
    widths, heights, slopes = params.split([BINS, BINS, BINS - 1], -1)
    theirs = normflows_splines.unconstrained_rational_quadratic_spline(
        value, widths, heights, slopes + ZERO_SLOPE, inverse, tail_bound=BOUND
    )
    for mine, other in zip(direction(value, params.transpose(1, 2)), theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-7, atol=1e-7)


@torch.no_grad()
def test_lu_linear_equals_nflows():
    peer = nflows_lu.LULinear(D, identity_init=False)
    peer.bias.uniform_(-1, 1)
    ours = LULinear(D)
    lower, upper = peer._create_lower_upper()
    ours.lower.copy_(lower)
    ours.upper.copy_(upper)
    ours.log_diagonal.copy_(peer.upper_diag.log())
    ours.bias.copy_(peer.bias)
    x = torch.randn(ROWS, D)
    for mine, other in zip(ours.inverse(x), peer.forward_no_cache(x), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)
    # nflows inverts with a function that torch will remove, so: its forward undoes ours.
    back, log_det = peer.forward_no_cache(ours.forward(x)[0])
    torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours.forward(x)[1], -log_det)
