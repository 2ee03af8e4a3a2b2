"""Each kind of column, guessed and fitted, samples what it holds, before any training."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from caudal import initialize
from caudal.data import open_data
from caudal.modalities.table import Table
from caudal.recipes import NSF

N, DRAWN = 4000, 20_000
RNG = np.random.default_rng(0)


def payments():
    """Amounts with zeros, limits and weights in steps, codes, counts, a cap, and far numbers."""
    some, rest = RNG.random(N), RNG.lognormal(1, 1, N)
    pay = {f"pay{i}": np.where(RNG.random(N) < 0.2, 0, RNG.lognormal(7.5, 1.4, N)) for i in "01"}
    return {
        **{name: values.astype(int) for name, values in pay.items()},
        "limit": RNG.integers(1, 80, N) * 10_000,
        "grams": 2700 + 25 * RNG.integers(0, 140, N),
        "status": RNG.choice(range(-2, 9), N, p=np.r_[0.1, 0.2, 0.5, np.full(8, 0.025)]),
        "marriage": RNG.choice(4, N, p=[0.002, 0.45, 0.53, 0.018]),
        "even": RNG.integers(0, 5, N),
        "counts": np.where(RNG.random(N) < 0.8, 0, RNG.poisson(30, N)),
        "amount": np.where(some < 0.7, 0.0, np.minimum(rest, 12.0)),
        "seconds": 1_700_000_000 + RNG.integers(0, 500_000, N),
    }


@pytest.fixture(scope="module")
def both():
    """The data of a table, and samples of the copula of its columns."""
    torch.manual_seed(0)
    data = pd.DataFrame(payments())
    found = open_data(data)
    flow = Table().dress(NSF(layers=2, hidden=8), found.schema)
    initialize(flow, found.train.x)
    with torch.no_grad():
        assert flow.log_prob(found.test.x).isfinite().all()
        samples = found.schema.decode(flow.sample(DRAWN)).to_pandas()
    return data, samples


@pytest.mark.parametrize("name", payments())
def test_samples_have_the_moments_and_the_tails_of_the_data(both, name):
    data, samples = (frame[name].astype(float) for frame in both)
    if name == "seconds":
        data, samples = data - 1_700_000_000, samples - 1_700_000_000
    assert samples.mean() == pytest.approx(data.mean(), rel=0.1)
    assert samples.std() == pytest.approx(data.std(), rel=0.25)
    assert samples.quantile(0.999) <= 2 * data.max()
    assert (samples == 0).mean() == pytest.approx((data == 0).mean(), abs=0.02)
    if name != "seconds":
        assert samples.min() >= min(data.min(), 0)


def test_samples_lie_on_the_lattices_within_the_codes_and_at_the_cap(both):
    data, samples = both
    assert (samples["limit"] % 10_000 == 0).all()
    assert (samples["grams"] % 25 == 0).all()
    assert samples["status"].between(-2, 8).all()
    assert samples["marriage"].between(0, 3).all()
    assert samples["even"].between(0, 4).all()
    assert samples["amount"].max() == 12.0
    share = (data["amount"] == 12.0).mean()
    assert (samples["amount"] == 12.0).mean() == pytest.approx(share, abs=0.01)
    assert samples.dtypes.equals(data.dtypes)


def log_normal(values, mu, sigma):
    z = (np.log(values) - mu) / sigma
    return -z * z / 2 - np.log(values * sigma * math.sqrt(2 * math.pi))


# values, and the mean log-probability of others by the law that they are drawn from
LAWS = {
    "amounts of which a fifth is 0": (
        lambda n: np.where(RNG.random(n) < 0.2, 0, RNG.lognormal(7.5, 1.4, n)).astype(int),
        lambda x: np.where(
            x == 0, np.log(0.2), np.log(0.8) + log_normal(np.maximum(x, 1) + 0.5, 7.5, 1.4)
        ),
    ),
    "counts": (
        lambda n: RNG.poisson(30, n),
        lambda x: x * np.log(30) - 30 - np.array([math.lgamma(k + 1) for k in x]),
    ),
    "few numbers": (lambda n: RNG.integers(0, 5, n), lambda x: np.full(len(x), -np.log(5))),
    "steps of 10,000": (
        lambda n: 10_000 * RNG.integers(1, 80, n),
        lambda x: np.full(len(x), -np.log(79)),  # the probability, as they are few
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_a_column_scores_nearly_by_its_law_before_training(name):
    draw, law = LAWS[name]
    found = open_data({"x": draw(N)}, types=["x=integer"] if name == "few numbers" else ())
    flow = Table().dress(NSF(layers=2, hidden=8), found.schema)
    initialize(flow, found.train.x)
    other = draw(2 * N)
    rows = found.schema.encode({"x": other})[0]
    with torch.no_grad():
        score = flow.log_prob(torch.as_tensor(rows)).double().numpy()
    expected = law(other)
    chance = np.std(score - expected) / np.sqrt(len(other))
    assert -0.03 - 3 * chance < np.mean(score - expected) < 3 * chance
