"""Samples of a student, corrected to those of its teacher."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from caudal import Flow, InputError, NumericalError
from caudal.base import Normal
from caudal.correction import Correction, corrected_sample, weighted_sample
from caudal.data import Column, TableSchema
from caudal.modality import assemble
from caudal.recipes import NICE
from pairs import Shift, gaussian, modes, positive_half


def p_value(x, mean, std):
    """The p-value of a Kolmogorov-Smirnov test against N(mean, std^2)."""
    return stats.kstest(x.flatten().numpy(), stats.norm(mean, std).cdf).pvalue


def test_corrected_samples_are_those_of_the_teacher():
    student, teacher = gaussian(0.0, 1.3), gaussian(0.3, 1.0)
    raw, _ = corrected_sample(student, teacher, 20_000, steps=0)
    assert p_value(raw, 0.0, 1.3) > 0.01
    assert p_value(raw, 0.3, 1.0) < 1e-9
    x, correction = corrected_sample(student, teacher, 20_000)
    assert p_value(x, 0.3, 1.0) > 0.01
    assert correction.steps == 20
    assert correction.rows == 20_000
    assert correction.left < 1e-3
    assert correction.pareto_k < 0.5


def test_the_correction_reports_what_theory_says():
    """The acceptance for N(0, s^2) as the student of N(0, 1)."""
    s = 1.3
    x, correction = corrected_sample(gaussian(0.0, s), gaussian(0.0, 1.0), 20_000, steps=200)
    assert correction.ess == pytest.approx(math.sqrt(2 * s**2 - 1) / s**2, abs=0.005)
    # In equilibrium E min(1, w'/w) is P(chi_1 of p < chi_1 of q) twice over: 4/pi atan(1/s).
    assert correction.acceptance == pytest.approx(4 / math.pi * math.atan(1 / s), abs=0.005)
    assert correction.stuck == 0.0
    assert p_value(x, 0.0, 1.0) > 0.01


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_what_is_left_is_no_less_than_the_distance(steps):
    """The KS distance is at most total variation, which is at most what is left."""
    x, correction = corrected_sample(gaussian(0.0, 1.0), gaussian(1.0, 1.0), 50_000, steps=steps)
    away = stats.kstest(x.flatten().numpy(), stats.norm(1.0, 1.0).cdf).statistic
    assert away < correction.left + 0.01
    assert correction.left < 3 * away + 0.01  # and no idle bound


def test_the_teacher_itself_is_always_accepted():
    _, correction = corrected_sample(gaussian(0.3, 2.0), gaussian(0.3, 2.0), 1000, steps=5)
    assert correction.acceptance == pytest.approx(1.0, abs=1e-3)
    assert correction.ess == pytest.approx(1.0)
    assert correction.pareto_k == -math.inf
    assert correction.to_dict()["pareto_k"] is None


def test_each_row_keeps_its_context():
    teacher = Flow(Shift(), Normal((1,)), context_shape=(1,)).double()
    student = Flow(Shift(), Normal((1,)), context_shape=(1,), embedding=Halve()).double()
    context = torch.tensor([[0.0], [1.0]], dtype=torch.float64).repeat(10_000, 1)
    x, _ = corrected_sample(student, teacher, 20_000, context)
    assert p_value(x - context, 0.0, 1.0) > 0.01
    one, _ = corrected_sample(student, teacher, 20_000, context[1])
    assert p_value(one, 1.0, 1.0) > 0.01


class Halve(torch.nn.Module):
    def forward(self, context):
        return context / 2


def test_steps_and_gaps_come_back_as_they_were():
    columns = (Column("k", "integer", 0, step=1.0), Column("m", "real", missing=True))
    student = assemble(NICE(layers=2, hidden=(4,)), TableSchema(columns)).eval()
    x, correction = corrected_sample(student, student, 500, steps=2)
    assert x.shape == (500, 2)
    assert x.dtype == torch.float32
    assert torch.equal(x[:, 0], x[:, 0].round())
    assert 0 < x[:, 1].isnan().sum() < 500
    assert correction.acceptance > 0.95
    continuous = student.continuous()
    assert (continuous.event_shape, continuous.kind) == ((3,), "exact")
    assert continuous.bijection is student.bijection
    assert not continuous.training
    assert continuous.continuous() is continuous


def test_a_generator_draws_it_all():
    pair = gaussian(0.0, 1.3), gaussian(0.3, 1.0)
    a, b = (
        corrected_sample(*pair, 50, generator=torch.Generator().manual_seed(7))[0] for _ in "ab"
    )
    assert torch.equal(a, b)


def test_rows_the_teacher_never_has_are_left_behind():
    student, teacher = gaussian(0.0, 1.0), positive_half()
    x, correction = corrected_sample(student, teacher, 20_000)
    assert (x > 0).all()
    assert correction.ess == pytest.approx(0.5, abs=0.01)
    assert stats.kstest(x.flatten().numpy(), stats.halfnorm.cdf).pvalue > 0.01


def test_several_corrections_are_one():
    parts = [corrected_sample(gaussian(0, 1.3), gaussian(0, 1), 100, steps=2)[1] for _ in "ab"]
    whole = Correction.join(parts)
    assert whole.rows == 200
    assert whole.acceptance == pytest.approx(np.mean([part.acceptance for part in parts]))
    assert set(whole.to_dict()) == {"steps", "acceptance", "ess", "pareto_k", "stuck", "left"}


def test_refusals():
    with pytest.raises(InputError, match=r"rows \(1,\) and context None, the teacher rows \(2,\)"):
        corrected_sample(gaussian(0.0, 1.0), gaussian(0.0, 1.0, 2), 3)
    with pytest.raises(InputError, match="`steps` must be at least 0"):
        corrected_sample(gaussian(0.0, 1.0), gaussian(0.0, 1.0), 3, steps=-1)
    with pytest.raises(NumericalError, match="density of a draw is not a number"):
        weighted_sample(gaussian(0.0, math.nan), gaussian(0.0, 1.0), 3)


def test_a_mode_that_the_student_never_draws_stays_away():
    """No correction can mend this, and no weight can show it."""
    x, correction = corrected_sample(modes(0.0), modes(0.0, 40.0), 1000)
    assert x[:, 0].max() < 10
    assert correction.ess == pytest.approx(1.0)
