"""Flows fitted to densities: they become them, resume to the bit, and say what is wrong."""

import math

import pytest
import torch

import caudal
from caudal import InputError, NumericalError, Training, Variational
from caudal.losses import reverse_kl
from caudal.recipes import NSF
from caudal.targets import Banana, Named
from caudal.training.chains import Chains
from caudal.training.density_terms import DensityTerms, split

FEW = Variational(particles=500)
SMALL = NSF(layers=2, hidden=16, blocks=1)


def flow_of(features=2):
    torch.manual_seed(0)
    return SMALL.build((features,))


def gaussian(mean, std, log_z=0.0):
    """An unnormalised Gaussian in the plane."""

    def log_density(x):
        constant = 2 * (math.log(std) + 0.5 * math.log(2 * math.pi))
        return -0.5 * ((x - mean) / std).square().sum(1) - constant + log_z

    return log_density


def training(steps, **options):
    usual = {"batch_size": 100, "lr": 5e-3, "validate_every": 20, "patience": 0}
    return Training(steps=steps, accelerator="cpu", **{**usual, **options})


def test_a_flow_becomes_the_density():
    flow, target = flow_of(), gaussian(3.0, 0.5, log_z=4.0)
    options = Variational(particles=500, scale=5.0, reverse=0.5)
    fitted = caudal.fit_density(flow, target, options=options, training=training(60))
    result = caudal.evaluate_density(flow, target, draws=2000)
    assert result.ess > 0.9
    assert result.log_z == pytest.approx(4.0, abs=0.05)
    assert result.annealed_log_z == pytest.approx(4.0, abs=0.15)
    assert result.acceptance > 0.8
    assert result.known_log_z is None
    assert result.forward_ess is None
    assert {"train_forward", "train_reverse", "valid"} <= fitted.history[-1].keys()
    table = result.table()
    assert [row[0] for row in table.rows][:3] == ["log Z", "log Z, smoothed", "log Z, annealed"]
    assert "worth" in result.sentences()[0]
    assert str(result).startswith(table.title)


def test_what_is_missing_is_said():
    """A flow of one of two modes has fine weights: only exact samples tell."""

    class Two(Banana):
        log_z = 0.0

        def __call__(self, x):
            both = torch.stack([gaussian(-6.0, 1.0)(x), gaussian(6.0, 1.0)(x)])
            return both.logsumexp(0) - math.log(2)

        def sample(self, n, generator=None):
            side = 12.0 * (torch.arange(n) % 2).unsqueeze(1) - 6.0
            return torch.randn(n, 2, generator=generator) + side

    flow = caudal.Flow(caudal.bijections.Rescale(1.0, -6.0), caudal.base.Normal((2,)))
    result = caudal.evaluate_density(flow, Two(), draws=1000)
    assert result.ess > 0.99
    assert result.log_z == pytest.approx(-math.log(2), abs=0.02)
    assert result.forward_ess < 0.01
    assert result.forward_kl > 10
    assert "misses a part" in result.verdict()[0]


def test_a_resumed_run_goes_on_with_its_chains(tmp_path):
    often = training(30, validate_every=10)

    def run(folder, **options):
        flow = flow_of()
        run = caudal.Run(tmp_path / folder, SMALL, **options)
        stop = None

        def interrupt(step):
            if stop is not None and step >= stop:
                raise KeyboardInterrupt

        stop = 20 if folder == "broken" and not options else None
        try:
            caudal.fit_density(
                flow, Banana(), options=FEW, training=often, out=run, watch=interrupt
            )
        except KeyboardInterrupt:
            return None
        return flow

    whole = run("whole")
    assert run("broken") is None
    again = run("broken", resume=True)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_chains_give_batches_and_take_them_back():
    chains = Chains(torch.arange(10.0).view(10, 1))
    batches = list(chains.shuffled(5, seed=0))
    assert torch.cat([batch.x for batch in batches]).flatten().sort().values.tolist() == [
        *range(10)
    ]
    chains.put(batches[1].x + 100)
    assert sorted(chains.x.flatten().tolist()) == sorted(
        [*batches[0].x.flatten().tolist(), *(batches[1].x + 100).flatten().tolist()]
    )
    assert torch.equal(next(chains.telling()).x, torch.arange(10.0).view(10, 1))
    skipped = next(chains.shuffled(5, seed=0, skip=1))
    assert torch.equal(skipped.x, batches[1].x + 100)


def test_jumps_correct_how_many_chains_a_mode_has():
    """Chains all in one of two modes; the flow is the density itself."""
    two = caudal.Flow(caudal.Chain([]), caudal.base.GaussianMixture(torch.tensor([[-6.0], [6.0]])))
    torch.manual_seed(0)
    chains, _ = split(-6.0 + torch.randn(500, 1))
    terms = DensityTerms(two, two.log_prob, chains, FEW)
    for seed in range(3):
        for batch in chains.shuffled(100, seed):
            terms.terms(batch.x, None)
    assert float((chains.x > 0).double().mean()) == pytest.approx(0.5, abs=0.1)


def test_a_density_that_is_not_finite_is_said():
    with pytest.raises(NumericalError, match=r"is nan at x = .* \(row 1 of 100; 100 such rows\)"):
        reverse_kl(flow_of(), lambda x: x.sum(1) * torch.nan, 100)
    with pytest.raises(NumericalError, match="give the flow the support"):
        reverse_kl(flow_of(), lambda x: torch.where(x[:, 0] > 9, 0.0, -torch.inf), 100)


def test_flows_that_cannot_learn_a_density_are_refused():
    given = SMALL.build((2,), (1,))
    with pytest.raises(InputError, match="without context"):
        caudal.fit_density(given, Banana())
    with pytest.raises(InputError, match="nothing to learn from"):
        Variational(forward=0, reverse=0)
    with pytest.raises(InputError, match="`particles` 5"):
        Variational(particles=5)


def test_exact_samples_of_a_density():
    flow = caudal.Flow(caudal.bijections.Rescale(1.0), caudal.base.Normal((2,)))
    x, correction = caudal.corrected_sample(flow, gaussian(0.5, 0.8), 2000)
    assert x.mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.08)
    assert x.std(0).tolist() == pytest.approx([0.8, 0.8], abs=0.08)
    assert correction.acceptance > 0.4
    with pytest.raises(InputError, match="without context"):
        caudal.corrected_sample(SMALL.build((2,), (1,)), gaussian(0.0, 1.0), 5)


def test_a_function_of_ones_own_is_a_target():
    target = Named("mine", gaussian(0.0, 1.0), 2, scale=3.0)
    assert (target.features, target.scale, target.samples_exactly) == (2, 3.0, False)
    with pytest.raises(InputError, match="exact samples are not known"):
        target.sample(5)
