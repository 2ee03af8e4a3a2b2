"""A student beside its teacher, where both divergences are known in closed form."""

import dataclasses
import json
import math
from importlib import import_module

import numpy as np
import pytest
import torch
from scipy import stats

from caudal import Flow, InputError
from caudal.base import Normal
from caudal.data import Column, TableSchema
from caudal.modality import assemble
from caudal.recipes import IAF, MAF, NICE
from caudal.report import column_distances, measure, sampling_speed, two_sample, verdict
from caudal.report.fidelity import lifted_names
from caudal.report.speed import by_passes
from caudal.report.two_sample import area
from pairs import Shift, gaussian, modes, positive_half

pytestmark = pytest.mark.usefixtures("all_rounds")

ROWS = 4000


def kl(mean, std, other_mean, other_std):
    """KL(N(mean, std^2) || N(other_mean, other_std^2)) in nats."""
    away = (std**2 + (mean - other_mean) ** 2) / (2 * other_std**2)
    return math.log(other_std / std) + away - 0.5


# --- telling rows apart ----------------------------------------------------------------------


def test_area_is_that_of_all_pairs_and_its_error_that_of_many_draws():
    rng = np.random.default_rng(0)
    no, yes = rng.integers(4, size=60).astype(float), rng.integers(1, 5, size=40).astype(float)
    pairs = (no < yes[:, None]) + 0.5 * (no == yes[:, None])
    assert area(no, yes)[0] == pytest.approx(pairs.mean())
    draws = [area(rng.normal(size=80), rng.normal(0.7, 1, size=120)) for _ in range(2000)]
    areas, errors = np.array(draws).T
    assert areas.mean() == pytest.approx(stats.norm.cdf(0.7 / math.sqrt(2)), abs=0.003)
    assert errors.mean() == pytest.approx(areas.std(), rel=0.1)


def test_equal_densities_are_not_told_apart_and_different_ones_are():
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=(ROWS, 3)) for _ in range(3))
    same = two_sample(a, b)
    assert abs(same.auc - 0.5) < 3 * same.auc_se
    assert abs(same.accuracy - 0.5) < 3 * same.accuracy_se
    assert same.rows == ROWS // 2
    c[:, 1] = c[:, 0]  # each column by itself is as before
    apart = two_sample(a, c)
    assert apart.auc > 0.9
    assert apart.accuracy > 0.8
    assert max(value for _, value in column_distances(a, c, "abc")) < 0.05


def test_the_best_classifier_of_a_shift_is_nearly_reached():
    """Its AUC is Phi(shift / sqrt 2), its accuracy Phi(shift / 2)."""
    rng = np.random.default_rng(0)
    result = two_sample(rng.normal(size=(ROWS, 1)), rng.normal(1.0, 1.0, size=(ROWS, 1)))
    assert result.auc == pytest.approx(stats.norm.cdf(math.sqrt(0.5)), abs=0.03)
    assert result.accuracy == pytest.approx(stats.norm.cdf(0.5), abs=0.03)


def test_contexts_are_seen_by_the_classifier():
    """Rows that differ from their contexts only: as rows they are equal."""
    rng = np.random.default_rng(0)
    context = rng.normal(size=(ROWS, 1))
    teacher, student = context + 0.1 * rng.normal(size=(ROWS, 1)), rng.normal(size=(ROWS, 1))
    assert two_sample(teacher, student).auc < 0.55
    assert two_sample(teacher, student, context).auc > 0.9


def test_infinities_are_told_apart_and_no_error():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(100, 1)), np.full((100, 1), np.inf)
    assert two_sample(a, b).auc > 0.9
    with pytest.raises(ValueError, match="as many rows of both"):
        two_sample(a, b[:50])


def test_columns_come_worst_first_with_scipys_distance():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 2)), rng.normal([0.0, 1.0], 1.0, size=(300, 2))
    (first, distance), (second, _) = column_distances(a, b, ("x", "y"))
    assert (first, second) == ("y", "x")
    assert distance == pytest.approx(stats.ks_2samp(a[:, 1], b[:, 1]).statistic)


# --- both divergences ------------------------------------------------------------------------


def test_a_flow_beside_itself():
    flow = gaussian(3.0, 2.0, 2)
    result = measure(flow, flow, n=ROWS)
    assert result.reverse_kl == pytest.approx(0.0, abs=1e-12)
    assert result.forward_kl == pytest.approx(0.0, abs=1e-12)
    assert (result.missed, result.pareto_k, result.dims) == (0.0, -math.inf, 2)
    assert result.ess == pytest.approx(1.0)
    assert abs(result.auc - 0.5) < 3 * result.auc_se
    assert [name for name, _ in result.ks] in (["x0", "x1"], ["x1", "x0"])
    (line,) = verdict(result)
    assert line.startswith("good: ")


@pytest.mark.parametrize(("mean", "std"), [(0.5, 1.0), (0.0, 0.8), (-0.3, 1.4)])
def test_gaussians_have_the_divergences_of_the_closed_form(mean, std):
    result = measure(gaussian(mean, std, 3), gaussian(0.2, 1.0, 3), n=ROWS)
    reverse, forward = kl(mean, std, 0.2, 1.0), kl(0.2, 1.0, mean, std)
    assert result.reverse_kl == pytest.approx(3 * reverse, abs=1.5 * result.reverse_two_se)
    assert result.forward_kl == pytest.approx(3 * forward, abs=1.5 * result.forward_two_se)
    assert result.reverse_kl_per_dim == pytest.approx(reverse, abs=0.5 * result.reverse_two_se)
    assert result.forward_kl_per_dim == pytest.approx(forward, abs=0.5 * result.forward_two_se)
    assert 0 < result.reverse_two_se < 0.2


def test_the_share_that_is_missed():
    """Log p - log q > 5 of N(0, 1) and N(4, 1) is 8 - 4 x > 5: x < 3/4."""
    result = measure(gaussian(4.0, 1.0), gaussian(0.0, 1.0), n=ROWS)
    assert result.missed == pytest.approx(stats.norm.cdf(0.75), abs=0.02)


def test_rows_of_density_zero_make_a_divergence_infinite_and_no_nan():
    half = positive_half()
    result = measure(half, gaussian(0.0, 1.0), n=ROWS)
    assert (result.forward_kl, math.isnan(result.forward_two_se)) == (math.inf, True)
    assert result.missed == pytest.approx(0.5, abs=0.03)
    written = result.to_dict()
    assert written["forward_kl"] is None
    assert written["forward_kl_per_dim"] is None
    assert "NaN" not in json.dumps(written)
    result = measure(gaussian(0.0, 1.0), half, n=ROWS)
    assert result.reverse_kl == math.inf
    assert result.ess == pytest.approx(0.5, abs=0.03)


def test_contexts_are_drawn_and_given_to_both():
    shift = Flow(Shift(), Normal((1,)), context_shape=(1,)).double()
    contexts = torch.tensor([[0.0], [30.0]], dtype=torch.float32)
    result = measure(shift, shift, contexts, n=1000)
    assert result.forward_kl == pytest.approx(0.0, abs=1e-9)
    again = measure(shift, shift, contexts, n=1000)
    assert again == result
    with pytest.raises(InputError, match="need contexts"):
        measure(shift, shift, None)
    with pytest.raises(InputError, match="take no contexts"):
        measure(gaussian(0.0, 1.0), gaussian(0.0, 1.0), contexts)


def test_a_student_that_passes_over_its_context_is_found_out():
    """Over all contexts, its rows are those of the teacher."""
    teacher = Flow(Shift(), Normal((1,)), context_shape=(1,)).double()
    student = gaussian(0.0, math.sqrt(2))
    student.context_shape = (1,)
    result = measure(student, teacher, torch.randn(5000, 1), n=ROWS)
    assert result.ks[0][1] < 0.05
    assert result.auc > 0.6


def test_tables_are_compared_before_they_are_rounded():
    columns = (Column("k", "integer", 0, step=1.0), Column("m", "real", missing=True))
    flow = assemble(NICE(layers=2, hidden=(4,), prior="normal"), TableSchema(columns)).eval()
    result = measure(flow, flow, n=500, names=("k", "m"))
    assert result.dims == 3
    assert {name for name, _ in result.ks} == {"k", "m", "m is missing"}
    assert abs(result.reverse_kl) < 1e-3
    assert lifted_names(flow) == ["x0", "x1", "x1 is missing"]
    with pytest.raises(InputError, match="1 names for rows of 2 columns"):
        measure(flow, flow, n=100, names=("k",))


# --- what that means -------------------------------------------------------------------------


def lines(student, teacher):
    found = verdict(measure(student, teacher, n=ROWS))
    assert all("\n" not in line for line in found)
    return found


def test_a_dropped_mode_is_named():
    (line,) = lines(modes(0.0), modes(0.0, 20.0))
    assert line.startswith("dropped modes: ")
    assert "forward KL" in line
    (line,) = lines(modes(0.0, 20.0), modes(0.0, 20.0))
    assert line.startswith("good: ")


@pytest.mark.parametrize("std", [0.05, 0.4])
def test_a_collapsed_student_is_named(std):
    (line,) = lines(gaussian(0.0, std, 2), gaussian(0.0, 1.0, 2))
    assert line.startswith("collapsed, too narrow: ")


def test_too_wide_and_merely_off():
    (line,) = lines(gaussian(0.0, 3.0, 2), gaussian(0.0, 1.0, 2))
    assert line.startswith("too wide: ")
    (line,) = lines(gaussian(0.0, 1.15, 2), gaussian(0.0, 1.0, 2))
    assert line.startswith("good as a proposal: ")
    assert "the weights are uneven: use its samples as they are, and corrected (`exact`)" in line


def test_verdicts_of_numbers():
    fine = measure(gaussian(0.0, 1.0), gaussian(0.0, 1.0), n=100)
    heavy = dataclasses.replace(fine, pareto_k=0.9)
    assert verdict(heavy)[0].startswith("heavy weights: Pareto k 0.90 > 0.7")
    zero = dataclasses.replace(fine, forward_kl=math.inf)
    assert verdict(zero)[0].startswith("zero density: ")
    far = dataclasses.replace(fine, ess=0.01, reverse_kl=5.0, forward_kl=5.0)
    assert verdict(far)[0].startswith("not there yet: ")
    both = dataclasses.replace(fine, pareto_k=0.9, reverse_kl=5.0)
    assert len(verdict(both)) == 2


# --- how long samples take -------------------------------------------------------------------


def test_speeds_of_three_ways():
    teacher = MAF(layers=2, hidden=(16,)).build((5,), (1,))
    student = IAF(layers=2, hidden=(16,)).build((5,), (1,))
    found = sampling_speed(student, teacher, torch.zeros(3, 1), sizes=(10, 1), seconds=0.0)
    assert [speed.n for speed in found] == [1, 10]
    for speed in found:
        written = speed.to_dict()
        assert all(value > 0 for value in written.values())
        assert written["passes_ratio"] == pytest.approx(speed.passes_ms / speed.student_ms)


def test_d_passes_give_the_same_samples():
    teacher = MAF(layers=2, hidden=(16,)).build((5,), None).double().eval()
    a, b = (
        flow.sample(4, generator=torch.Generator().manual_seed(0))
        for flow in (teacher, by_passes(teacher))
    )
    torch.testing.assert_close(a, b)
    assert "Rerun" not in repr(teacher)


def test_what_would_take_too_long_is_left_out(monkeypatch):
    monkeypatch.setattr(import_module("caudal.report.speed"), "LONGEST", 0.0)
    flow = MAF(layers=1, hidden=(4,)).build((2,), None)
    first, second = sampling_speed(flow, flow, sizes=(1, 2), seconds=0.0)
    assert first.passes_ms is None
    assert first.passes_ratio is None
    assert first.student_ms > 0  # of the smallest size, nothing is known yet
    assert second.student_ms is None
    with pytest.raises(InputError, match="`sizes` 0: must be at least 1"):
        sampling_speed(flow, flow, sizes=(0,))
