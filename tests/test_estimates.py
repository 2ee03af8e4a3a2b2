"""Scores that are estimates: what they are called, and how uncertain they are."""

import json
import math
from dataclasses import replace

import numpy as np
import pyarrow.csv as pa_csv
import pytest
import torch

from caudal.base import Normal
from caudal.bijection import Chain, Inverse
from caudal.bijections import Residual, Scale
from caudal.correction import corrected_sample
from caudal.data import Column, Rows, TableSchema
from caudal.data.schema import BITS_PER_DIM
from caudal.dequantization import TableDequantization
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses import forward_kl, reverse_kl
from caudal.modality import assemble
from caudal.numerics import Repeats, Roulette, RowGenerator, drawing
from caudal.recipes.registry import REGISTERED
from caudal.report import Gaussian, evaluate, measure
from caudal.report.items import row_noise
from caudal.report.scoring import _scores
from caudal.report.sentences import estimate_sentence, upper_bound
from command_line import caudal, people_csv, refused, shapes_file
from contractions import Contraction
from estimated_flows import BIAS, BOUND, Noisy, NoisyRecipe
from image_flows import rows_of, schema_of

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
    log_prob, error = flow.log_prob_with_error(x, draws=draws, generator=RowGenerator())
    assert log_prob.shape == error.shape == (4000,)
    off = log_prob - flow_of("exact").log_prob(x)
    # Of 4000 means of 4 draws: a variance has a standard error of its own of var * sqrt(2 / n).
    expected = STD**2 / draws
    assert abs(float(off.var()) - expected) < 3 * expected * math.sqrt(2 / 4000)
    per_row = expected * math.sqrt(2 / (draws - 1) / 4000)
    assert abs(float(error.square().mean()) - expected) < 3 * per_row


def test_errors_add_up_over_parts():
    flow = flow_of("unbiased", "biased")
    _, error = flow.log_prob_with_error(torch.randn(4000, 3), draws=8, generator=RowGenerator())
    assert float(error.square().mean() * 8) == pytest.approx(2 * STD**2, rel=0.06)


def test_it_repeats_unless_given_a_generator():
    flow, x = flow_of("unbiased", whole=True), torch.randint(9, (50, 3)).float()
    once, again = (flow.log_prob_with_error(x) for _ in range(2))
    assert all(map(torch.equal, once, again))
    drawn = generator(3)
    first, second = (flow.log_prob_with_error(x, generator=drawn)[0] for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, flow.log_prob_with_error(x, generator=generator(3))[0])


def test_the_noise_between_steps_is_drawn_anew_and_is_in_the_error():
    x, draws = torch.randint(9, (2000, 3)).float(), 8
    flow = flow_of("exact", whole=True)
    log_prob, error = flow.log_prob_with_error(x, draws=draws, generator=generator())
    best, _ = flow.log_prob_with_error(x, draws=100)
    off = log_prob - best
    assert float(error.square().mean() / off.square().mean()) == pytest.approx(1, rel=0.1)


def test_exact_ones_have_no_error_and_take_one_pass(monkeypatch):
    flow, x = flow_of("exact"), torch.ones(5, 3)
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


@pytest.mark.parametrize("kind", ["exact", "unbiased"])
def test_no_rows_have_no_errors(kind):
    log_prob, error = flow_of(kind).log_prob_with_error(torch.zeros(0, 3))
    assert log_prob.shape == error.shape == (0,)


def test_one_draw_has_no_error():
    with pytest.raises(InputError, match="`draws` must be at least 2"):
        flow_of("unbiased").log_prob_with_error(torch.zeros(1, 3), draws=1)


def test_a_conditional_flow_is_asked_with_its_context():
    flow = Flow(Noisy((3,)), Normal((3,)), context_shape=(2,)).eval()
    log_prob, error = flow.log_prob_with_error(torch.zeros(4, 3), torch.zeros(4, 2))
    assert log_prob.isfinite().all()
    assert (error > 0).all()


def test_errors_of_a_residual_block_average_out_over_rows():
    """They would not if rows had a number of terms in common: ten times as much is left here."""
    net, series = Contraction(100, 0.9), Roulette(2)
    with torch.no_grad():
        net.second.copy_(net.first.T)  # symmetric: as many large eigenvalues as can be
        flow = Flow(Residual(net, (100,), series, series), Normal((100,))).eval()
        x, drawn = torch.randn(256, 100) / 3, generator()
        scores = torch.stack([flow.log_prob(x, generator=drawn) for _ in range(60)])
    assert flow.kind == "unbiased estimate"
    one_row = float(scores.var(0).mean().sqrt())
    assert float(scores.mean(1).std()) == pytest.approx(one_row / math.sqrt(256), rel=0.3)


# --- evaluations -------------------------------------------------------------------------------

REALS = TableSchema((Column("a", "real"), Column("b", "real")))
COUNTS = TableSchema((Column("a", "integer", low=0, high=9, step=1.0), Column("b", "real")))


def table_flow(kind, schema=REALS, std=STD):
    return assemble(NoisyRecipe(kind, std), schema).eval().requires_grad_(False)


def table_rows(n=2000):
    return Rows(torch.stack([torch.randint(10, (n,)).float(), torch.randn(n)], 1))


@pytest.mark.parametrize("schema", [REALS, COUNTS], ids=["reals", "counts"])
def test_an_evaluation_tells_what_the_estimate_does(schema):
    """Of the noise between steps nothing is in it, nor does it matter which rows were redrawn."""
    rows = table_rows()
    result = evaluate(table_flow("unbiased", schema), rows, None, schema)
    # Of the variance, from 3 degrees of freedom each of 256 rows.
    assert result.estimate_std == pytest.approx(STD, rel=3 * math.sqrt(1 / (2 * 3 * 256)))
    assert result.estimate_two_se == 2 * result.estimate_std / math.sqrt(2000)
    assert result.bias_bound is None
    exact = evaluate(table_flow("exact", schema), rows, None, schema)
    assert abs(result.log_prob - exact.log_prob) < 2 * result.estimate_two_se
    assert {"estimate_std", "estimate_two_se", "bias_bound"}.isdisjoint(exact.to_dict())
    assert estimate_sentence(exact) == ""


def test_an_evaluation_tells_the_bias():
    rows = table_rows()
    result = evaluate(table_flow("biased"), rows, None, REALS)
    found = result.to_dict()
    assert (found["kind"], found["bias_bound"]) == ("biased estimate", BOUND)
    exact = evaluate(table_flow("exact"), rows, None, REALS)
    off = result.log_prob - exact.log_prob
    assert off == pytest.approx(BIAS, abs=2 * result.estimate_two_se)


def test_batches_do_not_share_estimates():
    """Though the Gaussian's noise is that of the flow, drawn once more."""
    flow = table_flow("unbiased", COUNTS)
    gaussian = Gaussian.fit(flow, table_rows())
    batch = next(table_rows(400).ordered(400))
    first, second = (scores[:, 0] for scores in _scores(flow, [batch] * 2, gaussian, None, 1, 0))
    repeats = Repeats()
    for scores in (first, second):
        again = row_noise(flow, 0, repeat=repeats.of(batch.x))
        torch.testing.assert_close(scores, flow.log_prob(batch.x, generator=again).double())
    assert not torch.equal(first, second)


def test_an_evaluation_of_images_tells_it_in_bits():
    schema = schema_of()
    nats = schema.countable * math.log(2)
    flow = assemble(NoisyRecipe("biased", 20.0), schema).eval()
    result = evaluate(flow, rows_of(schema, 200), None, schema, draws=2)
    assert result.kind == "biased estimate of a lower bound (uniform dequantisation)"
    expected = pytest.approx(20.0 / nats, rel=3 * math.sqrt(1 / (2 * 3 * 200)))
    assert result.estimate_std == expected
    assert result.estimate_two_se == 2 * result.estimate_std / math.sqrt(400)
    assert result.bias_bound == pytest.approx(BOUND / nats)
    assert result.noise_std > 0.9 * result.estimate_std
    assert result.importance is None
    exact = evaluate(
        assemble(NoisyRecipe("exact"), schema).eval(), rows_of(schema, 200), None, schema, draws=2
    )
    assert exact.estimate_std is None
    assert exact.importance < exact.score


def test_no_row_inside():
    rows = Rows(torch.tensor([[-1.0, 0.0], [11.0, 0.0]]))
    result = evaluate(table_flow("unbiased", COUNTS), rows, None, COUNTS)
    assert math.isnan(result.estimate_std)
    assert result.to_dict()["estimate_two_se"] is None
    assert estimate_sentence(result) == "The log-det is an unbiased estimate."


def test_the_sentence():
    made = evaluate(table_flow("unbiased"), table_rows(400), None, REALS)
    made = replace(made, estimate_std=0.812, estimate_two_se=0.0312)
    moves = "drawn again, it moves one row by ± 0.81 nats (s.d.), the mean by ± 0.031 (2 s.e.)."
    assert estimate_sentence(made) == f"The log-det is an unbiased estimate: {moves}"
    biased = replace(made, bias_bound=0.125)
    start = "The log-det is a biased estimate, off by at most 0.12 nats a row"
    assert estimate_sentence(biased) == f"{start}: {moves}"
    assert estimate_sentence(replace(biased, estimate_std=0.0)) == f"{start}."
    endless = estimate_sentence(replace(made, bias_bound=math.inf))
    assert endless == f"The log-det is a biased estimate, off without a limit: {moves}"
    images = replace(biased, unit=BITS_PER_DIM, one="image", estimate_std=123.4)
    assert "off by at most 0.12 bits/dim: drawn again, it moves one image by ± 123 bits/dim" in (
        estimate_sentence(images)
    )


def test_bits_are_bounded_from_the_other_side():
    kinds = ("lower bound", "unbiased estimate of a lower bound", "biased estimate")
    assert [upper_bound(kind) for kind in kinds] == [
        "an upper bound",
        "an unbiased estimate of an upper bound",
        "a biased estimate",
    ]


# --- students, and exact samples ---------------------------------------------------------------


@pytest.mark.parametrize(("student", "teacher"), [("unbiased", "exact"), ("exact", "biased")])
def test_samples_are_not_corrected_by_estimates(student, teacher):
    which = "student" if student != "exact" else "teacher"
    with pytest.raises(InputError, match=f"the density of the {which} is not exact"):
        corrected_sample(flow_of(student), flow_of(teacher), 5)


@pytest.mark.parametrize("kinds", [("exact", "unbiased"), ("unbiased", "exact")])
def test_divergences_of_estimated_flows_are_right_in_the_mean(kinds):
    """The two densities are the same, so both divergences are 0 but for the estimates."""
    found = measure(*map(flow_of, kinds), n=4000)
    for kl, two_se in (
        (found.reverse_kl, found.reverse_two_se),
        (found.forward_kl, found.forward_two_se),
    ):
        assert two_se == pytest.approx(2 * STD / math.sqrt(4000), rel=0.1)
        assert abs(kl) < 2 * two_se


# --- the command line --------------------------------------------------------------------------


@pytest.fixture
def noisy(monkeypatch):
    """The toy as a recipe of the command line."""
    monkeypatch.setitem(REGISTERED, "noisy", NoisyRecipe)


def noisy_run(out, data, *words, kind="unbiased", std=STD):
    quick = ("--steps", 2, "--batch-size", 16, "--kind", kind, "--std", std)
    assert caudal("train", "noisy", "--data", data, "--out", out, *quick, *words) == 0
    return out


@pytest.mark.usefixtures("noisy")
def test_a_run_says_that_it_is_an_estimate(capsys, tmp_path):
    run = noisy_run(tmp_path / "run", people_csv(), kind="biased")
    sentence = f"The log-det is a biased estimate, off by at most {BOUND:.2g} nats a row: drawn"
    assert sentence in capsys.readouterr().out
    assert sentence in (run / "report.html").read_text("utf-8")
    assert caudal("eval", run, "--json") == 0
    said, screen = capsys.readouterr()
    result = json.loads(said)
    assert sentence in screen
    assert result["kind"] == "biased estimate of a lower bound"
    assert result["bias_bound"] == BOUND
    assert result["estimate_std"] == pytest.approx(STD, rel=0.3)
    assert result == json.loads((run / "eval.json").read_text())


@pytest.mark.usefixtures("noisy")
def test_scores_have_a_column_of_standard_errors(capsys, tmp_path):
    run = noisy_run(tmp_path / "run", people_csv(), "--no-report", kind="biased")
    capsys.readouterr()
    out = tmp_path / "scored.csv"
    words = ("--draws", 4, "--json")
    assert caudal("score", run, "--data", people_csv(), "--out", out, *words) == 0
    said, screen = capsys.readouterr()
    table, result = pa_csv.read_csv(out), json.loads(said)
    assert table.column_names == ["age", "height", "city", "income", "log_prob", "log_prob_se"]
    errors = table["log_prob_se"].to_numpy()
    assert STD / 2 < np.sqrt(np.mean(errors**2)) < STD  # the noise between steps adds to it
    assert result["kind"] == "biased estimate of a lower bound"
    assert result["log_prob_se"] == pytest.approx(errors.mean())
    assert result["bias_bound"] == BOUND
    assert "rows with log_prob (biased estimate of a lower bound, nats)" in screen
    assert f"mean standard error of one row {errors.mean():.2g} nats" in screen
    assert f"beside it the estimate is off by at most {BOUND:.2g} nats a row" in screen
    words = ("--data", out, "--out", tmp_path / "again.csv")
    said = refused(capsys, "score", run, *words)
    assert "has a column 'log_prob' already" in said
    pa_csv.write_csv(table.drop(["log_prob"]), out)
    assert "has a column 'log_prob_se' already" in refused(capsys, "score", run, *words)


@pytest.mark.usefixtures("noisy")
def test_rows_outside_have_no_error(capsys, tmp_path):
    run = noisy_run(tmp_path / "run", people_csv(), "--no-report")
    rows = tmp_path / "rows.csv"
    rows.write_text("age,height,city,income\n31,1.7,Bari,-1\n31,1.7,Bari,10\n")
    assert caudal("score", run, "--data", rows, "--out", tmp_path / "out.csv") == 0
    table = pa_csv.read_csv(tmp_path / "out.csv")
    assert table["log_prob"][0].as_py() == -math.inf
    assert table["log_prob_se"][0].as_py() == 0
    assert table["log_prob_se"][1].as_py() > 0


@pytest.mark.usefixtures("noisy")
def test_scores_of_images_have_one_too(capsys, tmp_path):
    std = 20.0  # far more than the noise between steps, which is in the errors too
    run = noisy_run(tmp_path / "run", shapes_file(), "--context", "class", std=std)
    sentence = "The log-det is an unbiased estimate: drawn again, it moves one image by ±"
    assert sentence in capsys.readouterr().out
    assert sentence in (run / "report.html").read_text("utf-8")
    out = tmp_path / "scored.csv"
    assert caudal("score", run, "--data", shapes_file(), "--out", out, "--json") == 0
    said, screen = capsys.readouterr()
    table, result = pa_csv.read_csv(out), json.loads(said)
    columns = ["image", "class", "log_prob", "log_prob_se", "bits_per_dim"]
    assert table.column_names == columns
    errors = table["log_prob_se"].to_numpy()
    assert std / 2 < np.sqrt(np.mean(errors**2)) < 0.7 * std  # of four draws, stratified
    assert result["log_prob_se"] == pytest.approx(errors.mean())
    assert result["kind"] == "unbiased estimate of a lower bound"
    assert "bias_bound" not in result
    assert f"mean standard error of one image {errors.mean():.2g} nats" in screen


@pytest.mark.usefixtures("noisy")
def test_exact_samples_need_exact_densities(capsys, tmp_path):
    student = noisy_run(tmp_path / "student", people_csv(), "--no-report", kind="exact")
    teacher = noisy_run(tmp_path / "teacher", people_csv(), "--no-report")
    words = ("--exact", teacher, "--out", tmp_path / "rows.csv")
    assert "the density of the teacher is not exact" in refused(capsys, "sample", student, *words)
    assert not (tmp_path / "rows.csv").exists()


def test_divergences_from_an_estimated_teacher_are_drawn_anew():
    """Of the same rows; from one draw of all steps a student would learn its error."""
    teacher = Flow(Noisy((2,)), Normal((2,))).eval()
    student, x = Flow(Scale((2,)), Normal((2,))).eval(), torch.randn(50, 2)
    first, second = (forward_kl(student, teacher, x) for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    one = reverse_kl(student, teacher, 20)
    torch.manual_seed(3)
    assert torch.equal(one, reverse_kl(student, teacher, 20))
