"""A step of Glow beside normflows' with the same weights."""

import math

import pytest
import torch
from torch import nn

from caudal import Chain
from caudal.bijections import ActNorm, Conv1x1, Coupling, LUConv1x1
from caudal.elementwise import GatedAffine, Shift
from caudal.recipes.glow import first_half
from image_cases import away_from_start

normflows = pytest.importorskip("normflows")
CHANNELS = 6


class AsTheirs(nn.Module):
    """Their net, whose output has shift and scale in turns, read as ours: (t, raw)."""

    def __init__(self, net, scale):
        super().__init__()
        self.net, self.scale = net, scale

    def forward(self, x, context=None):
        params = self.net(x)
        if not self.scale:
            return params.unsqueeze(1)
        return torch.stack([-params[:, 0::2], params[:, 1::2]], 1)


def pair(scale, lu):
    """One step in both libraries, away from where it starts."""
    theirs = normflows.flows.GlowBlock(CHANNELS, 8, scale=scale, use_lu=lu)
    away_from_start(theirs)
    coupling, conv, norm = theirs.flows
    norm.data_dep_init_done.fill_(1)
    net = AsTheirs(coupling.flows[1].param_map, scale)
    moves = GatedAffine(bound=math.inf) if scale else Shift()
    mixing, actnorm = (LUConv1x1 if lu else Conv1x1)(CHANNELS), ActNorm((CHANNELS, 1, 1))
    with torch.no_grad():
        if lu:
            mixing.permutation.copy_(conv.P)
            mixing.sign.copy_(conv.sign_S)
            mixing.lower.copy_(conv.L)
            mixing.upper.copy_(conv.U)
            mixing.log_scale.copy_(conv.log_S)
        else:
            mixing.matrix.copy_(conv.W)
        actnorm.mean.copy_(norm.t[0])
        actnorm.third_of_log_std.copy_(norm.s[0] / 3)
    return theirs, Chain([Coupling(net, moves, first_half(CHANNELS)), mixing, actnorm])


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("lu", [True, False])
@pytest.mark.filterwarnings("ignore:torch.lu is deprecated:UserWarning")  # the peer's
@pytest.mark.usefixtures("float64")
def test_a_step_of_glow_is_that_of_normflows(scale, lu):
    theirs, ours = pair(scale, lu)
    z = torch.randn(3, CHANNELS, 4, 4)
    start = z.clone()
    gate = torch.tensor(2.0).sigmoid()  # ours starts as the identity, theirs as this scale
    moved = CHANNELS // 2 * 16
    if scale:
        start[:, CHANNELS // 2 :] *= gate
    x, log_det = theirs(start)
    mine, my_log_det = ours.forward(z)
    torch.testing.assert_close(mine, x)
    torch.testing.assert_close(my_log_det, log_det + (moved * gate.log() if scale else 0))
    back, log_det_back = ours.inverse(x)
    torch.testing.assert_close(back, z)
    torch.testing.assert_close(log_det_back, -my_log_det)
