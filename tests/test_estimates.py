"""Scores that are estimates: what they are called, and how uncertain they are."""

import math

import pytest
import torch

from caudal.base import Normal
from caudal.bijection import Chain, Inverse
from caudal.bijections import Scale
from caudal.dequantization import TableDequantization
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.numerics import drawing
from estimated_flows import BOUND, Noisy

STD = 0.5


def flow_of(*kinds, whole=False, std=STD):
    """A flow of three columns with parts of these kinds; of whole numbers, or not."""
    parts = [Scale((3,)), *(Noisy((3,), kind, std) for kind in kinds)]
    steps = None
    if whole:
        inf = torch.full((3,), torch.inf)
        steps = TableDequantization(torch.ones(3), torch.zeros(3).bool(), -inf, inf)
    flow = Flow(Chain(parts), Normal((3,)), dequantization=steps)
    return flow.eval().requires_grad_(False)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# --- what they are -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((), "exact"),
        (("exact", "exact"), "exact"),
        (("exact", "unbiased"), "unbiased estimate"),
        (("biased", "unbiased"), "biased estimate"),
        (("unbiased", "biased", "exact"), "biased estimate"),
    ],
)
def test_kinds_combine(kinds, expected):
    flow, whole = flow_of(*kinds), flow_of(*kinds, whole=True)
    bound = "lower bound" if expected == "exact" else f"{expected} of a lower bound"
    assert (flow.kind, whole.kind, whole.continuous().kind) == (expected, bound, expected)
    assert flow.estimated == whole.estimated == (expected != "exact")
    assert flow.bias_bound() == whole.bias_bound() == BOUND * kinds.count("biased")


def test_parts_within_parts_count():
    inner = Chain([Inverse(Noisy((3,), "biased"))])
    flow = Flow(Inverse(Chain([inner, Noisy((3,), "biased")])), Normal((3,)))
    assert flow.kind == "biased estimate"
    assert flow.bias_bound() == 2 * BOUND


# --- where they are drawn ----------------------------------------------------------------------


def test_without_a_generator_scores_repeat():
    flow, x = flow_of("unbiased"), torch.randn(50, 3)
    once = flow.log_prob(x)
    assert torch.equal(once, flow.log_prob(x))
    off = once - flow_of("exact").log_prob(x)
    assert off.std() < 1e-5  # the same for all rows


def test_a_generator_draws_anew_for_each_row():
    flow, x = flow_of("unbiased"), torch.randn(5000, 3)
    drawn = flow.log_prob(x, generator=generator())
    assert torch.equal(drawn, flow.log_prob(x, generator=generator()))
    with drawing(generator()):
        assert torch.equal(drawn, flow.log_prob(x))
    off = drawn - flow_of("exact").log_prob(x)
    assert len(off.unique()) > 4000
    assert float(off.std()) == pytest.approx(STD, rel=0.03)
    assert float(off.mean()) == pytest.approx(0, abs=3 * STD / math.sqrt(5000))


def test_noise_between_steps_comes_first():
    """So a flow has the same noise whether it is estimated or not."""
    flow, x = flow_of("unbiased", whole=True), torch.randint(9, (200, 3)).float()
    drawing_both = generator()
    scores = flow.log_prob(x, generator=drawing_both)
    after = generator()
    y, log_q = flow.lift(x, after)
    again = flow.continuous().log_prob(y, generator=after) - log_q
    torch.testing.assert_close(scores, again)
    assert torch.equal(drawing_both.get_state(), after.get_state())
    exact = flow_of("exact", whole=True).log_prob(x, generator=generator())
    assert float((scores - exact).std()) == pytest.approx(STD, rel=0.2)


def test_samples_do_not_depend_on_estimates():
    drawn, flow = generator(), flow_of("unbiased")
    x = torch.cat([flow.sample(10, generator=drawn) for _ in range(2)])
    other, drawn = flow_of("exact"), generator()
    assert torch.equal(x, torch.cat([other.sample(10, generator=drawn) for _ in range(2)]))
    x, log_prob = flow.sample_with_log_prob(4000, generator=generator())
    off = log_prob - other.log_prob(x)
    assert float(off.std()) == pytest.approx(STD, rel=0.05)


# --- how uncertain they are --------------------------------------------------------------------


def test_the_error_is_the_spread_over_draws():
    flow, x, draws = flow_of("unbiased"), torch.randn(4000, 3), 4
    log_prob, error = flow.log_prob_with_error(x, draws=draws)
    assert log_prob.shape == error.shape == (4000,)
    off = log_prob - flow_of("exact").log_prob(x)
    # Of 4000 means of 4 draws: a variance has a standard error of its own of var * sqrt(2 / n).
    expected = STD**2 / draws
    assert abs(float(off.var()) - expected) < 3 * expected * math.sqrt(2 / 4000)
    per_row = expected * math.sqrt(2 / (draws - 1) / 4000)
    assert abs(float(error.square().mean()) - expected) < 3 * per_row


def test_errors_add_up_over_parts():
    flow = flow_of("unbiased", "biased")
    _, error = flow.log_prob_with_error(torch.randn(4000, 3), draws=8)
    assert float(error.square().mean() * 8) == pytest.approx(2 * STD**2, rel=0.06)


def test_it_repeats_unless_given_a_generator():
    flow, x = flow_of("unbiased", whole=True), torch.randint(9, (50, 3)).float()
    once, again = (flow.log_prob_with_error(x) for _ in range(2))
    assert all(map(torch.equal, once, again))
    drawn = generator(3)
    first, second = (flow.log_prob_with_error(x, generator=drawn)[0] for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, flow.log_prob_with_error(x, generator=generator(3))[0])


def test_the_noise_between_steps_is_drawn_once():
    """The error is that of the estimate alone, so it vanishes with it."""
    x = torch.randint(9, (50, 3)).float()
    log_prob, error = flow_of("unbiased", whole=True, std=0.0).log_prob_with_error(x)
    assert float(error.max()) < 1e-5
    exact = flow_of("exact", whole=True).log_prob(x, generator=generator())
    torch.testing.assert_close(log_prob, exact)


@pytest.mark.parametrize("whole", [False, True])
def test_exact_ones_have_no_error_and_take_one_pass(whole, monkeypatch):
    flow, x = flow_of("exact", whole=whole), torch.ones(5, 3)
    expected, passes = flow.log_prob(x, generator=generator()), []
    inverse = Noisy.inverse
    monkeypatch.setattr(Noisy, "inverse", lambda *words: passes.append(0) or inverse(*words))
    log_prob, error = flow.log_prob_with_error(x)
    assert torch.equal(log_prob, expected)
    assert torch.equal(error, torch.zeros(5))
    assert len(passes) == 1


def test_rows_of_density_zero_have_no_error():
    x = torch.randint(9, (4, 3)).float()
    x[1, 0], x[2, 1], x[3, 0] = torch.inf, 0.5, torch.nan
    log_prob, error = flow_of("unbiased", whole=True).log_prob_with_error(x)
    assert log_prob[0].isfinite()
    assert error[0] > 0
    assert torch.equal(log_prob[1:3], torch.full((2,), -torch.inf))
    assert torch.equal(error[1:3], torch.zeros(2))
    assert log_prob[3].isnan()


def test_one_draw_has_no_error():
    with pytest.raises(InputError, match="draws must be at least 2"):
        flow_of("unbiased").log_prob_with_error(torch.zeros(1, 3), draws=1)


def test_a_conditional_flow_is_asked_with_its_context():
    flow = Flow(Noisy((3,)), Normal((3,)), context_shape=(2,)).eval()
    log_prob, error = flow.log_prob_with_error(torch.zeros(4, 3), torch.zeros(4, 2))
    assert log_prob.isfinite().all()
    assert (error > 0).all()
