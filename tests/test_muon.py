"""Muon: orthogonal directions, how far matrices move, and that all else moves by Adam."""

from dataclasses import replace

import pytest
import torch

from caudal.nets import MADE, MLP
from caudal.nets.wavenet import WaveNet
from caudal.recipes import NSF, Glow, TarFlow
from caudal.training.muon import hidden_matrices, orthogonalised
from caudal.training.options import Training, make_optimizer
from caudal.training.run import Run
from test_training_resume import same
from training_case import TRAINING, train

MUON = replace(TRAINING, optimizer="muon", warmup=0, cosine=False)


@pytest.mark.parametrize("shape", [(24, 24), (40, 8), (8, 40)])
def test_directions_are_those_of_a_decomposition(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)).double()
    u, lengths, v = torch.linalg.svd(matrices, full_matrices=False)
    singular = u.mT @ orthogonalised(matrices) @ v.mT
    values = singular.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(singular, torch.diag_embed(values), rtol=0, atol=1e-9)
    assert values[lengths > 0.2].min() > 0.6
    assert values.max() < 1.25


def test_matrices_within_nets_are_found_and_no_first_or_last_ones():
    shapes = [tuple(w.shape) for w in hidden_matrices(NSF(hidden=7, blocks=1).build((3,)))]
    assert set(shapes) == {(7, 7)}
    assert [tuple(w.shape) for w in hidden_matrices(MADE(3, 2, (8, 9)))] == [(9, 8)]
    assert [tuple(w.shape) for w in hidden_matrices(MLP(3, 3, 2, (8, 9)))] == [(8, 3), (9, 8)]
    net = WaveNet(2, 1, 4, 6)
    assert sum(w.numel() for w in hidden_matrices(net)) < sum(p.numel() for p in net.parameters())
    flow = Glow(scales=1, layers=1, maps=5).build((3, 4, 4))
    assert [tuple(w.shape) for w in hidden_matrices(flow)] == [(5, 6, 3, 3), (5, 5, 1, 1)]
    flow = TarFlow(width=8, heads=2).build((1, 4, 4))
    last = [p for name, p in flow.named_parameters() if "last" in name or "embed" in name]
    assert not {id(p) for p in last} & set(map(id, hidden_matrices(flow)))


def stepped(optimizer, latch=None, **changes):
    """What a step with random gradients moves, by name, and which of them are hidden matrices."""
    torch.manual_seed(0)
    flow = NSF(layers=1, hidden=32, blocks=1).build((3,)).double()
    before = {name: p.detach().clone() for name, p in flow.named_parameters()}
    optimizer = make_optimizer(flow, Training(optimizer=optimizer, lr=0.01, **changes))
    for parameter in flow.parameters():
        parameter.grad = torch.randn_like(parameter)
    if latch is not None:
        optimizer.found_inf = torch.tensor(latch)
    optimizer.step()
    hidden = set(map(id, hidden_matrices(flow)))
    moves = {name: p.detach() - before[name] for name, p in flow.named_parameters()}
    return before, moves, {name for name, p in flow.named_parameters() if id(p) in hidden}


def test_matrices_move_by_the_rate_and_all_else_as_by_adam():
    _, moves, hidden = stepped("muon")
    _, by_adam, _ = stepped("adam")
    assert len(hidden) == 2  # a block
    for name, move in moves.items():
        if name in hidden:
            assert 0.008 < move.square().mean().sqrt() < 0.0115
            assert torch.linalg.svdvals(move).max() < 2 * torch.linalg.svdvals(move).min()
        else:
            assert torch.equal(move, by_adam[name])


def test_matrices_decay_and_stay_where_a_number_was_not_finite():
    before, moves, hidden = stepped("muon", weight_decay=0.5)
    _, without, _ = stepped("muon")
    for name in hidden:
        torch.testing.assert_close(moves[name] - without[name], -0.005 * before[name])
    _, latched, _ = stepped("muon", latch=1.0, weight_decay=0.5)
    assert not any(move.any() for move in latched.values())


@pytest.mark.usefixtures("float64")
def test_what_is_kept_of_matrices_is_in_its_own_precision_and_finite():
    """Also where new tensors are in float64: a state with other counts of steps is refused."""
    net = MLP(3, 3, 2, (8,)).float()
    optimizer = make_optimizer(net, Training(optimizer="muon"))
    for value, latch in ((1.0, 0.0), (torch.nan, 1.0)):
        for parameter in net.parameters():
            parameter.grad = torch.full_like(parameter, value)
        optimizer.found_inf = torch.tensor(latch, dtype=torch.float32)
        optimizer.step()
    kept = [optimizer.state[matrix] for matrix in hidden_matrices(net)]
    assert {state["step"].dtype for state in kept} == {torch.float32}
    for state in kept:
        torch.testing.assert_close(state["exp_avg"], torch.full_like(state["exp_avg"], 0.05))


def test_an_interrupted_run_goes_on_the_same(tmp_path):
    whole = Run(tmp_path / "whole"), train(tmp_path / "whole", MUON)
    run = Run(tmp_path / "parts")
    train(run.path, replace(MUON, steps=15))
    same(run, train(run.path, MUON, resume=True), whole)
