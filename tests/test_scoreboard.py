"""Measures of samples beside test rows, where their values are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import caudal
from caudal import InputError
from caudal.data import Column, Rows, TableSchema
from caudal.data.dataset import Dataset
from caudal.report.table.closest import closer, copies, to_closest
from caudal.report.table.judge import Judge, factorised, score_samples
from caudal.report.table.measures import correlations, shape, total_variation, trend
from caudal.report.table.prediction import Prediction
from caudal.report.table.scoreboard import Line, Scoreboard, Told
from caudal.report.two_sample import two_sample

pytestmark = pytest.mark.usefixtures("all_rounds")
NUMBER, CITY = Column("n", "real"), Column.of_categories("c", ("a", "b", "d"), "string")


def rng():
    return np.random.default_rng(0)


def normal(rows=400, correlation=0.8):
    covariance = [[1.0, correlation], [correlation, 1.0]]
    return rng().multivariate_normal([0.0, 0.0], covariance, size=rows)


# --- columns and pairs -----------------------------------------------------------------------


def test_equal_tables_have_shape_and_trend_one():
    rows = np.column_stack([normal(), rng().integers(3, size=400)])
    rows[:50, 0] = np.nan
    columns = (NUMBER, Column("m", "real"), CITY)
    assert shape(columns, rows, rows) == 1.0
    assert trend(columns, rows, rows, 3) == pytest.approx(1.0)


def test_shape_is_one_less_ks_for_numbers_and_total_variation_for_categories():
    data = np.array([[0.0, 0], [1.0, 0], [2.0, 1], [3.0, 1]])
    samples = np.array([[2.0, 0], [3.0, 1], [4.0, 1], [np.nan, 2]])
    ks = stats.ks_2samp(data[:, 0], samples[:3, 0]).statistic
    assert total_variation(data[:, 1], samples[:, 1]) == 0.25
    assert shape((NUMBER, CITY), data, samples) == pytest.approx(1 - (ks + 0.25) / 2)


def test_the_trend_of_numbers_is_by_their_correlation_where_both_are_there():
    data, samples = normal(correlation=0.8), normal(correlation=-0.3)
    data[:40, 0] = np.nan
    first, second = (stats.pearsonr(*x[~np.isnan(x[:, 0])].T).statistic for x in (data, samples))
    assert correlations(data)[0, 1] == pytest.approx(first)
    found = trend((NUMBER, NUMBER), data, samples, 2)
    assert found == pytest.approx(1 - abs(first - second) / 2)


def test_the_trend_with_categories_is_by_their_joint_shares():
    """Ten bins of width 1: the pairs are (0, a), (1, b), .. and (0, a), (0, b), .."""
    numbers, codes = np.arange(11.0), np.arange(11) % 3
    data = np.column_stack([numbers, codes])
    samples = np.column_stack([np.zeros(11), codes])
    # Of the data (0, a) occurs once, of the samples (0, a) and (0, b) 4 times, (0, d) 3 times.
    assert trend((NUMBER, CITY), data, samples, 2) == pytest.approx(1 / 11)
    gaps = np.column_stack([np.full(11, np.nan), codes])
    assert trend((NUMBER, CITY), data, gaps, 2) == pytest.approx(0.0)


def test_a_constant_has_no_trend_and_what_is_given_no_pairs_of_its_own():
    rows = np.column_stack([normal(50), np.ones(50)])
    assert trend((NUMBER,) * 3, rows, rows[::-1], 3) == pytest.approx(1.0)
    assert trend((NUMBER,), rows[:, :1], rows[:, :1], 1) is None
    other = np.column_stack([rows[:, 0], rows[:, 0], -rows[:, 0]])
    same = np.column_stack([rows[:, 0], rows[:, 0], rows[:, 0]])
    assert trend((NUMBER,) * 3, other, same, 1) == pytest.approx(0.5)  # pairs 0-1 and 0-2


# --- closest records -------------------------------------------------------------------------


def test_distances_are_of_ranges_and_categories():
    """As SDMetrics has it: |1 - 2| / 4 and another category, over two columns."""
    records = np.array([[0.0, 0], [4.0, 1]])
    rows = np.array([[1.0, 0], [np.nan, 1], [40.0, 2], [4.0, 1]])
    found = to_closest((NUMBER, CITY), rows, records, records)
    np.testing.assert_allclose(found, [0.125, 0.5, 1.0, 0.0])
    gap = np.array([[np.nan, 1]])
    assert to_closest((NUMBER, CITY), gap, gap, records)[0] == 0.0


def test_rows_of_the_same_kind_are_as_close_to_either_side():
    rows, training, test = rng().normal(size=(3, 1000, 2))
    distances = [to_closest((NUMBER,) * 2, rows, side, training) for side in (training, test)]
    assert closer(*distances) == pytest.approx(0.5, abs=0.05)
    assert closer(np.zeros(3), np.zeros(3)) == 0.5


def test_copies_of_training_rows_are_found():
    training = rng().normal(size=(300, 2)).astype(np.float32).astype(float)
    training[0, 0] = np.nan
    rows = np.concatenate([training[:30], rng().normal(5, 1, size=(70, 2))])
    assert copies(rows, [training[:100], training[100:]]) == pytest.approx(0.3)
    assert copies(-np.zeros((1, 2)), [np.zeros((1, 2))]) == 1.0


# --- classifiers and predictions -------------------------------------------------------------


def test_the_column_that_tells_rows_apart_is_found():
    a, b = rng().normal(size=(2, 1000, 3))
    b[:, 1] += 2
    found = two_sample(a, b, ask=(0, 1, 2))
    assert found.by[1] == max(found.by) > 0.2
    assert abs(found.by[0]) < 0.02
    assert two_sample(a, b).by == ()


def test_what_can_be_predicted_is_predicted_by_what_knows_it():
    columns = (NUMBER, Column("twice", "real"), CITY, Column("noise", "real"))

    def rows(seed):
        random = np.random.default_rng(seed)
        x = random.normal(size=500)
        codes = np.digitize(x, [-0.5, 0.5])
        return np.column_stack([x, 2 * x, codes, random.normal(size=500)])

    real, test = rows(1), rows(2)
    found = Prediction.of(columns, real, test, 4)
    assert set(found.targets) == {0, 1, 2}
    assert found.skill(real) > 0.95
    assert found.skill(factorised(real, 4)) < 0.1
    assert Prediction.of((NUMBER,), real[:, :1], test[:, :1], 1).skill(real[:, :1]) is None


# --- the judge and its table -----------------------------------------------------------------


def judged(rows=600):
    training, test, samples = (normal(3 * rows)[i::3] for i in range(3))
    judge = Judge((NUMBER, Column("m", "real")), 2, training, test, [training])
    return judge, training, samples


def test_real_rows_are_the_ceiling_and_shuffled_columns_the_floor():
    judge, training, samples = judged()
    real, good, floor = judge.real(), judge.line(samples), judge.line(factorised(training, 2))
    for line in (real, good):
        assert abs(line.auc - 0.5) < 3 * line.auc_se
        assert line.c2st == min(1, 2 - 2 * line.auc)
    assert floor.shape == real.shape  # each column by itself is real
    assert floor.trend < 0.7 < 0.95 < good.trend
    assert floor.auc > 0.7
    assert floor.tstr < 0.1 < good.tstr
    assert (real.copies, good.copies, real.nearer) == (0.0, 0.0, None)


def test_rows_learned_by_heart_are_found_out():
    judge, training, _ = judged()
    line = judge.line(training)
    assert (line.dcr, line.copies) == (0.0, 1.0)
    assert line.nearer > 0.95
    lines = {"flow": line, "real rows": judge.real()}
    verdict = Scoreboard(600, lines, judge.targets, (), 1.0).verdict()
    assert "cannot tell" in verdict[0]
    assert "learned rows by heart" in verdict[1]
    assert "100.0% of the samples are copies of training rows, and 0.0% of the" in verdict[2]


def test_the_verdict_names_the_columns():
    judge, _, samples = judged()
    samples[:, 1] += 1.0
    line = judge.line(samples, ask=True)
    assert judge.told[0].column == "m"
    board = Scoreboard(600, {"flow": line, "real rows": line}, ("n",), judge.told, 1.0)
    (verdict,) = board.verdict()
    assert verdict.startswith("Boosted trees tell the samples from test rows (AUC 0.")
    assert verdict.endswith("most by 'm', and by how 'n' depends on the other columns.")
    assert board.to_dict()["told_by"][0]["column"] == "m"
    assert math.isfinite(board.to_dict()["flow"]["auc"])


def test_no_column_alone_may_tell():
    line = Line(0.9, None, 0.6, 0.7, 0.01, None, 0.1, 0.5, 0.0)
    board = Scoreboard(100, {"flow": line, "real rows": line}, (), (), 1.0)
    assert "by many columns together." in board.verdict()[0]
    assert "TSTR: " not in board.legend
    constant = replace(line, auc=0.5, auc_se=0.0)  # trees that find nothing to split at
    told = Scoreboard(100, {"flow": constant, "real rows": line}, (), (), 1.0).verdict()
    assert told == [
        "Boosted trees cannot tell the samples from test rows (AUC 0.500 ± 0.000, 0.5 is chance)."
    ]
    three = tuple(Told(name, 0.1, False) for name in "abcd")
    named = Scoreboard(100, board.lines, (), three, 1.0).verdict()[0]
    assert named.endswith("most by how 'a', 'b' and 'c' depend on the other columns.")


def test_samples_of_a_flow_have_the_contexts_of_their_test_rows():
    rows = torch.from_numpy(normal(400)).float()
    other = rows[:, :1] + torch.from_numpy(normal(400))[:, :1].flip(0).float()
    schema = TableSchema((NUMBER, Column("other", "real")), (Column("given", "real"),))
    part = Rows(torch.cat([rows[:, :1], other], 1), rows[:, 1:])
    flow = caudal.assemble(caudal.recipes.NSF(layers=0), schema)
    caudal.initialize(flow, part.x, part.context)
    board = score_samples(flow, Dataset("normal", schema, part, part, part), rows=200)
    assert board.rows == 200
    assert list(board.lines) == ["flow", "real rows", "factorised"]
    assert board.lines["flow"].trend > 0.9 > board.lines["factorised"].trend
    assert board.lines["flow"].nearer is None  # the closest is the test row of the same context
    assert board.lines["flow"].copies is None
    assert board.lines["flow"].cells("flow")[-2:] == ["", ""]
    few = Rows(part.x[:40], part.context[:40])
    assert score_samples(flow, Dataset("few", schema, part, part, few)) is None
    single = TableSchema((NUMBER,), (Column("given", "real"),))
    alone = Rows(part.x[:, :1], part.context)  # its predictions tell more
    assert score_samples(flow, Dataset("target", single, alone, alone, alone)) is None


def test_an_evaluation_has_the_scoreboard_unless_told_otherwise(tmp_path):
    rows = normal(1000)
    model = caudal.train("nsf", rows, layers=0, steps=1, out=tmp_path / "run", report=False)
    found = model.evaluation
    assert 50 <= found.scoreboard.rows <= 200
    assert set(found.scoreboard.lines) == {"flow", "real rows", "Gaussian copula", "factorised"}
    assert '"scoreboard"' in (tmp_path / "run" / "eval.json").read_text()
    assert "shape" in str(found)
    assert model.evaluate(samples=60).scoreboard.rows == 60
    assert model.evaluate(samples=0).scoreboard is None
    assert model.evaluate(rows[:80]).scoreboard is None
    with pytest.raises(InputError, match="`samples` -1: must be a whole number, at least 0"):
        model.evaluate(samples=-1)
