"""Masked layers against the plain masked product; conditioners' shapes and starts."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from cases import randomise
from caudal.nets import MADE, MLP, ColumnEmbedding, ResidualMLP
from caudal.nets.fast import staircase
from caudal.nets.masked import MaskedLinear

REACHES = {
    "whole": [5] * 6,
    "none": [0] * 6,
    "steps": [0, 0, 1, 1, 3, 3, 3, 5],
    "one": [2],
    "each": list(range(6)) * 1,
    "flat": [3, 3, 3, 3, 3, 3, 3, 3, 4],
}


@pytest.mark.parametrize("name", REACHES)
@pytest.mark.usefixtures("float64")
def test_a_staircase_is_the_masked_product(name, monkeypatch):
    layer = randomise(MaskedLinear(5, REACHES[name]))
    x = torch.randn(5, 7, requires_grad=True)  # the batch on the last dimension
    mask = (torch.arange(5) < torch.tensor(REACHES[name])[:, None]).double()

    def results(y):
        loss = y.square().sum()
        first = torch.autograd.grad(loss, [x, layer.weight, layer.bias], create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), [x, layer.weight])
        return [y, *first, *second]

    def plain(y):
        return torch.autograd.grad(y.square().sum(), [x, layer.weight, layer.bias])

    truth = results(F.linear(x.t(), layer.weight * mask, layer.bias).t())
    truth += plain(F.linear(x.t(), layer.weight * mask, layer.bias).t())
    for least in (10**12, 1):  # the plain product, then the blocks
        monkeypatch.setattr(staircase, "_LEAST_PRODUCTS", least)
        monkeypatch.setattr(staircase, "_LEAST_SIDE", 1)
        monkeypatch.setattr(staircase, "_NARROWEST", 1)
        for ours, theirs in zip([*results(layer(x)), *plain(layer(x))], truth, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_blocks_compile_and_export(monkeypatch):
    monkeypatch.setattr(staircase, "_LEAST_PRODUCTS", 1)
    monkeypatch.setattr(staircase, "_LEAST_SIDE", 1)
    monkeypatch.setattr(staircase, "_NARROWEST", 1)
    net, x = randomise(MADE(6, 2, (20, 20))), torch.randn(4, 6)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), net(x))
    weights = list(net.parameters())
    ours, theirs = (torch.autograd.grad(f(x).square().sum(), weights) for f in (compiled, net))
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.export.export(net, (x,)).module()(x), net(x))


def test_weights_outside_the_mask_do_nothing():
    layer = MaskedLinear(5, [0, 2, 4])
    x = torch.randn(5, 3)
    before = layer(x)
    with torch.no_grad():
        layer.weight[0] = 100.0
    assert torch.equal(layer(x), before)
    with pytest.raises(ValueError, match="non-decreasing"):
        MaskedLinear(3, [2, 1])


@pytest.mark.parametrize(("features", "width"), [(1, 4), (9, 3), (2, 1), (5, 64)])
def test_made_of_any_width_has_finite_parameters(features, width):
    for context in (0, 2):
        net = MADE(features, 3, (width, width), context)
        rows = torch.randn(4, context) if context else None
        params = net(torch.randn(4, features), rows)
        assert params.shape == (4, 3, features)
        assert torch.equal(params, torch.zeros_like(params))  # the last layer starts at zero


def test_context_reaches_the_first_element_through_hidden_layers():
    net = randomise(MADE(3, 1, (32, 32), context=2), 0.3)
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    first = net(torch.zeros(3, 3), rows)[:, 0, 0]
    assert first.unique().numel() == 3


def test_made_refuses_layers_it_cannot_build():
    with pytest.raises(ValueError, match="at least one layer"):
        MADE(3, 1, ())
    with pytest.raises(ValueError, match="odd number of equal `hidden`"):
        MADE(3, 1, (8, 8), residual=True)


def test_dropout_is_for_training_and_keeps_causality():
    net = randomise(MADE(5, 2, (40,) * 3, residual=True, dropout=0.5))
    x = torch.randn(8, 5)
    assert not torch.equal(net(x), net(x))
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x).sum((0, 1)), x)
    assert not jacobian.sum(1).triu().any()
    net.eval()
    assert torch.equal(net(x), net(x))


def test_mlps_start_at_zero_and_take_context():
    for net in (MLP(3, 2, 5, (8, 8), context=2), ResidualMLP(3, 2, 5, 8, 2, context=2)):
        params = net(torch.randn(4, 3), torch.randn(4, 2))
        assert params.shape == (4, 5, 2)
        assert not params.any()


def test_embedding_standardises_numbers_and_one_hots_codes():
    embedding = ColumnEmbedding([0, 3])
    rows = torch.tensor([[10.0, 0], [20.0, 2], [30.0, 1]])
    embedding.observe(rows)
    features = embedding(rows)
    assert features.shape == (3, 4)
    torch.testing.assert_close(features[:, 0].mean(), torch.tensor(0.0))
    assert torch.equal(features[:, 1:], torch.eye(3)[[0, 2, 1]])


def test_embedding_learns_a_few_features_of_many_categories():
    embedding = ColumnEmbedding([0, 5000])
    rows = torch.tensor([[1.0, 4999], [2.0, 3], [4.0, 3]])
    features = embedding(rows)
    assert features.shape == (3, embedding.n_features) == (3, 17)
    assert torch.equal(features[1, 1:], features[2, 1:])
    features.sum().backward()
    assert embedding.tables["1"].weight.grad.count_nonzero() == 2 * 16
    frames = embedding(rows[:, :, None].expand(3, 2, 4))
    assert torch.equal(frames[:, :, 2], features)
