"""Distilling sound: the student's conditionals, divergences and their parts, spectra, AR(2)."""

import copy
import math

import numpy as np
import pytest
import torch

import caudal
from caudal.base import FREE
from caudal.bijection import parts_of
from caudal.data.audio import AudioSchema
from caudal.data.source import Rows
from caudal.errors import InputError
from caudal.losses import (
    conditional_kl,
    conditionals,
    has_gaussian_conditionals,
    nll_per_element,
    spectral_loss,
)
from caudal.losses.spectral import magnitudes
from caudal.modality import assemble
from caudal.recipes import ParallelWaveNet, WaveNet
from caudal.training.clip_terms import AudioDistillation, AudioTerms
from caudal.training.options import Training
from caudal.training.run import Run
from caudal.training.student import build_student, default_student, distill

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"channels": 6, "cycle": 3, "hop": 4}


def wild(flow, spread=0.1):
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return flow.eval()


def pair(law="gaussian", noise="normal", context=None):
    teacher = WaveNet(layers=4, law=law, components=3, **SMALL).build(
        (1, FREE), context, standardise=False
    )
    student = ParallelWaveNet(flows=(2, 2, 3), noise=noise, **SMALL).build(
        (1, FREE), context, standardise=False
    )
    return wild(student), wild(teacher)


@pytest.mark.parametrize("noise", ["normal", "logistic"])
@pytest.mark.usefixtures("float64")
def test_flows_compose_to_one_mean_and_scale(noise):
    """z s_tot + m_tot is what the flows make in turn, and log s_tot is their log-slope."""
    student, _ = pair(noise=noise)
    z = student.base.sample(3, length=20)
    x, log_det = student.bijection.forward(z)
    found = conditionals(student, z)
    torch.testing.assert_close(found.x, x, atol=1e-12, rtol=0)
    torch.testing.assert_close(found.mean + z * found.log_scale.exp(), x, atol=1e-6, rtol=1e-9)
    torch.testing.assert_close(found.log_scale.flatten(1).sum(1), log_det)
    # Functions of z_<t alone: another z_t changes x_t by the scale, and neither of the two.
    other = z.clone()
    other[..., 7] += 1
    again = conditionals(student, other)
    assert torch.equal(again.mean[..., :8], found.mean[..., :8])
    assert torch.equal(again.log_scale[..., :8], found.log_scale[..., :8])
    step = again.x[..., 7] - found.x[..., 7]
    torch.testing.assert_close(step, found.log_scale[..., 7].exp())


def monte_carlo(student, teacher, n, length):
    """log q(x) - log p(x) of whole samples: their sum over positions, a mean with its error."""
    with torch.no_grad():
        x, log_q = student.sample_with_log_prob(n, length=length)
        ratio = log_q - teacher.log_prob(x)
    return ratio.mean().item(), (ratio.std() / math.sqrt(n)).item()


@pytest.mark.parametrize(
    ("law", "noise"), [("gaussian", "normal"), ("logistics", "logistic"), ("gaussian", "logistic")]
)
@pytest.mark.usefixtures("float64")
def test_divergences_are_those_of_whole_samples(law, noise):
    student, teacher = pair(law, noise)
    assert has_gaussian_conditionals(student, teacher) == (law == "gaussian" and noise == "normal")
    with torch.no_grad():
        found = conditionals(student, student.base.sample(4000, length=12))
        kl = conditional_kl(student, teacher, found, draws=4).kl.flatten(1).sum(1)
    mean, error = monte_carlo(student, teacher, 20_000, 12)
    together = math.hypot(error, (kl.std() / math.sqrt(len(kl))).item())
    assert abs(kl.mean().item() - mean) < 4 * together


@pytest.mark.usefixtures("float64")
def test_the_entropy_of_a_logistic_is_log_s_plus_two():
    student, teacher = pair("logistics", "logistic")
    z = student.base.sample(2, length=50)
    with torch.no_grad():
        found = conditionals(student, z)
        apart = conditional_kl(student, teacher, found, draws=2)
    torch.testing.assert_close(apart.entropy, found.log_scale + 2)
    s = 0.3  # T (ln s + 2) for a constant scale, and a Monte Carlo estimate of it
    x = s * student.base.draw(200_000)
    estimate = -(student.base.log_density(x / s) - math.log(s)).mean()
    assert estimate.item() == pytest.approx(math.log(s) + 2, abs=0.01)


@pytest.mark.usefixtures("float64")
def test_a_teacher_with_the_students_own_law_is_at_no_distance():
    """One flow that says the same as the teacher: zero exactly where it is in closed form."""
    recipe = ParallelWaveNet(flows=(3,), channels=6, cycle=3)
    student = wild(recipe.build(standardise=False), 0.0)
    teacher = WaveNet(layers=3, channels=6, cycle=3).build(standardise=False)
    with torch.no_grad():  # both white noise of scale 0.05
        for flow in (student, teacher):
            for name, parameter in flow.named_parameters():
                if "net.last" in name:
                    parameter.zero_()
        student.bijection.parts[0].bijection.net.last.bias[1] = -3.0
        teacher.bijection.net.last.bias[1] = -3.0
        found = conditionals(student, student.base.sample(3, length=20))
        kl = conditional_kl(student, teacher, found).kl
    assert not kl.any()
    logistic = WaveNet(layers=3, channels=6, cycle=3, law="logistics", components=1).build(
        standardise=False
    )
    other = ParallelWaveNet(flows=(3,), channels=6, cycle=3, noise="logistic").build(
        standardise=False
    )
    with torch.no_grad():
        logistic.bijection.net.last.bias[2] = -3.0
        other.bijection.parts[0].bijection.net.last.bias[1] = -3.0
        found = conditionals(other, other.base.sample(200, length=20))
        kl = conditional_kl(other, logistic, found, draws=4).kl
    assert abs(kl.mean()) < 3 * kl.std() / math.sqrt(kl.numel())


def clips(n=12, length=64, seed=0):
    """Whole numbers, and frames of a spectrum beside them."""
    generator = torch.Generator().manual_seed(seed)
    x = (3000 * torch.randn(n, 1, length, generator=generator)).round()
    return Rows(x, torch.randn(n, 5, length // 4, generator=generator))


SCHEMA = AudioSchema(rate=8000, crop=64, hop=4, mels=5)


def dressed(law="gaussian"):
    recipe = WaveNet(layers=4, law=law, components=3, **SMALL)
    teacher = assemble(recipe, SCHEMA)
    caudal.initialize(teacher, *next(clips().ordered(12)))
    wild(teacher, 0.1)
    student_recipe = default_student(recipe, (1, FREE))
    return student_recipe, build_student(student_recipe, SCHEMA, teacher, 0), teacher


def learn(student, teacher, training, run=None):
    """Trains a student of sound on the same clips."""
    how = {"options": AudioDistillation(), "training": training, "out": run}
    return distill(student, teacher, clips(), clips(seed=1), **how)


def test_needs_clips():
    _, *flows = dressed()
    with pytest.raises(InputError, match="real clips: give them as `data`"):
        distill(*flows, options=AudioDistillation())


@pytest.mark.parametrize("law", ["gaussian", "logistics"])
def test_a_teacher_is_left_alone_while_gradients_pass_through_what_it_hears(law):
    _, student, teacher = dressed(law)
    before = copy.deepcopy(teacher.state_dict())
    loss = AudioTerms(student, teacher.requires_grad_(False), AudioDistillation())
    x, context = next(clips().ordered(6))
    total = loss(student, x, context)
    total.backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in parts_of(student.bijection)[0].parameters())
    for _, theirs in teacher.named_parameters():
        theirs.requires_grad_(True)
    training = Training(steps=4, batch_size=4, warmup=1, patience=0)
    fitted = learn(student, teacher, training)
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name
    record = fitted.history[-1]
    for name in ("kl", "entropy", "cross_entropy", "spectral"):
        assert math.isfinite(record[f"train_{name}"])
        assert math.isfinite(record[f"valid_{name}"])
    assert record["valid_kl"] == pytest.approx(
        record["valid_cross_entropy"] - record["valid_entropy"], rel=1e-4
    )
    weights = loss.weights
    assert record["valid"] == pytest.approx(
        sum(weight * record[f"valid_{name}"] for name, weight in weights.items()), rel=1e-5
    )
    assert ("regularization" in weights) == (law == "gaussian")


@pytest.mark.usefixtures("float64")
def test_gradients_of_the_divergence_are_right_through_the_teacher():
    student, teacher = pair()
    z = student.base.sample(1, length=6)
    weight = parts_of(student.bijection)[0].bijection.net.last.weight

    def loss():
        return conditional_kl(student, teacher, conditionals(student, z)).kl.sum()

    (gradient,) = torch.autograd.grad(loss(), weight)
    direction = torch.randn_like(weight)
    eps = 1e-5
    with torch.no_grad():
        weight.add_(eps * direction)
        above = loss()
        weight.sub_(2 * eps * direction)
        below = loss()
    slope = ((above - below) / (2 * eps)).item()
    assert (gradient * direction).sum().item() == pytest.approx(slope, rel=1e-5)


def test_the_contrast_is_taken_off():
    _, student, teacher = dressed()
    x, context = next(clips().ordered(6))
    options = AudioDistillation(kl=1.0, spectral=0.0, regularization=0.0, contrastive=0.3)
    loss = AudioTerms(student, teacher, options)
    total = loss(student, x, context)
    terms = loss.latest
    assert total.item() == pytest.approx((terms["kl"] - 0.3 * terms["contrastive"]).item())
    same = context[:1].expand(6, -1, -1)
    torch.manual_seed(0)
    loss(student, x, same)
    assert loss.latest["kl"].item() == pytest.approx(loss.latest["contrastive"].item(), rel=1e-4)
    with pytest.raises(InputError, match="two clips"):
        loss(student, x[:1], context[:1])


def test_a_last_clip_that_is_alone_has_no_contrast():
    _, student, teacher = dressed()
    x, context = next(clips().ordered(1))
    loss = AudioTerms(student, teacher, AudioDistillation(contrastive=0.3))
    with torch.no_grad():
        loss(student, x, context)
    assert loss.latest["kl"] == loss.latest["contrastive"]


def test_the_teacher_follows_to_the_precision_of_training():
    _, student, teacher = dressed()
    training = Training(steps=2, batch_size=4, patience=0, precision="64-true")
    fitted = learn(student, teacher, training)
    assert fitted.flow.base.like.dtype == torch.float64
    assert teacher.base.like.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kl": -1.0}, "`kl` -1.0: must be a number, at least 0"),
        ({"kl": 0.0, "spectral": 0.0}, "nothing to learn from"),
        ({"draws": 0}, "`draws` 0: must be a whole number, at least 1"),
    ],
)
def test_distillation_of_sound_refuses(options, message):
    with pytest.raises(InputError, match=message):
        AudioDistillation(**options)


def test_a_softmax_cannot_teach_and_a_student_neither():
    with pytest.raises(InputError, match="no slope to learn by"):
        default_student(WaveNet(law="softmax"), (1, FREE))
    with pytest.raises(InputError, match="one position at a time: it cannot teach; train wavenet"):
        default_student(ParallelWaveNet(), (1, FREE))


def test_students_pair_their_noise_with_their_teachers_law():
    found = default_student(
        WaveNet(law="logistics", layers=12, cycle=5, hop=64, channels=7), (1, FREE)
    )
    assert (found.noise, found.flows, found.hop) == ("logistic", (5, 5, 5, 12), 64)
    assert (found.channels, found.cycle) == (7, 5)
    assert default_student(WaveNet(), (1, FREE)).noise == "normal"


def test_magnitudes_are_those_of_scipy():
    from scipy.signal import stft

    x = torch.randn(2, 1, 512, dtype=torch.float64)
    found = magnitudes(x, 64)
    _, _, truth = stft(
        x[:, 0].numpy(), window="hann", nperseg=64, noverlap=48, boundary=None, padded=False
    )
    window = torch.hann_window(64, dtype=torch.float64)
    scale = (window.sum() / window.square().sum().sqrt()).item()
    np.testing.assert_allclose(found.numpy(), np.abs(truth) * scale, atol=1e-5)


def test_spectral_loss_knows_same_quiet_and_late_sounds():
    x = torch.randn(2, 1, 2048)
    assert spectral_loss(x, x).item() == pytest.approx(0, abs=1e-5)
    half = spectral_loss(x / 2, x).item()
    assert half == pytest.approx(0.5 + math.log(2), abs=0.02)
    assert spectral_loss(-x, x).item() == pytest.approx(0, abs=1e-5)  # phases do not count
    late = x.roll(1024, -1)
    assert spectral_loss(late, x, averaged=True) < 0.3 < spectral_loss(late, x)
    with pytest.raises(ValueError, match="shorter than all windows"):
        spectral_loss(x[..., :32], x[..., :32])


def test_spectral_loss_keeps_the_level_of_sounds_that_differ_at_random():
    """Where a difference of frames would have one of them 2.1 dB softer: at a gain of pi / 4."""
    x, y = torch.randn(2, 4, 1, 16_384)
    gains = torch.linspace(0.5, 1.5, 41)
    for averaged in (False, True):
        losses = torch.stack([spectral_loss(g * x, y, averaged=averaged) for g in gains])
        assert gains[losses.argmin()].item() == pytest.approx(1, abs=0.03)
    one, other = magnitudes(x, 256), magnitudes(y, 256)
    frames = torch.stack([(g * one - other).norm() for g in gains])
    assert gains[frames.argmin()].item() == pytest.approx(math.pi / 4, abs=0.03)


A1, A2 = 1.6, -0.81
"""An AR(2) process with poles of radius 0.9, driven by normal noise of deviation 1."""
DEVIATION = math.sqrt((1 - A2) / ((1 + A2) * ((1 - A2) ** 2 - A1**2)))
ENTROPY_RATE = 0.5 * math.log(2 * math.pi * math.e)


def process(n, length, seed):
    """Rows (n, 1, length) of deviation 1."""
    from scipy.signal import lfilter

    noise = np.random.default_rng(seed).standard_normal((n, length + 300))
    x = lfilter([1.0], [1.0, -A1, -A2], noise)[:, 300:]
    return torch.from_numpy(x / DEVIATION).float().unsqueeze(1)


def test_a_known_process_is_taught_and_learned():
    """The teacher reaches the entropy rate within 1 %, its student 0.05 nats a sample."""
    length = 64
    train, valid, test = (process(n, length, s) for s, n in enumerate((2000, 200, 1000)))
    torch.manual_seed(0)
    teacher = WaveNet(layers=2, cycle=2, channels=8).build(
        standardise=False
    )  # which sees four samples
    training = Training(steps=160, batch_size=32, lr=1e-2, validate_every=80, patience=0, ema=0.97)
    teacher = caudal.fit(teacher, train, valid, training=training, loss=nll_per_element).flow
    with torch.no_grad():
        given = -teacher.log_prob(test).mean() / length
    # In units in which the driving noise has deviation 1; what the first two samples add is known.
    first = 0.5 * math.log(2 * math.pi * math.e)
    second = first + 0.5 * math.log(1 - (A1 / (1 - A2)) ** 2)
    rate = ENTROPY_RATE - math.log(DEVIATION)
    truth = (first + second + (length - 2) * rate) / length
    assert abs(given.item() - truth) < 0.01 * ENTROPY_RATE
    torch.manual_seed(1)
    student = ParallelWaveNet(flows=(4, 4), cycle=4, channels=8).build(standardise=False)
    fitted = distill(
        student,
        teacher,
        Rows(train),
        Rows(valid),
        options=AudioDistillation(spectral=0.0),
        training=Training(
            steps=150, batch_size=16, lr=1e-2, validate_every=75, patience=0, ema=0.97
        ),
    )
    with torch.no_grad():
        z = student.base.sample(300, length=length)
        kl = conditional_kl(fitted.flow, teacher, conditionals(fitted.flow, z)).kl.mean()
    assert 0 <= kl.item() < 0.05


def test_terms_are_in_the_state_of_training(tmp_path):
    """A run of several terms that was stopped goes on as if it had not been."""
    recipe, _, teacher = dressed()
    histories = []
    for parts in ((8,), (4, 8)):
        student = build_student(recipe, SCHEMA, teacher, 0)
        for steps in parts:
            training = Training(
                steps=steps,
                batch_size=4,
                warmup=1,
                cosine=False,
                patience=0,
                validate_every=4,
            )
            path, resume = tmp_path / f"run{len(parts)}", steps != parts[0]
            fitted = learn(student, teacher, training, Run(path, recipe, SCHEMA, resume=resume))
        keep = ("step", "train_kl", "valid_kl", "valid")
        histories.append([{k: m.get(k) for k in keep} for m in fitted.history])
    assert histories[0] == histories[1]
