"""Jobs side by side in threads: their numbers are those that each has alone."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.distributions import Dirichlet, Gamma

import caudal
from caudal import Training, nets
from caudal.bijections import Autoregressive, by_sweeps
from caudal.model import Model
from caudal.numerics import own_generator, own_randomness, redirected, repeatable, seed_own
from caudal.recipes import MAF, NSF, ResidualFlow

TRAINING = Training(steps=12, batch_size=32, validate_every=4)


def noisy(flow, x, context):
    """A loss that draws from PyTorch."""
    return caudal.losses.nll(flow, x + 0.1 * torch.randn_like(x), context)


RECIPE = NSF(layers=1, hidden=8, dropout=0.2)
JOBS = {
    "dropout": lambda flow: caudal.fit(flow, DATA, training=TRAINING),
    "own loss": lambda flow: caudal.fit(flow, DATA, training=TRAINING, loss=noisy),
}
DATA = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("job", JOBS)
def test_fits_a_load_and_samples_side_by_side(job, tmp_path):
    torch.manual_seed(0)
    new = RECIPE.build((2,))
    Model(new).save(tmp_path / "run")

    def fit():
        flow = caudal.load(tmp_path / "run").flow
        JOBS[job](flow)
        return torch.cat([p.detach().flatten() for p in flow.parameters()])

    alone, state = fit(), torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(fit) for _ in range(2)]
        loads = [pool.submit(caudal.load, tmp_path / "run") for _ in range(3)]
        draws = [pool.submit(new.sample, 5, generator=torch.Generator()) for _ in range(3)]
        assert all(torch.equal(job.result(), alone) for job in jobs)
        assert all(torch.equal(draw.result(), draws[0].result()) for draw in draws)
        assert all(load.result().recipe == RECIPE for load in loads)
    assert torch.equal(torch.get_rng_state(), state)


def test_training_from_data_touches_no_global_generator():
    state = torch.get_rng_state()
    options = {"steps": 2, "batch_size": 32, "layers": 1, "hidden": 8}
    first, second = (caudal.train("nsf", DATA.numpy(), **options) for _ in range(2))
    weights = [list(model.flow.parameters()) for model in (first, second)]
    assert all(map(torch.equal, *weights))
    assert torch.equal(torch.get_rng_state(), state)


class Series(nn.Module):
    """A series (B, 4, 8) as 6 numbers, by nets that draw within functions of PyTorch."""

    def __init__(self):
        super().__init__()
        self.attention = nn.TransformerEncoderLayer(8, 2, 8, dropout=0.1, batch_first=True)
        self.channels = nn.Dropout2d(0.2)
        self.recurrent = nn.LSTM(8, 6, 2, dropout=0.1, batch_first=True)

    def forward(self, context):
        seen = self.channels(self.attention(context).unsqueeze(3)).squeeze(3)
        return self.recurrent(seen)[0][:, -1]


def test_fits_of_nets_that_draw_inside_are_equal():
    rows = DATA, torch.randn(100, 4, 8)

    def fit():
        with own_randomness(), redirected():
            inner = RECIPE.build((2,), (6,), standardise=False)
            parts = {"context_shape": (4, 8), "embedding": Series()}
            flow = caudal.Flow(inner.bijection, inner.base, **parts)
        caudal.fit(flow, rows, training=TRAINING)
        return torch.cat([p.detach().flatten() for p in flow.parameters()])

    alone = fit()
    torch.rand(1)
    state = torch.get_rng_state()
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(fit) for _ in range(2)]
        assert all(torch.equal(job.result(), alone) for job in jobs)
    assert torch.equal(torch.get_rng_state(), state)


def test_sweeps_are_of_one_thread():
    flow = MAF(layers=1, hidden=(8,), batch_norm=False).build((2,)).eval()
    layer = next(part for part in flow.modules() if isinstance(part, Autoregressive))
    layer._swept = None  # which would be called
    with by_sweeps(flow), ThreadPoolExecutor(1) as pool:
        assert pool.submit(flow.sample, 3).result().shape == (3, 2)
        with pytest.raises(TypeError):
            flow.sample(3)
    assert flow.sample(3).shape == (3, 2)


# --- own generators give the numbers of the global one ------------------------------------------

DRAWS = {
    "rand": lambda: torch.rand(3),
    "randn": lambda: torch.randn(2, 2, dtype=torch.float64),
    "randint": lambda: torch.randint(9, (4,)),
    "randperm": lambda: torch.randperm(7),
    "rand_like": lambda: torch.rand_like(torch.zeros(3)),
    "randn_like": lambda: torch.randn_like(torch.zeros(3)),
    "randint_like": lambda: torch.randint_like(torch.zeros(3), 9),
    "normal": lambda: torch.normal(torch.zeros(3), torch.ones(3)),
    "bernoulli": lambda: torch.bernoulli(torch.full((9,), 0.5)),
    "multinomial": lambda: torch.multinomial(torch.ones(5), 3),
    "in place": lambda: torch.empty(3).uniform_().add(torch.empty(3).normal_()),
    "dropout": lambda: F.dropout(torch.ones(40), 0.3),
    "dropout of channels": lambda: F.dropout2d(torch.ones(1, 40, 2, 2), 0.3),
    "dropout of SELU": lambda: F.alpha_dropout(torch.ones(40), 0.3, training=True),
    "gumbel": lambda: F.gumbel_softmax(torch.ones(3)),
    "leaks": lambda: nn.RReLU()(-torch.ones(3)),
    "attention": lambda: nn.TransformerEncoderLayer(4, 2, 8, 0.3)(torch.ones(5, 4)),
    "recurrent": lambda: nn.LSTM(2, 3, 2, dropout=0.3)(torch.ones(5, 2))[0],
    "gamma": lambda: Gamma(torch.ones(3), torch.ones(3)).sample(),
    "dirichlet": lambda: Dirichlet(torch.ones(3)).sample(),
    "binomial": lambda: torch.binomial(torch.full((9,), 50.0), torch.full((9,), 0.5)),
    "named": lambda: torch.bernoulli(input=torch.full((40,), 0.5)),
    "weights": lambda: nn.Linear(3, 2).weight,
    "init": lambda: nn.init.orthogonal_(torch.empty(3, 3)),
    "flow": lambda: ResidualFlow(blocks=1, hidden=(8,)).build((2,)).bijection.inverse(DATA)[0],
}


@pytest.mark.parametrize("name", DRAWS)
def test_redirected_draws(name):
    torch.manual_seed(7)
    expected, state = DRAWS[name](), torch.get_rng_state()
    with own_randomness(seed=7), redirected():
        found = DRAWS[name]()
        again = DRAWS[name]()
    assert torch.equal(found, expected)
    assert not torch.equal(found, again) or name in ("bernoulli", "multinomial")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "net",
    [
        nets.ResidualMLP(4, 2, 3, 16, 1, dropout=0.5),
        nets.MADE(4, 3, (16, 16, 16), residual=True, dropout=0.5),
    ],
    ids=lambda net: type(net).__name__,
)
def test_nets_of_caudal_drop_units_by_the_own_generator(net):
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    x, state = torch.randn(5, 4), torch.get_rng_state()
    with own_randomness(seed=7):
        found, again = net(x), net(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(found, again)
    with own_randomness(seed=7), redirected():
        assert torch.equal(net(x), found)


def test_a_context_within_another_draws_once():
    draw = DRAWS["recurrent"]
    with own_randomness(seed=7), redirected():
        expected = draw(), draw()
    with own_randomness(seed=7), redirected(), redirected():
        found = draw(), draw()
    assert all(map(torch.equal, found, expected))


def test_a_default_device_without_an_own_generator_is_left_alone():
    with own_randomness(), torch.device("meta"), redirected():
        assert torch.rand(3).device.type == "meta"


def test_own_generators():
    assert own_generator() is None
    with pytest.raises(RuntimeError, match="within `own_randomness`"):
        seed_own(1)
    with own_randomness(seed=3):
        with repeatable():
            first = torch.rand(2, generator=own_generator())
        assert torch.equal(torch.rand(2, generator=own_generator()), first)
        with own_randomness(seed=3):
            assert torch.equal(torch.rand(2, generator=own_generator()), first)
