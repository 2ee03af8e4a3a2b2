"""Long batches without gradient are processed in pieces, with the same results."""

import pytest
import torch

from caudal import InputError, bijection, recipes
from caudal.bijections import Coupling
from caudal.elementwise import Affine


@pytest.fixture
def calls(monkeypatch):
    monkeypatch.setattr(bijection, "_VECTORS", (4, 1))
    return []


def conditional_flow(calls):
    flow = recipes.RealNVP(layers=2, hidden=(8,)).build((3,), (2,))
    for coupling in flow.modules():
        if isinstance(coupling, Coupling):
            torch.nn.init.normal_(coupling.net.last.weight)
    inverse = flow.bijection.inverse
    flow.bijection.inverse = lambda x, context: calls.append(len(x)) or inverse(x, context)
    return flow


@pytest.mark.usefixtures("float64")
def test_pieces_give_what_the_whole_gives(calls):
    flow = conditional_flow(calls).eval()
    x, context = torch.randn(10, 3), torch.randn(10, 2)
    whole = flow.log_prob(x, context)  # with gradient
    assert calls == [10]
    calls.clear()
    with torch.no_grad():
        torch.testing.assert_close(flow.log_prob(x, context), whole, rtol=1e-12, atol=1e-12)
        assert calls == [4, 4, 2]
        torch.testing.assert_close(flow.decode(flow.encode(x, context), context), x)


@pytest.mark.usefixtures("float64")
def test_batch_moments_come_from_the_whole_batch(calls):
    flow = conditional_flow(calls).train()
    with torch.no_grad():
        flow.log_prob(torch.randn(10, 3), torch.randn(10, 2))
    assert calls == [10]


class Still(torch.nn.Module):
    """A net whose coupling changes nothing."""

    def forward(self, x, context=None):
        return x.new_zeros(len(x), 2, 2)


@pytest.mark.usefixtures("calls")
def test_a_piece_keeps_no_more_than_its_rows():
    kept = []
    half = Coupling(Still(), Affine(), torch.arange(4) < 2)

    def direction(value, context):
        output, log_det = half.inverse(value, context)
        kept.append(output.untyped_storage().nbytes() // output.element_size())
        return output, log_det

    with torch.no_grad():
        bijection.in_pieces(direction, torch.randn(40, 4), None)
    assert kept == [4 * 4] * 10


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_no_rows_are_a_batch_too(name):
    recipe = recipes.RECIPES[name]()
    shape = (3,) if recipe.vectors else (1, 12) if recipe.audio else (1, 4, 4)
    flow = recipe.build(shape).eval()
    assert flow.log_prob(torch.empty(0, *shape)).shape == (0,)
    assert flow.sample(0).shape == (0, *shape)
    with pytest.raises(InputError, match="`n` -1: must be at least 0"):
        flow.sample(-1)
