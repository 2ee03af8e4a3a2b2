"""The public checks find what breaks a law, and let be what keeps them."""

import pytest
import torch
from torch import nn

from cases import ELEMENTWISE, RECIPES, bijections
from caudal import Bijection, Flow, Inverse
from caudal.base import Normal
from caudal.bijections import Autoregressive
from caudal.elementwise import Affine, Elementwise
from caudal.nets import CausalNet
from caudal.testing import LawError, check_bijection, check_elementwise, check_flow

CASES = ["chain", "lu", "autoregressive-spline", "coupling-affine", "residual", "triangular"]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("context", [0, 3])
def test_what_keeps_the_laws(name, context):
    rows = torch.randn(3, context) if context else None
    check_bijection(bijections(2, context)[name], (2,), rows)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_maps_keep_the_laws(name):
    check_elementwise(ELEMENTWISE[name])


@pytest.mark.parametrize("name", ["realnvp", "maf", "nsf-iaf", "nice"])
def test_flows_keep_the_laws(name):
    check_flow(RECIPES[name].build((2,), (3,)))
    check_flow(RECIPES[name].build((2,)).double())


class Stretch(Bijection):
    """x = 2 z, rightly."""

    def __init__(self, features=2):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, z, context=None):
        return z * self.log_scale.exp(), self.log_scale.sum().expand(len(z))

    def inverse(self, x, context=None):
        return x * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(x))


def stretch(**methods):
    """A Stretch with something wrong."""
    return type("Wrong", (Stretch,), methods)()


def wrong_log_det(self, z, context=None):
    return z * self.log_scale.exp(), 2 * self.log_scale.sum().expand(len(z))


def both_wrong(self, x, context=None):
    return x * (-self.log_scale).exp(), -2 * self.log_scale.sum().expand(len(x))


def mean_log_det(self, z, context=None):
    return z * self.log_scale.exp(), self.log_scale.sum()


def half(self, z, context=None):
    x, log_det = Stretch.forward(self, z)
    return x, log_det.float()


def counted(self, z, context=None):
    self.passes += 1
    return Stretch.forward(self, z)


def detached(self, z, context=None):
    x, log_det = Stretch.forward(self, z)
    return x.detach() + 0 * x + (z - z.detach()), log_det


def centred(self, z, context=None):
    return Stretch.forward(self, z - z.mean(0))


def uncentred(self, x, context=None):
    return Stretch.inverse(self, x)


@pytest.mark.parametrize(
    ("part", "law"),
    [
        (stretch(forward=wrong_log_det), "the log-dets of both directions cancel in float64"),
        (stretch(forward=wrong_log_det, inverse=both_wrong), r"log-det of `forward` is log\|det"),
        (stretch(forward=mean_log_det), r"the log-det of `forward` must have shape \(4,\)"),
        (stretch(forward=half), "the log-det of `forward` must be torch.float64"),
        (stretch(forward=counted), "a pass changes `passes`"),
        (stretch(forward=detached), "log-det of `forward`|gradients of `forward`"),
        (stretch(forward=centred), "`inverse` undoes `forward` in float64"),
        (stretch(inverse=lambda self, x, context=None: Stretch.forward(self, x)), "undoes"),
    ],
)
def test_what_breaks_a_law_is_found(part, law):
    check_bijection(Stretch(), (2,))
    with pytest.raises(LawError, match=law):
        check_bijection(part, (2,))
    with pytest.raises(LawError, match=law):
        check_flow(Flow(part, Normal((2,))))


class Peeking(CausalNet):
    """Sees its own position."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, x, context=None):
        return torch.tanh(x.cumsum(-1).unsqueeze(1) * self.weight[:, None])


@pytest.mark.parametrize("turn", [lambda part: part, Inverse])
def test_a_net_that_is_not_causal_is_found(turn):
    with pytest.raises(LawError, match="is not causal|undoes|log-det"):
        check_bijection(turn(Autoregressive(Peeking(), Affine())), (3,))


class Falling(Elementwise):
    n_params = 1

    def forward(self, z, params):
        return -z + params[:, 0], torch.zeros_like(z)

    def inverse(self, x, params):
        return params[:, 0] - x, torch.zeros_like(x)


class Offset(Falling):
    def forward(self, z, params):
        return z + params[:, 0] + 1, torch.zeros_like(z)

    def inverse(self, x, params):
        return x - params[:, 0] - 1, torch.zeros_like(x)


@pytest.mark.parametrize(
    ("elementwise", "law"), [(Falling(), "must increase"), (Offset(), "zero is the identity")]
)
def test_an_elementwise_map_that_breaks_a_law_is_found(elementwise, law):
    with pytest.raises(LawError, match=law):
        check_elementwise(elementwise)


class Heavy(Normal):
    def log_prob(self, z):
        return super().log_prob(z) + 0.3


class Restless(Normal):
    def sample(self, n, generator=None, length=None):
        return super().sample(n)


@pytest.mark.parametrize(
    ("base", "law"), [(Heavy((2,)), "a mass of 1, and has 1.3"), (Restless((2,)), "same noise")]
)
def test_a_base_that_breaks_a_law_is_found(base, law):
    with pytest.raises(LawError, match=law):
        check_flow(Flow(Stretch(), base))
