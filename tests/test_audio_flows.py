"""Flows of sound: events of free length, the laws of WaveNet and its student, whole numbers."""

import math

import pytest
import torch
from torch.autograd.functional import jacobian as jacobian_of

import caudal
from caudal.base import FREE, Logistic, Normal, Uniform, sized
from caudal.bijections import MuLaw
from caudal.data.audio import AudioSchema
from caudal.data.schema import Column
from caudal.dequantization import AudioDequantization
from caudal.elementwise import Affine, Histogram, MixtureLogistic, Swapped
from caudal.elementwise.affine import soft_floor
from caudal.errors import InputError
from caudal.losses import discretized_log_prob, is_discretizable
from caudal.modality import assemble
from caudal.recipes import MAF, ParallelWaveNet, WaveNet

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"channels": 6, "cycle": 3, "hop": 4}
TEACHERS = {
    law: WaveNet(layers=4, law=law, components=3, **SMALL)
    for law in ("gaussian", "logistics", "softmax")
}
STUDENTS = {
    noise: ParallelWaveNet(flows=(2, 3), noise=noise, **SMALL) for noise in ("normal", "logistic")
}
ALL = {**TEACHERS, **STUDENTS}
DIGIT = Column("digit", "categorical", categories=("0", "1", "2"), dtype="string")


def wild(flow, spread=0.1):
    """A flow whose last layers are not zero."""
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return flow.eval()


def inside(flow, x):
    """Amplitudes where the density is not zero."""
    return torch.tanh(x) if isinstance(flow.base, Uniform) else x


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("frames", [None, 1, 4])
@pytest.mark.usefixtures("float64")
def test_round_trip_and_log_det(name, frames):
    flow = wild(
        ALL[name].build((1, FREE), None if frames is None else (3, FREE), standardise=False)
    )
    context = None if frames is None else torch.randn(2, 3, frames)
    there, back = flow.bijection.inverse, flow.bijection.forward
    if name in STUDENTS:  # which turn clips from elsewhere into noise beyond all bounds
        there, back = back, there
    start = inside(flow, torch.randn(2, 1, 14))
    end, log_det = there(start, context)
    again, log_det_back = back(end, context)
    torch.testing.assert_close(again, start, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(log_det + log_det_back, torch.zeros(2), atol=1e-8, rtol=0)
    rows = None if context is None else context[:1]
    found = jacobian_of(
        lambda v: there(v.view(1, 1, -1), rows)[0].flatten(), start[0].detach().flatten()
    )
    assert torch.linalg.slogdet(found)[1].item() == pytest.approx(log_det[0].item(), abs=1e-8)
    assert not found.triu(1).any()  # causal, exactly


@pytest.mark.parametrize("name", ALL)
def test_any_length_and_the_same_law_for_each(name):
    flow = wild(ALL[name].build(standardise=False))
    generator = torch.Generator().manual_seed(0)
    short, long = (flow.sample(3, generator=generator, length=n) for n in (5, 40))
    assert short.shape == (3, 1, 5)
    assert long.shape == (3, 1, 40)
    if name in TEACHERS:  # what comes later changes nothing before
        part = flow.log_prob(long[..., :20])
        rest = flow.bijection.inverse(long)[0][..., :20]
        torch.testing.assert_close(rest, flow.bijection.inverse(long[..., :20])[0])
        assert part.shape == (3,)


@pytest.mark.parametrize(
    ("length", "message"), [(None, "free length: give `length`"), (0, "must be at least 1")]
)
def test_a_free_length_is_asked_for(length, message):
    flow = STUDENTS["normal"].build(standardise=False)
    with pytest.raises(InputError, match=message):
        flow.sample(2, length=length)


def test_a_fixed_shape_takes_no_length():
    with pytest.raises(InputError, match="fixed shape: no `length`"):
        MAF(layers=1, hidden=(4,)).build((3,), standardise=False).sample(2, length=3)
    assert sized((1, FREE), 7) == (1, 7)


@pytest.mark.parametrize(
    ("event", "context", "message"),
    [
        ((3,), None, "models sound"),
        ((2, FREE), None, "models sound"),
        ((1, FREE), (2, 3, 4), "frames"),
    ],
)
def test_recipes_of_sound_refuse_other_shapes(event, context, message):
    with pytest.raises(ValueError, match=message):
        WaveNet().build(event, context, standardise=False)


def test_receptive_fields_are_those_of_the_papers():
    assert WaveNet(layers=30, kernel=2).receptive_field == 3070
    assert WaveNet(layers=30, kernel=3).receptive_field == 6139
    assert ParallelWaveNet(flows=(10, 10, 10, 30), kernel=3).receptive_field == 4 + 2 * 6 * 1023
    net = WaveNet(layers=5, cycle=4, channels=4, kernel=3).build(standardise=False).bijection.net
    assert net.receptive_field == WaveNet(layers=5, cycle=4, kernel=3).receptive_field


@pytest.mark.usefixtures("float64")
def test_a_new_student_is_a_faint_hiss_and_a_new_teacher_its_base():
    z = torch.randn(2, 1, 9)
    x, _ = STUDENTS["normal"].build(standardise=False).bijection.forward(z)
    torch.testing.assert_close(x, 0.05 * z, rtol=0.01, atol=0)
    for recipe in (TEACHERS["gaussian"], TEACHERS["softmax"]):
        flow = recipe.build(standardise=False)
        noise = inside(flow, z)
        expected = MuLaw(255).forward(noise)[0] if recipe.law == "softmax" else noise
        torch.testing.assert_close(flow.bijection.forward(noise)[0], expected)


@pytest.mark.parametrize("base", [Normal((1,)), Logistic((1,)), Uniform((1,))])
@pytest.mark.usefixtures("float64")
def test_bases_agree_with_themselves(base):
    """The CDF is the density's integral and the entropy its mean, to a grid's precision."""
    edge = 1.0 if isinstance(base, Uniform) else 40.0
    z = torch.linspace(-edge, edge, 400_001)
    density, step = base.log_density(z).exp(), z[1] - z[0]
    cdf = (density[1:] + density[:-1]).cumsum(0) * step / 2
    torch.testing.assert_close(base.log_cdf(z[1:]).exp(), cdf, atol=1e-7, rtol=0)
    inner = density[1:-1]
    entropy = -torch.special.xlogy(inner, inner).sum() * step
    assert base.entropy == pytest.approx(entropy.item(), abs=1e-4)
    torch.testing.assert_close(base.log_cdf(torch.tensor([math.inf])), torch.zeros(1))
    assert base.log_cdf(torch.tensor([-math.inf])).item() == -math.inf


@pytest.mark.usefixtures("float64")
def test_a_floor_is_one_and_leaves_the_rest():
    floored = Affine(floor=-7.0)
    assert soft_floor(torch.zeros(1), -800.0) == 0  # no overflow
    raw = torch.tensor([-1e3, -20.0, -3.0, 0.0, 3.0])
    alpha = floored.forward(torch.zeros(5), torch.stack([torch.zeros(5), raw]).unsqueeze(0))[1][0]
    assert (alpha >= -7).all()
    assert alpha[3] == 0
    assert abs(alpha[2] + 3) < 0.02
    assert abs(alpha[4] - 3) < 0.001


@pytest.mark.usefixtures("float64")
def test_a_histogram_has_the_masses_of_its_softmax():
    law, base = Histogram(bins=16), Uniform((1, FREE))
    params = torch.randn(1, 16, 1, 1)
    edges = torch.linspace(-1, 1, 17)
    z, _ = law.inverse(edges.view(17, 1, 1), params.expand(17, -1, -1, -1))
    mass = base.log_cdf(z).exp().diff(dim=0).flatten()
    torch.testing.assert_close(mass, params.flatten().softmax(0))


@pytest.mark.parametrize("compiled", [False, True])
def test_a_histogram_never_draws_a_bin_that_has_no_mass(compiled):
    """In single precision sums of masses may end below the largest noise: once in 10^7 samples."""
    law = Histogram(bins=256)
    centres = 100 + 100 * torch.rand(500, 1)
    params = -0.5 * ((torch.arange(256.0) - centres) / 5).square()
    for z in (torch.full((500,), -1.0), torch.full((500,), 1 - 2**-23), torch.ones(500)):
        if compiled:
            maps = pytest.importorskip("caudal.nets.fast.maps")
            rows = zip(z.tolist(), params.double().numpy(), strict=True)
            x = torch.tensor([maps.histogram(v, row, (256.0,) * 4)[0] for v, row in rows])
        else:
            x = law.forward(z, params)[0]
        assert ((x + 1) * 128 - centres[:, 0]).abs().max() < 80


def test_a_histogram_leaves_nan_as_it_is():
    for function in (Histogram(bins=8).forward, Histogram(bins=8).inverse):
        assert function(torch.tensor([torch.nan]), torch.zeros(1, 8))[0].isnan()


@pytest.mark.usefixtures("float64")
def test_mu_law_is_the_standard_and_takes_no_more_than_one():
    x = torch.tensor([[[-1.0, -0.25, 0.0, 0.01, 1.0]]])
    z, log_det = MuLaw(255).inverse(x)
    truth = x.sign() * torch.log1p(255 * x.abs()) / math.log(256)
    torch.testing.assert_close(z, truth)
    inner = torch.tensor([-0.7, -0.25, 0.3])
    found = jacobian_of(lambda v: MuLaw(255).inverse(v.view(1, 1, -1))[0].flatten(), inner)
    assert torch.linalg.slogdet(found)[1].item() == pytest.approx(
        MuLaw(255).inverse(inner.view(1, 1, 3))[1].item()
    )
    back, forward = MuLaw(255).forward(z)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(forward, -log_det)
    assert MuLaw().inverse(torch.full((1, 1, 2), 1.5))[1].item() == -math.inf


def test_whole_numbers_get_noise_below_the_next_and_come_back():
    dequantization = AudioDequantization(16)
    x = torch.tensor([[[-32768.0, -1.0, 0.0, 17.0, 32767.0]]])
    for _ in range(50):
        y, log_q = dequantization.lift(x)
        assert torch.equal(dequantization.lower(y), x)
        assert ((y >= x) & (y < x + 1)).all()
        assert not log_q.any()
    for wrong in (0.5, 40_000.0, math.nan):
        assert dequantization.lift(torch.full((1, 1, 3), wrong))[1].item() == math.inf


def schema(**more):
    return AudioSchema(**{"rate": 8000, "crop": 16, "hop": 4, "mels": 0, "bits": 4, **more})


def test_a_uniform_flow_takes_all_its_bits():
    flow = assemble(TEACHERS["softmax"], schema(bits=16, context=()))
    flow.bijection = caudal.Chain([*flow.bijection.parts[2:]])  # without the net and the mu-law
    x = torch.randint(-32768, 32768, (3, 1, 20)).float()
    torch.testing.assert_close(-flow.log_prob(x) / (20 * math.log(2)), torch.full((3,), 16.0))


@pytest.mark.parametrize("law", TEACHERS)
@pytest.mark.parametrize("mels", [0, 3])
@pytest.mark.usefixtures("float64")
def test_discretised_masses_sum_to_one(law, mels):
    flow = wild(assemble(TEACHERS[law], schema(context=(DIGIT,), mels=mels)).double())
    assert is_discretizable(flow)
    every = torch.cartesian_prod(torch.arange(-8, 8), torch.arange(-8, 8)).double().unsqueeze(1)
    context = torch.ones(256, 1 + mels, 1)
    total = discretized_log_prob(flow, every, context).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-9)


@pytest.mark.usefixtures("float64")
def test_a_discretised_histogram_is_its_softmax():
    """Where steps are bins, the mass of a first sample is a softmax probability."""
    flow = wild(assemble(TEACHERS["softmax"], schema()).double(), 1.0)
    params = flow.bijection.parts[0].net(torch.zeros(1, 1, 1))[0, :, 0, 0].softmax(0)
    x = torch.arange(-8, 8).double().view(16, 1, 1)
    found = discretized_log_prob(flow, x).exp()
    ends = MuLaw(255).inverse((torch.arange(-8, 9) / 8).double().view(17, 1, 1))[0].flatten()
    cumulated = torch.cat([torch.zeros(1), params.cumsum(0)])
    place = (ends + 1) / 2 * 256
    low = place.floor().clamp(0, 255).long()
    cdf = cumulated[low] + (place - low) * params[low]
    torch.testing.assert_close(found, cdf.diff(), atol=1e-12, rtol=1e-9)


@pytest.mark.usefixtures("float64")
def test_a_discretised_mass_below_the_digits_of_its_cdf_is_its_density():
    """At either end the CDF of a step is 0 or 1 in floating point long before its mass is 0."""
    flow = assemble(TEACHERS["softmax"], schema(bits=16)).double()
    logits = -0.5 * ((torch.arange(256.0) - 128) / 8).square()
    with torch.no_grad():
        flow.bijection.parts[0].net.last.bias.copy_(logits)
    x = torch.tensor([-32768.0, -30000.0, 30000.0, 32767.0]).view(4, 1, 1)
    found = discretized_log_prob(flow, x)
    y = (x + 0.5) / 32768
    place, log_slope = MuLaw(255).inverse(y)
    bins = ((place + 1) * 128).floor().long().flatten()
    truth = logits.log_softmax(0)[bins] + math.log(128) + log_slope - 15 * math.log(2)
    torch.testing.assert_close(found[1:3], truth[1:3], atol=1e-4, rtol=0)
    assert found.isfinite().all()


def test_discretised_and_dequantised_agree_where_steps_are_narrow():
    torch.manual_seed(0)
    flow = wild(assemble(TEACHERS["gaussian"], schema(bits=16)), 0.1)
    x = torch.randint(-20_000, 20_000, (64, 1, 30)).float()
    whole, bound = discretized_log_prob(flow, x), flow.log_prob(x)
    torch.testing.assert_close(whole.float(), bound, atol=0.05, rtol=0)
    with pytest.raises(ValueError, match="one autoregressive layer"):
        discretized_log_prob(assemble(STUDENTS["normal"], schema(bits=16)), x)


def test_a_run_on_sound_is_saved_and_loaded(tmp_path):
    from caudal.training.checkpoint import load_model, save_model

    said = schema(bits=16, mels=3, context=(DIGIT,))
    flow = wild(assemble(TEACHERS["logistics"], said))
    save_model(tmp_path / "m.safetensors", flow, TEACHERS["logistics"], said)
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.schema == said
    x = torch.randint(-100, 100, (2, 1, 10)).float()
    context = torch.cat([torch.ones(2, 1, 3), torch.randn(2, 3, 3)], 1)
    generators = (torch.Generator().manual_seed(0) for _ in range(2))
    ours, theirs = (
        f.log_prob(x, context, g) for f, g in zip((flow, loaded.flow), generators, strict=True)
    )
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [(MAF(), "does not model sound"), (WaveNet(hop=5), "frames are of 4 samples")],
)
def test_assembling_refuses_what_does_not_fit(recipe, message):
    with pytest.raises(InputError, match=message):
        assemble(recipe, schema())


@pytest.mark.usefixtures("float64")
def test_swapped_is_the_same_map_backwards():
    law = MixtureLogistic(3)
    x, params = torch.randn(4, 1, 5), torch.randn(4, 9, 1, 5)
    for ours, theirs in ((Swapped(law).forward, law.inverse), (Swapped(law).inverse, law.forward)):
        for a, b in zip(ours(x, params), theirs(x, params), strict=True):
            torch.testing.assert_close(a, b)
