"""Fixed points and estimated determinants against what can be computed outright."""

import math
from collections import Counter

import pytest
import torch

from caudal import NumericalError
from caudal.numerics import (
    Roulette,
    Truncated,
    estimate,
    exact,
    fixed_point,
    rademacher,
    solve,
)
from contractions import Contraction

SERIES = {
    "geometric": Roulette(terms=1, mean=1.0, law="geometric"),
    "poisson": Roulette(terms=2, mean=2.0, law="poisson"),
    "none-exact": Roulette(terms=0, mean=2.0, law="geometric"),
}


def sweep_of(net):
    def sweep(x, z):
        proposal = z - net(x)
        return proposal, proposal - x

    return sweep


def jacobian_of(net, x):
    return torch.stack(
        [torch.autograd.functional.jacobian(lambda v: net(v[None])[0], row) for row in x]
    )


# --- fixed points ----------------------------------------------------------------------------


@pytest.mark.parametrize("lipschitz", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("memory", [0, 5])
@pytest.mark.usefixtures("float64")
def test_a_contraction_is_inverted_and_the_residual_is_that_of_the_result(lipschitz, memory):
    net = Contraction(12, lipschitz)
    x = 3 * torch.randn(40, 12)
    z = x + net(x)
    found = fixed_point(sweep_of(net), z, (z,), memory=memory, most=5000)
    # The residual r bounds the error by r / (1 - L).
    assert float((found.x - x).abs().max()) < 1e-9
    measured = (found.x + net(found.x) - z).abs().amax(1)
    torch.testing.assert_close(found.residual, measured, atol=1e-14, rtol=0)
    assert float(found.residual.max()) < 1e-10
    assert found.history[-1] < 1e-10 < found.history[0]
    assert int(found.sweeps.max()) == len(found.history) - 1


@pytest.mark.usefixtures("float64")
def test_plain_sweeps_of_a_contraction_fall_at_its_rate():
    net = Contraction(12, 0.8)
    z = torch.randn(1, 12)
    history = fixed_point(sweep_of(net), z, (z,)).history
    assert all(after < before for before, after in zip(history, history[1:], strict=False))
    # The bound is for the 2-norm; the largest element may reach sqrt(12) of it.
    for n, error in enumerate(history):
        assert error <= math.sqrt(12) * 0.8**n * history[0] * (1 + 1e-9)


@pytest.mark.usefixtures("float64")
def test_acceleration_needs_fewer_sweeps():
    """A linear contraction on which plain sweeps are slow."""
    matrix = torch.diag(torch.linspace(-0.95, 0.95, 6))
    z = torch.randn(30, 6)

    def sweep(x, z):
        proposal = z - x @ matrix
        return proposal, proposal - x

    plain, fast = (len(fixed_point(sweep, z, (z,), memory=m).history) for m in (0, 5))
    assert plain > 200
    assert fast < 60


def test_rows_leave_when_they_are_done_and_do_not_touch_each_other():
    seen = []

    def sweep(x, z, speed):
        seen.append(len(x))
        proposal = x + (z - x) * speed
        return proposal, z - x

    z = torch.randn(3, 2)
    speed = torch.tensor([[1.0], [0.5], [0.25]])
    found = fixed_point(sweep, torch.zeros(3, 2), (z, speed))
    assert found.sweeps[0] == 1
    assert found.sweeps[0] < found.sweeps[1] < found.sweeps[2]
    assert seen[0] == 3
    assert seen[-1] == 1
    alone = fixed_point(sweep, torch.zeros(1, 2), (z[2:], speed[2:]))
    assert torch.equal(alone.x, found.x[2:])


def test_no_rows_are_no_work():
    empty = torch.zeros(0, 3)
    assert fixed_point(sweep_of(Contraction(3)), empty, (empty,)).x.shape == (0, 3)


@pytest.mark.parametrize("memory", [0, 4])
def test_what_does_not_converge_raises_and_says_how_far_it_came(memory):
    def sweep(x, z):
        proposal = torch.where(z > 0, z - 1.01 * torch.cat([-x[:, 1:], x[:, :1]], 1), z)
        return proposal, proposal - x

    z = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [-3.0, -1.0]])
    with pytest.raises(NumericalError, match=r"the thing: 1 of 3 rows have not .* 40 sweeps"):
        fixed_point(sweep, z, (z,), most=40, memory=memory, what="the thing")


def test_what_overflows_raises():
    def sweep(x):
        return x.exp() * x.exp() + 1, x.exp() * x.exp() + 1 - x

    with pytest.raises(NumericalError, match="have not converged after 30 sweeps; residual"):
        fixed_point(sweep, torch.ones(2, 3), most=30)


@pytest.mark.usefixtures("float64")
def test_damping_tames_steps_that_are_too_long():
    """Newton's step for x + atan(5 x) = z from a slope that is wrong by a factor of five."""

    def sweep(x, z):
        residual = z - x - 10 * torch.atan(5 * x)
        return x + residual / (1 + 50 / (1 + 25 * x.square()) / 5), residual

    z = torch.linspace(-12, 12, 25)[:, None]
    with pytest.raises(NumericalError):
        fixed_point(sweep, z, (z,), most=300)
    x = fixed_point(sweep, z, (z,), damped=True).x
    torch.testing.assert_close(x + 10 * torch.atan(5 * x), z, atol=1e-9, rtol=0)


def test_floating_point_that_goes_no_further_is_done():
    """A residual of cancelling numbers, 1e4 times the result: never below the tolerance."""

    def sweep(x, z):
        noisy = (x + 3e3) - 3e3
        proposal = z - 0.5 * noisy
        return proposal, proposal - x + 1e-4 * (1 - 2 * (x > z / 1.5)).to(x)

    z = torch.randn(20, 4)
    found = fixed_point(sweep, z, (z,))
    assert 1e-5 < float(found.residual.max()) < 1e-3
    torch.testing.assert_close(found.x, z / 1.5, atol=1e-3, rtol=0)


@pytest.mark.parametrize("memory", [0, 5])
@pytest.mark.usefixtures("float64")
def test_implicit_gradients_are_those_of_the_unrolled_sweeps(memory):
    net = Contraction(6, 0.6, context=2)
    z, context = torch.randn(9, 6, requires_grad=True), torch.randn(9, 2, requires_grad=True)
    weight = torch.randn(9, 6) * torch.logspace(-6, 3, 9)[:, None]
    inputs = (z, context, *net.parameters())

    def sweep(x, z, context):
        proposal = z - net(x, context)
        return proposal, proposal - x

    implicit = solve(sweep, z.detach(), (z, context), memory=memory)
    unrolled = z
    for _ in range(120):
        unrolled = z - net(unrolled, context)
    torch.testing.assert_close(implicit, unrolled, atol=1e-10, rtol=0)
    ours = torch.autograd.grad((implicit * weight).sum(), inputs)
    theirs = torch.autograd.grad((unrolled * weight).sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-14, rtol=1e-8)


def test_gradients_of_gradients_are_refused():
    net = Contraction(3, 0.6)
    z = torch.randn(2, 3, requires_grad=True)
    x = solve(sweep_of(net), z.detach(), (z,))
    with pytest.raises(RuntimeError, match="of first order only"):
        torch.autograd.grad(x.sum(), z, create_graph=True)


# --- determinants ----------------------------------------------------------------------------


@pytest.mark.parametrize("elements", [1, 2, 3, 8])
@pytest.mark.usefixtures("float64")
def test_the_exact_log_det_and_its_gradient_are_autograds(elements):
    net = Contraction(elements, 0.9)
    x = torch.randn(5, elements, requires_grad=True)
    found = exact(net.linearised(x)[1], x)
    expected = torch.linalg.slogdet(jacobian_of(net, x) + torch.eye(elements)).logabsdet
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: net(v[None])[0]))
    through = torch.linalg.slogdet(jacobian(x) + torch.eye(elements)).logabsdet
    inputs = (x, *net.parameters())
    for a, b in zip(
        torch.autograd.grad(found.sum(), inputs),
        torch.autograd.grad(through.sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


def drawn_weights(series, draws, generator):
    """How often each of the lists of weights comes: they differ in length alone."""
    return Counter(tuple(series.weights(1, generator)) for _ in range(draws))


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.usefixtures("float64")
def test_the_mean_of_ten_thousand_draws_is_the_log_det(name):
    draws, net = 10_000, Contraction(4, 0.6)
    x = torch.randn(1, 4)
    truth = torch.linalg.slogdet(jacobian_of(net, x) + torch.eye(4)).logabsdet[0]
    generator = torch.Generator().manual_seed(3)
    found = torch.cat(
        [
            estimate(net.linearised(x.expand(n, 4))[1], weights, rademacher(x, n, generator))
            for weights, n in drawn_weights(SERIES[name], draws, generator).items()
        ]
    ).detach()
    error = float(found.std()) / math.sqrt(draws)
    assert abs(float(found.mean() - truth)) < 3 * error
    assert error < 0.02  # it would find a term left out
    assert abs(float(found.mean() - net_trace(net, x))) > 3 * error


def net_trace(net, x):
    """A series cut off after its first term is not within the error."""
    return jacobian_of(net, x)[0].trace()


@pytest.mark.usefixtures("float64")
def test_the_mean_gradient_is_that_of_the_log_det():
    rows, net = 40_000, Contraction(3, 0.6)
    x = torch.randn(1, 3)
    jacobian = torch.func.jacrev(lambda v: net(v[None])[0])
    inputs = tuple(net.parameters())
    truth = torch.autograd.grad(
        torch.linalg.slogdet(jacobian(x[0]) + torch.eye(3)).logabsdet, inputs
    )
    point = x.expand(rows, 3).clone().requires_grad_()
    generator = torch.Generator().manual_seed(0)
    weights = [1.0] * 40  # nothing left out: what is left is the probes' noise
    probe = rademacher(point, rows, generator)
    found = estimate(net.linearised(point)[1], weights, probe)
    halves = [
        torch.autograd.grad(part.mean(), inputs, retain_graph=True)
        for part in found.split(rows // 10)
    ]
    for index, expected in enumerate(truth):
        drawn = torch.stack([half[index] for half in halves])
        error = drawn.std(0) / math.sqrt(len(halves))
        assert float(((drawn.mean(0) - expected).abs() / error.clamp(min=1e-12)).max()) < 5


@pytest.mark.usefixtures("float64")
def test_the_roulettes_gradient_is_unbiased_too():
    """The expectation for a fixed probe, over the number of terms alone."""
    net, series = Contraction(3, 0.6), Roulette(terms=1, mean=1.0)
    x = torch.randn(1, 3)
    push, probe = net.linearised(x)[1], rademacher(x, 1)
    generator = torch.Generator().manual_seed(0)

    def gradient(weights):
        found = estimate(push, weights, probe)
        return torch.autograd.grad(found.sum(), net.first, retain_graph=True)[0]

    truth = gradient([1.0] * 60)
    counted = drawn_weights(series, 4000, generator)
    drawn = torch.cat([gradient(w).expand(n, 3, 3) for w, n in counted.items()])
    error = drawn.std(0) / math.sqrt(len(drawn))
    assert float(((drawn.mean(0) - truth).abs() / error.clamp(min=1e-12)).max()) < 4


@pytest.mark.parametrize("terms", [1, 5, 12])
@pytest.mark.usefixtures("float64")
def test_a_truncated_series_is_off_by_no_more_than_its_bound(terms):
    lipschitz = 0.9
    for sign in (1.0, -1.0):
        matrix = sign * lipschitz * torch.eye(6)
        probe = rademacher(torch.empty(2, 6), 2)
        found = estimate(lambda v, j=matrix: v @ j, [1.0] * terms, probe)
        off = found - 6 * math.log(1 + sign * lipschitz)
        bound = 6 * Truncated(terms).bias_bound(lipschitz)
        assert float(off.abs().max()) <= bound * (1 + 1e-9)
        if sign < 0:  # where the bound is reached: eigenvalues of -L
            torch.testing.assert_close(off, torch.full((2,), bound))


def test_the_bound_is_that_of_the_papers_table():
    table = {(0.5, 5): 4.61e-3, (0.7, 10): 5.11e-3, (0.9, 5): 0.472, (0.98, 50): 0.212}
    for (lipschitz, terms), bound in table.items():
        assert Truncated(terms).bias_bound(lipschitz) == pytest.approx(bound, rel=5e-3)
    assert math.isinf(Truncated(5).bias_bound(1.0))
    assert Roulette(terms=1).bias_bound(0.9) == 0


@pytest.mark.parametrize("law", ["geometric", "poisson"])
def test_each_term_weighs_one_on_average(law):
    series, draws = Roulette(terms=2, mean=2.0, law=law), 10_000
    generator = torch.Generator().manual_seed(1)
    sums = torch.zeros(5, dtype=torch.float64)
    more = 0
    for weights, n in drawn_weights(series, draws, generator).items():
        more += n * (len(weights) - 2)
        sums += n * torch.tensor([*weights, *[0.0] * 5][:5], dtype=torch.float64)
    torch.testing.assert_close(sums / draws, torch.ones(5, dtype=torch.float64), atol=0.05, rtol=0)
    assert more / draws == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Truncated(-1), "`terms` must be at least 0, got -1"),
        (lambda: Roulette(-1), "`terms` must be at least 0, got -1"),
        (lambda: Roulette(2, mean=0.0), "`mean` must be a positive number, got 0.0"),
        (lambda: Roulette(2, mean=math.nan), "`mean` must be a positive number, got nan"),
        (lambda: Roulette(2, law="binomial"), "one of geometric, poisson, got 'binomial'"),
    ],
)
def test_series_refuse_what_cannot_be(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_memory_does_not_grow_with_the_number_of_terms():
    saved = []

    def pack(tensor):
        saved.append(tensor.numel())
        return tensor

    def kept(terms):
        net, x = Contraction(8, 0.5), torch.randn(16, 8, requires_grad=True)
        saved.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            estimate(net.linearised(x)[1], [1.0] * terms, rademacher(x, 16))
        return sum(saved)

    assert kept(50) == kept(2) > 0
