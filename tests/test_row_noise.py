"""The noise of a row belongs to its values and the seed, and scores do not depend on others."""

import math

import numpy as np
import pytest
import torch

import caudal
from caudal.bijection import Chain
from caudal.bijections import Residual, Standardise
from caudal.numerics import Repeats, RowGenerator, Truncated, normal, uniform
from contractions import Contraction
from image_flows import schema_of, tiny_flow


def drawn(x, seed=0, strata=1, draw=uniform):
    return draw(x, RowGenerator("cpu", seed, strata).bind(x))


def splitmix(z):
    """The finaliser of splitmix64 in Python's own whole numbers."""
    mask = (1 << 64) - 1
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
    return z ^ (z >> 31)


def test_the_hash_is_splitmix64():
    from caudal.numerics.noise import _mix

    numbers = [0, 1, -1, 987654321987654321, -(2**63)]
    mixed = [n & ((1 << 64) - 1) for n in _mix(torch.tensor(numbers)).tolist()]
    assert mixed == [splitmix(n & ((1 << 64) - 1)) for n in numbers]


@pytest.mark.parametrize("x", [torch.randn(20_000, 4), torch.arange(80_000.0).view(20_000, 4)])
def test_numbers_are_uniform_and_normal_and_do_not_depend_on_each_other(x):
    generator = RowGenerator()
    first, second = generator.bind(x), generator.bind(x)
    u, e, other = uniform(x, first), normal(x, first), uniform(x, second)
    edges = torch.linspace(0, 1, 33)
    for numbers in (u, other, torch.special.ndtr(e)):
        counts = torch.histogram(numbers.flatten(), edges).hist
        chi = float(((counts - 2500).square() / 2500).sum())
        assert chi < 31 + 5 * math.sqrt(2 * 31)
    together = torch.cat([u, e, other, drawn(x, seed=1)], 1)
    apart = torch.corrcoef(together.T) - torch.eye(16)
    assert float(apart.abs().max()) < 5 / math.sqrt(20_000)
    assert float(torch.corrcoef(torch.stack([u[:-1, 0], u[1:, 0]]))[0, 1].abs()) < 0.03


@pytest.mark.parametrize("draw", [uniform, normal])
def test_a_row_has_its_numbers_at_any_place_and_in_any_precision(draw):
    x = torch.randn(50, 3)
    x[0, 0], x[1, 1] = math.nan, 0.0
    order = torch.randperm(50)
    u = drawn(x, draw=draw)
    assert torch.equal(drawn(x[order], draw=draw), u[order])
    assert torch.equal(drawn(x[7:8], draw=draw), u[7:8])
    torch.testing.assert_close(drawn(x.double(), draw=draw).float(), u)
    x[1, 1] = -0.0
    assert torch.equal(drawn(x, draw=draw), u)
    assert len(drawn(x.double() + 1e-12, draw=draw)[:, 0].unique()) == 50
    assert not torch.isin(drawn(x.double() + 1e-12)[1:], u[1:].double()).any()


def test_context_and_repeats_are_part_of_a_row():
    x, context = torch.ones(6, 2), torch.tensor([0, 0, 1, 1, 2, 2.0])[:, None]
    u = uniform(x, RowGenerator().bind(x, context))
    assert torch.equal(u[0], u[1])
    assert len(u[:, 0].unique()) == 3
    repeats = Repeats()
    counts = [repeats.of(x, context), repeats.of(x[:2], context[:2])]
    assert [count.tolist() for count in counts] == [[0, 1] * 3, [2, 3]]
    apart = uniform(x, RowGenerator(repeat=counts[0]).bind(x, context))
    assert torch.equal(apart[::2], u[::2])
    assert len(apart[:, 0].unique()) == 6


@pytest.mark.parametrize("strata", [2, 3, 8, 12])
def test_strata_have_one_draw_each_and_draws_stay_uniform(strata):
    x = torch.randn(4000, 2)
    generator = RowGenerator(strata=strata)
    draws = torch.stack([uniform(x, generator.bind(x)) for _ in range(2 * strata)])
    for group in draws.split(strata):
        parts = (group * strata).long().sort(0).values
        assert torch.equal(parts, torch.arange(strata)[:, None, None].expand_as(parts))
    assert draws.mean((1, 2)).tolist() == pytest.approx([0.5] * 2 * strata, abs=0.02)
    assert float(torch.corrcoef(draws[0].T)[0, 1]) == pytest.approx(0, abs=0.08)
    assert not torch.equal(draws[:strata].sort(0).values, draws[strata:].sort(0).values)


def test_estimates_belong_to_rows_too():
    """Also where the flow goes through a long batch in pieces."""
    layer = Residual(Contraction(70), (70,), Truncated(3), Truncated(3))
    flow = caudal.Flow(Chain([layer, Standardise((70,))]), caudal.base.Normal((70,))).eval()
    x, order = torch.randn(3000, 70), torch.randperm(3000)
    assert flow.estimated
    with torch.no_grad():
        whole = flow.log_prob(x, generator=RowGenerator())
        shuffled = flow.log_prob(x[order], generator=RowGenerator())
        few = flow.log_prob(x[2990:], generator=RowGenerator())
        other = flow.log_prob(x, generator=RowGenerator(seed=1))
    torch.testing.assert_close(shuffled, whole[order])
    torch.testing.assert_close(few, whole[2990:])
    assert float((whole - other).abs().max()) > 1e-3


@pytest.mark.parametrize("dequantization", ["uniform", "variational"])
def test_images_score_the_same_in_any_batch(dequantization):
    flow = tiny_flow(schema_of(dequantization=dequantization))
    images = torch.randint(256, (6, *flow.event_shape)).float()
    with torch.no_grad():
        whole, error = flow.log_prob_with_error(images)
        each = torch.cat([flow.log_prob_with_error(image[None])[0] for image in images.flip(0)])
    torch.testing.assert_close(each.flip(0), whole, rtol=1e-4, atol=0.02)
    assert (error > 0).all()


# --- tables --------------------------------------------------------------------------------------


def census(n, seed=0):
    """Columns as adult's: categories, whole numbers that depend on each other, gaps."""
    draw = np.random.default_rng(seed)
    age = np.clip(draw.gamma(6, 6.5, n), 17, 90).round()
    kinds = [draw.geometric(p, n) % 5 for p in (0.6, 0.3, 0.5, 0.4, 0.7, 0.55, 0.35, 0.45)]
    return {
        "age": age,
        **{f"kind{i}": np.char.add("k", kind.astype(str)) for i, kind in enumerate(kinds)},
        "hours": np.clip(draw.normal(40, 12, n) + (age - 38) / 10, 1, 99).round(),
        "years": draw.binomial(16, 0.6, n).astype(float),
        "ratio": np.where(draw.random(n) < 0.1, np.nan, draw.normal(size=n)),
    }


@pytest.fixture(scope="module")
def model():
    training = {"steps": 40, "batch_size": 128, "accelerator": "cpu"}
    words = {"layers": 2, "hidden": 16, "missing": "model", **training}
    return caudal.train("nsf", census(2000), **words)


def rows_of(table, which):
    return {name: column[which] for name, column in table.items()}


def test_rows_of_a_file_score_the_same_shuffled_and_alone(model):
    table, order = census(200, seed=1), np.random.default_rng(0).permutation(200)

    def scores(which, seed=0):
        return model.log_prob(rows_of(table, which), seed=seed, draws=4)

    whole = scores(slice(None))
    np.testing.assert_allclose(scores(order), whole[order], rtol=1e-5)
    np.testing.assert_allclose(scores(slice(41, 42)), whole[41:42], rtol=1e-5)
    twice = scores([5, 5])
    assert twice[0] == twice[1]
    assert not np.allclose(scores(slice(None), seed=1), whole, rtol=1e-5)


def test_an_evaluation_does_not_depend_on_the_order(model):
    table = rows_of(census(300, seed=2), np.arange(600) % 300)
    shuffled = rows_of(table, np.random.default_rng(0).permutation(600))
    first, second = (model.evaluate(data) for data in (table, shuffled))
    assert first.score == pytest.approx(second.score, abs=1e-4)
    assert first.baseline == pytest.approx(second.baseline, abs=1e-4)
    # Equal rows have different noise, so that it averages out over them too.
    once = model.evaluate(rows_of(table, slice(300)))
    assert abs(once.score - first.score) > 1e-4


def test_of_the_lowest_hundred_rows_95_stay_under_another_seed(model):
    table, state = census(2000, seed=3), {k: v.clone() for k, v in model.flow.state_dict().items()}
    torch.manual_seed(0)
    with torch.no_grad():  # steep between its steps, as after a long training
        for parameter in model.flow.parameters():
            parameter.add_(0.07 * torch.randn_like(parameter))

    def stay(draws):
        scores = [model.log_prob(table, seed=seed, draws=draws) for seed in (0, 1)]
        return len(set.intersection(*(set(np.argsort(s)[:100]) for s in scores)))

    assert stay(None) >= 95
    assert stay(1) < 90  # else the table would be too easy
    model.flow.load_state_dict(state)


def test_the_error_covers_the_noise_and_is_not_far_above_it(model):
    table = census(150, seed=4)
    items = model.open_all(table, {})
    x = torch.cat([piece.batch.x for piece in items.pieces()])
    with torch.no_grad():
        other = RowGenerator(seed=9, strata=128)
        best, _ = model.flow.log_prob_with_error(x, draws=128, generator=other)
        mean, error = model.flow.log_prob_with_error(x, draws=16)
    off = float((mean - best).square().mean().sqrt())
    assert off < float(error.square().mean().sqrt()) < 5 * off  # strata do better than it says


def test_scores_have_their_draws_and_errors(model, tmp_path):
    import pyarrow.csv as pa_csv

    table = census(50, seed=5)
    scores = model.score(table, tmp_path / "a.csv", draws=8)
    written = pa_csv.read_csv(tmp_path / "a.csv")
    np.testing.assert_allclose(written["log_prob"], model.log_prob(table, draws=8), rtol=1e-6)
    assert written["log_prob_se"].to_numpy().min() > 0
    assert scores.error == pytest.approx(np.mean(written["log_prob_se"]), rel=1e-6)
    assert "log_prob_se" in scores.to_dict("a.csv")
    model.score(table, tmp_path / "b.csv", draws=1)
    assert "log_prob_se" not in pa_csv.read_csv(tmp_path / "b.csv").column_names
    with pytest.raises(caudal.InputError, match="`draws` 0: must be"):
        model.log_prob(table, draws=0)


def test_a_table_without_steps_takes_one_pass(tmp_path, monkeypatch):
    x = np.random.default_rng(0).normal(size=(200, 2))
    model = caudal.train("nsf", x, layers=1, hidden=8, steps=3, accelerator="cpu")
    calls, lift = [], model.flow.lift
    monkeypatch.setattr(model.flow, "lift", lambda *words: calls.append(0) or lift(*words))
    model.score(x, tmp_path / "a.csv", draws=8)
    assert len(calls) == 1
    assert "log_prob_se" not in (tmp_path / "a.csv").read_text()
