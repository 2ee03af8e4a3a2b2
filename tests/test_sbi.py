"""Posteriors from simulations: support, ensembles, embeddings, calibration, the package sbi."""

import pytest
import torch
from torch import nn
from torch.distributions import (
    Dirichlet,
    Exponential,
    Independent,
    MultivariateNormal,
    Normal,
    Uniform,
)

import caudal
from caudal import InputError
from caudal.bijections import Correlate
from caudal.recipes import NSF
from caudal.report.calibration import calibration
from caudal.sbi.assembly import assemble
from caudal.sbi.ends import NearEnds
from caudal.sbi.prior import bounds_of
from caudal.testing import check_bijection

BOX = Independent(Uniform(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 3.0])), 1)
RECIPE = NSF(layers=2, hidden=16, bins=4)
QUICK = caudal.Training(steps=60, batch_size=100)


def simulate(theta):
    return theta + 0.3 * torch.randn_like(theta)


@pytest.fixture(scope="module")
def posterior():
    torch.manual_seed(0)
    return caudal.npe(BOX, simulate, simulations=1000, recipe=RECIPE, ensemble=2, training=QUICK)


def test_no_mass_leaks_out_of_the_prior(posterior):
    x = torch.tensor([1.0, 3.0])  # a corner
    theta = posterior.sample(x, 500, seed=0)
    assert BOX.support.check(theta).all()
    assert torch.equal(theta, posterior.sample(x, 500, seed=0))
    # A grid that is dense next to the ends, where such a posterior is steep.
    shares = torch.linspace(-14, 14, 281, dtype=torch.float64).sigmoid()
    middles, widths = (shares[1:] + shares[:-1]) / 2, shares.diff()
    theta = torch.cartesian_prod(2 * middles - 1, 3 * middles)
    cells = torch.cartesian_prod(2 * widths, 3 * widths).prod(1)
    density = posterior.log_prob(theta, x).double().exp()
    assert abs(float((density * cells).sum()) - 1) < 0.02
    assert (
        posterior.log_prob(torch.tensor([[1.1, 1.0], [0.0, -0.1]]), x).tolist() == [-torch.inf] * 2
    )


def test_hardly_any_mass_is_lost_where_numbers_are_coarse():
    """Next to 1000 they are a thousand times as far apart as next to 1."""
    torch.manual_seed(0)
    low = torch.full((2,), 1000.0)
    box = Independent(Uniform(low, low + 1), 1)
    made = caudal.npe(box, simulate, simulations=1000, recipe=RECIPE, training=QUICK)
    one = 1000 + (torch.arange(256) + 0.5) / 256
    density = made.log_prob(torch.cartesian_prod(one, one), low + 0.5).exp()
    assert abs(float(density.mean()) - 1) < 0.005


def test_it_follows_the_observation(posterior):
    x = torch.tensor([[-0.5, 0.7], [0.5, 2.3]])
    means = torch.stack([posterior.sample(one, 400, seed=0).mean(0) for one in x])
    assert (means - x).abs().max() < 0.35
    scores = posterior.log_prob(x, x)
    assert torch.allclose(scores[:1], posterior.log_prob(x[:1], x[0]), atol=1e-5)


def test_an_ensemble_is_the_mean_of_its_members(posterior):
    theta, x = BOX.sample((20,)), torch.tensor([0.2, 1.0])
    with torch.no_grad():
        each = [m.log_prob(theta, x.expand(20, 2)).exp() for m in posterior.members]
    torch.testing.assert_close(posterior.log_prob(theta, x).exp(), sum(each) / 2)
    assert not torch.equal(*each)


def test_an_embedding_net_reads_any_observation():
    def waves(theta):
        return torch.sin(theta[:, :1, None] * torch.arange(12.0)) + theta[:, 1:, None]

    net = nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(40, 3))
    made = caudal.npe(BOX, waves, simulations=300, recipe=RECIPE, embedding=net, training=QUICK)
    (flow,) = made.members
    assert flow.context_shape == (1, 12)
    assert flow.embedding.net is net
    assert flow.embedding.std.ne(1).any()
    assert made.sample(waves(BOX.sample((1,))), 3).shape == (3, 2)


def test_a_new_flow_is_the_linear_gaussian_posterior():
    torch.manual_seed(0)
    theta = torch.randn(2000, 2)
    x = theta + 0.5 * torch.randn(2000, 2)
    new = assemble(RECIPE, None, 2, (2,), None)
    caudal.initialize(new, theta, x)
    truth = Normal(0.8 * x, 0.2**0.5).log_prob(theta).sum(1)
    assert abs(float((new.log_prob(theta, x) - truth).detach().mean())) < 0.01
    narrow = assemble(RECIPE, (torch.full((2,), -9.0), torch.full((2,), 9.0)), 2, (2,), None)
    caudal.initialize(narrow, theta, x)
    assert abs(float((narrow.log_prob(theta, x) - truth).detach().mean())) < 0.02
    assert not (narrow.sample((9,), 99 * x[:9]).abs() > 9).any()
    trained = assemble(RECIPE, None, 2, (2,), nn.Linear(2, 2))
    assert not any(isinstance(part, Correlate) for part in trained.modules())


def test_a_flow_is_told_how_much_of_the_regression_lies_beyond_each_end():
    """Of a regression shrunk by noise it is a little less than a half at an end."""
    torch.manual_seed(0)
    theta, noise = torch.rand(4000, 1), 0.05 * torch.randn(4000, 1)
    ends = torch.tensor([-torch.inf, 0.0]), torch.tensor([torch.inf, 1.0])
    flow = assemble(RECIPE, ends, 2, (1,), None)
    told = next(part for part in flow.modules() if isinstance(part, NearEnds))
    caudal.initialize(flow, torch.cat([torch.randn(4000, 1), theta], 1), theta + noise)
    x = torch.tensor([[0.5], [1.0], [0.0], [1.5]])
    far = told.given(x, flow.embed(x))[:, 1:]
    expected = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [1.0, 0.0]])
    assert (far - expected).abs().max() < 0.12
    check_bijection(told, (2,), torch.randn(5, 1))


class Exact:
    """The posterior of a conjugate Gaussian, of a deviation that may be wrong."""

    def __init__(self, width):
        self.width = width

    def draws(self, x, n, generator):
        return x / 2 + self.width * 0.5**0.5 * torch.randn(n, len(x), generator=generator)

    def log_prob(self, theta, x):
        return -((theta - x / 2) ** 2).sum(1)


def test_calibration_tells_right_from_wrong(tmp_path):
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(300, 2, generator=generator)
    x = theta + torch.randn(300, 2, generator=generator)
    right = calibration(Exact(1.0), theta, x, 100, generator)
    assert right.p_values.min() > 0.01
    assert abs(right.coverage(0.8) - 0.8) < 0.07
    assert "uniform as far as this can tell" in right.sentences()[0]
    sure = calibration(Exact(0.6), theta, x, 100, generator)
    assert sure.p_values.max() < 0.01
    assert sure.coverage(0.8) < 0.6
    assert "are not uniform" in sure.sentences()[0]
    sure.picture(tmp_path / "calibration.png")
    assert (tmp_path / "calibration.png").stat().st_size > 5000


def test_ties_count_by_half():
    class Certain:
        def draws(self, x, n, generator):
            return x.expand(n, -1)

        def log_prob(self, theta, x):
            return -theta.sum(1)

    theta = torch.randn(5, 2)
    found = calibration(Certain(), theta, theta, 100, torch.Generator())
    for shares in (found.ranks, found.levels):
        assert torch.allclose(shares, torch.full_like(shares, 0.5), atol=0.01)


def test_ends_of_the_support():
    low, high = bounds_of(BOX)
    assert (low.tolist(), high.tolist()) == ([-1, 0], [1, 3])
    normal = MultivariateNormal(torch.zeros(2), torch.eye(2))
    assert bounds_of(normal)[0].tolist() == [-torch.inf] * 2
    ends = bounds_of(Independent(Exponential(torch.ones(3)), 1))
    assert (ends[0].tolist(), ends[1].tolist()) == ([0] * 3, [torch.inf] * 3)
    with pytest.raises(InputError, match="must have an interval of its own"):
        bounds_of(Dirichlet(torch.ones(3)))
    with pytest.raises(InputError, match=r"vectors \(D,\)"):
        bounds_of(Normal(0.0, 1.0))


def test_what_cannot_be_used_is_refused():
    theta = BOX.sample((50,))
    x = simulate(theta)
    with pytest.raises(InputError, match="simulation 3 lie outside"):
        caudal.npe(BOX, (theta.index_fill(0, torch.tensor([3]), 9.0), x))
    with pytest.raises(InputError, match="1 of 50 simulations .* simulation 7"):
        caudal.npe(BOX, (theta, x.index_fill(0, torch.tensor([7]), torch.nan)))
    with pytest.raises(InputError, match="a function that makes one"):
        caudal.npe(BOX, (theta, x), embedding=nn.Linear(2, 2), ensemble=2)
    with pytest.raises(InputError, match=r"shape \(N, 2\), got \(50, 1\)"):
        caudal.npe(BOX, (theta[:, :1], x))


@pytest.mark.filterwarnings("ignore")
def test_the_package_sbi_trains_our_flows(tmp_path, monkeypatch):
    inference = pytest.importorskip("sbi.inference", reason="the package sbi is not installed")
    monkeypatch.chdir(tmp_path)  # it logs into the present folder
    theta = BOX.sample((300,))
    builder = caudal.sbi.density_estimator(RECIPE, prior=BOX)
    npe = inference.NPE(BOX, density_estimator=builder, show_progress_bars=False)
    estimator = npe.append_simulations(theta, simulate(theta)).train(max_num_epochs=3)
    posterior = npe.build_posterior(estimator)
    x = torch.tensor([[0.0, 1.0]])
    drawn = posterior.sample((50,), x=x, show_progress_bars=False)
    assert BOX.support.check(drawn).all()
    assert posterior.log_prob(drawn, x=x).shape == (50,)
    several, scores = estimator.sample_and_log_prob(torch.Size([4]), x.expand(3, 2))
    assert several.shape == (4, 3, 2)
    torch.testing.assert_close(
        scores, estimator.log_prob(several, x.expand(3, 2)), atol=1e-3, rtol=1e-3
    )


def test_posteriors_are_saved_and_loaded(posterior, tmp_path):
    posterior.save(tmp_path / "pair")
    again = caudal.sbi.Posterior.load(tmp_path / "pair", BOX)
    theta, x = BOX.sample((6,)), torch.tensor([0.2, 1.0])
    assert len(again.members) == 2
    assert torch.equal(again.log_prob(theta, x), posterior.log_prob(theta, x))
    assert torch.equal(again.sample(x, 5, seed=1), posterior.sample(x, 5, seed=1))
    with pytest.raises(InputError, match="holds a run"):
        posterior.save(tmp_path / "pair")
    one = caudal.sbi.Posterior(BOX, posterior.members[:1])
    for of_pair in (
        lambda: one.save(tmp_path / "pair", overwrite=True),
        lambda: caudal.npe(BOX, None, out=tmp_path / "pair"),
    ):
        with pytest.raises(InputError, match="of another number of flows"):
            of_pair()
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    own = assemble(RECIPE, None, 2, (2,), net)
    with pytest.raises(InputError, match="put it into a function"):
        caudal.sbi.Posterior(BOX, [own]).save(tmp_path / "own")
    with pytest.raises(InputError, match="put it into a function"):
        caudal.npe(BOX, simulate, embedding=net, out=tmp_path / "own")


def test_the_run_of_a_posterior_tells_its_calibration(tmp_path):
    def waves(theta):
        return (theta[:, :1, None] * torch.arange(3.0)) + 0.1 * torch.randn(len(theta), 2, 3)

    how = {"simulations": 500, "recipe": RECIPE, "training": QUICK}
    made = caudal.npe(BOX, waves, **how, out=tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "region of highest density" in page
    assert "Ranks of 200 simulations" in page
    assert (tmp_path / "run" / "pictures" / "calibration.png").exists()
    again = caudal.sbi.Posterior.load(tmp_path / "run")
    theta, x = torch.zeros(1, 2) + 0.5, torch.ones(2, 3)
    assert torch.equal(again.log_prob(theta, x), made.log_prob(theta, x))
    assert again.log_prob(theta + 9, x).tolist() == [-torch.inf]
