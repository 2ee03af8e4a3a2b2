"""Under autocast nets run in half precision; maps of the data themselves do not."""

import pytest
import torch

from caudal.nets import MADE, WaveNet
from caudal.recipes import RECIPES


@pytest.mark.parametrize(
    ("name", "shape"), [*((name, None) for name in RECIPES), ("tarflow", (1, 8, 8))]
)
def test_half_precision_leaves_the_data_alone(name, shape):
    recipe = RECIPES[name]()
    shape = shape or ((5,) if recipe.vectors else (1, 12) if recipe.audio else (1, 8, 8))
    flow = recipe.build(shape).eval()
    for net in flow.modules():
        if isinstance(net, MADE | WaveNet):
            torch.nn.init.zeros_(net.last.bias)  # of mixtures and students: all give zeros then
    for parameter in flow.bijection.parameters():
        if parameter.ndim == 2 and parameter.shape == (5, 5):
            torch.nn.init.normal_(parameter, std=0.3)  # LU factors
    x = torch.randn(8, *shape)
    exact = flow.log_prob(x)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = flow.log_prob(x)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, exact, rtol=1e-6, atol=1e-6)
