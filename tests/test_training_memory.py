"""Training in less memory takes the same steps."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from caudal import Chain, Flow, InputError
from caudal.base import Normal
from caudal.bijections import BatchNorm, Coupling
from caudal.elementwise import Affine
from caudal.numerics import recomputing
from caudal.recipes import NSF, ResidualFlow
from caudal.training.fit import fit
from caudal.training.options import Training
from processes_case import table
from training_case import timeless

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def whole():
    return table(1)


@pytest.mark.parametrize("how", [{"recompute": True}, {"recompute": True, "accumulate": 4}])
def test_recomputed_activations_and_pieces_of_a_batch(how, whole):
    """Noise and dropout are those of the rows; batch normalisation has the moments of pieces."""
    fitted = table(1, training=how)
    first = fitted.history[0], whole.history[0]
    bound = 1e-9 if "accumulate" not in how else 0.1
    assert first[0]["train"] == pytest.approx(first[1]["train"], rel=bound)
    if "accumulate" not in how:
        for ours, theirs in zip(timeless(fitted.history), timeless(whole.history), strict=True):
            assert ours == pytest.approx(theirs, rel=1e-9)


def test_pieces_of_a_batch_without_batch_normalisation():
    x = torch.randn(128, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    training = Training(steps=6, batch_size=32, validate_every=3, precision="64-true")
    losses = []
    for accumulate in (1, 4):
        torch.manual_seed(0)
        flow = NSF(layers=2, hidden=8, blocks=1, dropout=0.3).build((3,))
        fitted = fit(flow, x, training=replace(training, accumulate=accumulate))
        losses.append([record["train"] for record in fitted.history])
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def kept(layers, recompute):
    """Bytes that the graph of a loss keeps."""
    flow, sizes = NSF(layers=layers, hidden=32).build((4,)), {}

    def pack(tensor):
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor), recomputing(recompute):
        loss = flow.log_prob(torch.randn(256, 4)).mean()
    loss.backward()
    return sum(sizes.values())


def test_recomputing_keeps_a_fraction():
    """Of each layer its input, whatever is in it."""
    plain, recomputed = ([kept(layers, on) for layers in (2, 6)] for on in (False, True))
    assert recomputed[1] - recomputed[0] < (plain[1] - plain[0]) / 20


class OwnNet(nn.Sequential):
    """A net of a user's own, without context."""

    def forward(self, x, context=None):
        return super().forward(x)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_normalisation_counts_a_recomputed_batch_once(momentum):
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))
    states = []
    for again in (False, True):
        torch.manual_seed(0)
        norm = nn.BatchNorm1d(8, momentum=momentum)
        net = OwnNet(nn.Linear(2, 8), norm, nn.Linear(8, 4), nn.Unflatten(1, (2, 2)))
        half = Coupling(net, Affine(), torch.arange(4) < 2)
        flow = Flow(Chain([half, BatchNorm((4,))]), Normal((4,)))
        for _ in range(3):
            with recomputing(again):
                loss = -flow.log_prob(x).mean()
            loss.backward()
        states.append({**dict(flow.named_buffers()), "grad": net[0].weight.grad})
    for name, theirs in states[0].items():
        torch.testing.assert_close(states[1][name], theirs, msg=name)
    assert int(norm.num_batches_tracked) == 3


def test_compiled_code_and_recomputing_do_not_go_together():
    with pytest.raises(InputError, match="`recompute=True` and `compile=True`: .* one of them"):
        Training(recompute=True, compile=True)


def test_layers_that_change_with_each_pass_are_not_recomputed():
    flow = ResidualFlow(blocks=1, hidden=(4,)).build((2,))
    with pytest.raises(InputError, match="`recompute=True`: spectral layers change"):
        fit(flow, torch.randn(100, 2), training=Training(steps=1, recompute=True))


def test_a_batch_that_has_no_equal_pieces_is_refused():
    with pytest.raises(InputError, match="`batch_size` 10: must be a multiple of 4"):
        Training(batch_size=10, accumulate=4)
