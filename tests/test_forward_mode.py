"""Forward-mode derivatives through flows that are inverted by iteration."""

import pytest
import torch
from torch.func import jvp

from caudal.recipes import IResNet, ResidualFlow

FLOWS = {
    "iresnet": IResNet(blocks=1, hidden=(8,)),
    "residual-flow": ResidualFlow(blocks=1, hidden=(8,)),
}
WAYS = ["log_prob", "encode", "decode"]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("way", WAYS)
def test_jvp_is_the_finite_difference(name, way):
    function = getattr(FLOWS[name].build((2,)).eval(), way)
    x, direction = torch.randn(3, 2), torch.randn(3, 2)
    _, slope = jvp(function, (x,), (direction,))
    with torch.no_grad():
        ahead, behind = function(x + 1e-6 * direction), function(x - 1e-6 * direction)
    torch.testing.assert_close(slope.detach(), (ahead - behind) / 2e-6, atol=1e-6, rtol=1e-6)
