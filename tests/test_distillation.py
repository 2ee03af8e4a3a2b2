"""Distillation against closed forms: divergences, gradients, guidance, files."""

import copy

import pytest
import torch

import caudal
from cases import randomise
from caudal import Chain, Distillation, Flow, InputError, Inverse, Training, recipes
from caudal.base import Normal
from caudal.bijections import Autoregressive, LULinear, Standardise
from caudal.elementwise import Affine
from caudal.losses import Guide, divergence, forward_kl, gaussian_kl, pairs_up, reverse_kl
from caudal.nets import MADE
from caudal.recipes import IAF, MAF, NSF, RealNVP
from caudal.training import sample_terms
from caudal.training.checkpoint import load_model
from caudal.training.dressing import check_dressed_alike, dress_as, undressed
from caudal.training.run import Run

pytestmark = pytest.mark.usefixtures("float64")
D = 4


def gaussian(seed):
    """A correlated Gaussian as a flow, and as torch knows it."""
    torch.manual_seed(seed)
    flow = randomise(Flow(LULinear(D), Normal((D,))), 0.3).requires_grad_(False)
    jacobian = torch.autograd.functional.jacobian(flow.decode, torch.zeros(1, D))[0, :, 0]
    mean = flow.decode(torch.zeros(1, D))[0]
    return flow, torch.distributions.MultivariateNormal(mean, jacobian @ jacobian.T)


def iaf(layers=1, width=16):
    """A chain of inverse affine layers, all in the same order."""
    return [Inverse(Autoregressive(MADE(D, 2, (width,)), Affine())) for _ in range(layers)]


def learn(student, teacher, training, options, contexts=None, run=None):
    """Trains a student on a pool of its teacher's samples."""
    data = None if contexts is None else (contexts.new_zeros(len(contexts), D), contexts)
    return caudal.distill(student, teacher, data, options=options, training=training, out=run)


def made():
    return randomise(Flow(Autoregressive(MADE(D, 2, (16,)), Affine()), Normal((D,))), 0.1)


def test_gaussian_kl_is_the_closed_form_of_torch_and_finite_at_tiny_scales():
    mean_q, log_q, mean_p, log_p = torch.randn(4, 100)
    q = torch.distributions.Normal(mean_q, log_q.exp())
    p = torch.distributions.Normal(mean_p, log_p.exp())
    truth = torch.distributions.kl_divergence(q, p)
    torch.testing.assert_close(gaussian_kl(mean_q, log_q, mean_p, log_p), truth)
    assert not gaussian_kl(mean_q, log_q, mean_q, log_q).any()
    tiny = torch.tensor(-14.0, dtype=torch.float32)
    zero = torch.zeros((), dtype=torch.float32)
    assert gaussian_kl(zero, tiny, zero, tiny + 0.1).isfinite()


def test_divergences_of_two_gaussians_are_the_known_ones():
    (student, q), (teacher, p) = gaussian(1), gaussian(2)
    torch.manual_seed(0)
    n = 40_000
    reverse, forward = (
        torch.distributions.kl_divergence(q, p),
        torch.distributions.kl_divergence(p, q),
    )
    x = teacher.sample(n)
    ratios = teacher.log_prob(x) - student.log_prob(x)
    assert abs(forward_kl(student, teacher, x) - forward) < 3 * ratios.std() / n**0.5
    estimates = torch.stack([reverse_kl(student, teacher, 4000) for _ in range(10)])
    assert abs(estimates.mean() - reverse) < 3 * estimates.std() / 10**0.5


@pytest.mark.parametrize("layers", [1, 3])
def test_the_closed_form_is_what_sampling_estimates(layers, monkeypatch):
    student, teacher = randomise(Flow(Chain(iaf(layers)), Normal((D,))), 0.1), made()
    assert divergence.has_gaussian_conditionals(student, teacher)
    with torch.no_grad():
        closed = torch.stack([reverse_kl(student, teacher, 4000) for _ in range(10)])
        monkeypatch.setattr(divergence, "has_gaussian_conditionals", lambda *_: False)
        sampled = torch.stack([reverse_kl(student, teacher, 4000) for _ in range(10)])
    error = torch.hypot(closed.std(), sampled.std()) / 10**0.5
    assert abs(closed.mean() - sampled.mean()) < 3 * error
    assert closed.std() < sampled.std()  # that is what it is for


def test_a_student_with_the_teachers_law_is_at_zero():
    student, teacher = Flow(Chain(iaf()), Normal((D,))), Flow(made().bijection, Normal((D,)))
    with torch.no_grad():
        for parameter in (*student.parameters(), *teacher.parameters()):
            parameter.zero_()
        mean, raw = torch.randn(2, D)
        alpha = raw / (1 + raw.abs() / 8)
        net, given = student.bijection.parts[0].bijection.net, teacher.bijection.net
        net.last.bias.copy_(torch.stack([mean, raw], 1).flatten())
        given.last.bias.copy_(torch.stack([-mean * (-alpha).exp(), -raw], 1).flatten())
        assert abs(reverse_kl(student, teacher, 100)) < 1e-14
        assert abs(forward_kl(student, teacher, teacher.sample(100))) < 1e-14


def gradient(loss, flow):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(flow.parameters()))])


def test_the_path_gradient_vanishes_at_the_teacher_and_agrees_elsewhere():
    teacher = randomise(NSF(layers=1, hidden=8, blocks=1).build((D,), standardise=False), 0.2)
    student = copy.deepcopy(teacher)
    teacher.requires_grad_(False)
    assert gradient(reverse_kl(student, teacher, 50, path=True), student).abs().max() < 1e-10
    assert gradient(reverse_kl(student, teacher, 50), student).abs().max() > 1e-3
    randomise(student, 0.05)
    draws = [
        torch.stack(
            [gradient(reverse_kl(student, teacher, 2000, path=p), student) for _ in range(9)]
        )
        for p in (True, False)
    ]
    error = torch.hypot(draws[0].std(0), draws[1].std(0)) / 3
    assert ((draws[0].mean(0) - draws[1].mean(0)).abs() <= 4.5 * error + 1e-9).all()


def test_gradients_reach_the_student_through_the_teacher_and_stop_there():
    teacher, student = MAF(2, (8,)).build((D,)).eval(), IAF(2, (8,)).build((D,))
    randomise(teacher)
    teacher.requires_grad_(False)
    x, log_q = student.sample_with_log_prob(20)
    through = torch.autograd.grad(
        -teacher.log_prob(x).sum(), student.bijection.parts[0].bijection.net.last.bias
    )
    assert through[0].abs().max() > 0
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    learn(student, teacher, Training(steps=3, batch_size=20), Distillation(pool=200))
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert all(not p.requires_grad for p in teacher.parameters())


def test_samples_in_the_void_neither_drown_nor_spoil_the_others():
    student = Flow(Chain(iaf()), Normal((D,)))

    class Cliff(Flow):
        def log_prob(self, x, context=None, generator=None):
            void = -(x[:, 0] * 1e200).square()  # minus infinity, or with it NaN
            return torch.where(x[:, 0] > 0, void + void * 0, -x.square().sum(1))

    teacher = Cliff(LULinear(D), Normal((D,)))
    loss = reverse_kl(student, teacher, 100, tail=10.0)
    assert loss.isfinite()
    assert gradient(loss, student).isfinite().all()


@pytest.mark.parametrize("path", [False, True])
def test_any_function_that_gives_log_densities_is_a_target(path):
    """Its divergences and their gradients are those of a flow of the same density."""
    teacher = randomise(RealNVP(2, (8,), batch_norm=False).build((D,), (2,)), 0.1).eval()
    student = randomise(IAF(2, (8,)).build((D,), (2,)), 0.1)
    teacher.requires_grad_(False)
    context, results = torch.randn(50, 2), []
    x = teacher.sample(50, context)
    for target in (teacher, teacher.log_prob, lambda x, c: teacher.log_prob(x, c)):
        torch.manual_seed(1)
        reverse = reverse_kl(student, target, 50, context, path=path)
        forward = forward_kl(student, target, x, context)
        results.append(torch.cat([gradient(reverse + forward, student), reverse[None]]))
    for other in results[1:]:
        assert torch.equal(other, results[0])


def test_a_target_is_an_energy_too():
    student = randomise(Flow(Chain(iaf()), Normal((D,))), 0.1)
    normal = torch.distributions.Normal(torch.zeros(D), 1.0)
    torch.manual_seed(1)
    by_function = reverse_kl(student, lambda x: normal.log_prob(x).sum(-1), 100)
    torch.manual_seed(1)
    identity = Flow(LULinear(D), Normal((D,)))
    torch.testing.assert_close(by_function, reverse_kl(student, identity, 100))
    with pytest.raises(InputError, match=r"must be a tensor of one number a row, got shape"):
        reverse_kl(student, normal.log_prob, 100)


def test_guidance_is_zero_for_the_same_maps_and_needs_pairs():
    teacher = MAF(2, (8,)).build((D,)).eval()
    student = IAF(2, (8,)).build((D,))
    student, teacher = undressed(student), undressed(teacher)
    assert pairs_up(student, teacher)
    deeper = undressed(IAF(3, (8,)).build((D,)))
    assert not pairs_up(deeper, teacher)
    assert not pairs_up(undressed(RealNVP(2, (8,), batch_norm=False).build((D,))), teacher)
    x = torch.randn(50, D)
    assert Guide(student, teacher)(x) < 1e-8  # both at the identity, but for BatchNorm's epsilon
    randomise(teacher)
    assert Guide(student, teacher)(x) > 1e-2
    with pytest.raises(ValueError, match="do not pair up"):
        Guide(deeper, teacher)


def test_a_student_reaches_a_known_gaussian():
    teacher, p = gaussian(3)
    torch.manual_seed(0)
    student = IAF(2, (16,)).build((D,), standardise=False)
    training = Training(steps=150, batch_size=128, lr=1e-2, validate_every=50)
    learn(student, teacher, training, Distillation(pool=4000))
    x = student.sample(20_000)
    ratios = student.log_prob(x) - p.log_prob(x)
    assert ratios.mean() < 0.01 * D


def test_the_teacher_draws_no_more_than_training_sees_or_a_quarter_of_its_minutes(monkeypatch):
    teacher, student = MAF(1, (8,)).build((D,)).eval(), IAF(1, (8,)).build((D,))
    objective = Distillation().objective(student, teacher)
    assert objective.pool_size(Training(steps=30, batch_size=20)) == 600
    assert objective.pool_size(Training(steps=1, batch_size=20)) == 256  # for its statistics
    assert objective.pool_size(Training(steps=5000)) == 100_000
    learned, held_out = objective.rows(training=Training(steps=30, batch_size=20))
    assert (learned.n_rows, held_out.n_rows) == (600, 60)
    monkeypatch.setattr(sample_terms, "_pace", lambda draw, most, seconds: 110.0)  # a second
    assert objective.pool_size(Training(minutes=2)) == 3000  # 30 seconds with those that validate
    assert objective.pool_size(Training(minutes=2, devices=2)) == 100_000


def test_the_pace_of_a_teacher_is_that_of_its_largest_lot(monkeypatch):
    clock, lots = [0.0], []

    def draw(n):
        lots.append(n)
        clock[0] += 10 + n / 100  # the first one compiles

    monkeypatch.setattr(sample_terms.time, "monotonic", lambda: clock[0])
    assert sample_terms._pace(draw, 1000, 100.0) == pytest.approx(32 / 10.32)
    assert lots == [8, 32]
    assert sample_terms._pace(draw, 1000, 1e9) == pytest.approx(1000 / 20)
    assert lots[2:] == [8, 32, 128, 512, 1000]


def test_what_is_left_behind_is_the_whole_student(tmp_path):
    def dressed(core):
        dressing = Standardise((D,))
        dressing.observe(3 + 2 * torch.randn(100, D, generator=torch.Generator().manual_seed(1)))
        return Flow(Chain([core.bijection, dressing]), core.base)

    core = MAF(1, (8,)).build((D,), standardise=False)
    teacher = randomise(dressed(core).eval(), 0.0).eval()
    recipe = IAF(1, (8,))
    student = dressed(recipe.build((D,), standardise=False))
    dress_as(student, teacher)
    check_dressed_alike(student, teacher)
    assert not any(isinstance(m, Standardise) for m in undressed(teacher).modules())
    training = Training(steps=4, batch_size=20, validate_every=2)
    options = training, Distillation(pool=200)
    with pytest.raises(InputError, match="not the teacher's"):
        learn(recipe.build((3,)), teacher, *options)
    with pytest.raises(InputError, match="not dressed alike"):
        learn(recipe.build((D,), standardise=False), teacher, *options)
    with pytest.raises(InputError, match="takes no contexts"):
        learn(student, teacher, *options, torch.zeros(3, 1))
    learn(student, teacher, *options)
    bare = recipe.build((D,), standardise=False).double()
    learn(bare, undressed(teacher), *options, run=Run(tmp_path / "s", recipe))
    again = load_model(tmp_path / "s").flow
    x = torch.randn(5, D)
    assert torch.equal(again.log_prob(x), bare.log_prob(x))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"forward": -1.0}, "`forward` -1.0"),
        ({"tail": 0.0}, "`tail` 0.0"),
        ({"pool": 3}, "`pool` 3"),
        ({"reverse": float("nan")}, "`reverse` nan"),
    ],
)
def test_refuses_weights_that_are_none(options, words):
    with pytest.raises(InputError, match=words):
        Distillation(**options)


def test_refuses_to_learn_from_nothing():
    nothing = Distillation(forward=0, guide=0, reverse=0)
    with pytest.raises(InputError, match="nothing to learn from"):
        nothing.objective(NSF(1, 8).build((D,)), MAF(1, (8,)).build((D,)))


def test_rows_that_the_student_cannot_score_are_left_out():
    teacher = Flow(LULinear(D), Normal((D,)))
    student = randomise(Flow(Chain(iaf()), Normal((D,))), 0.1)
    x = torch.randn(20, D)
    alone = forward_kl(student, teacher, x)
    far = torch.cat([x, torch.full((1, D), 1e300)])
    together = forward_kl(student, teacher, far)
    torch.testing.assert_close(together, alone)
    assert gradient(together, student).isfinite().all()


@pytest.mark.parametrize(
    ("contexts", "words"),
    [
        (torch.full((5, 1), torch.nan), "context has a NaN or infinite value"),
        (torch.zeros(0, 1), "has no values"),
        (None, "is conditional: give contexts"),
    ],
)
def test_refuses_contexts_that_cannot_be_asked_with(contexts, words):
    flows = IAF(1, (8,)).build((D,), (1,)), MAF(1, (8,)).build((D,), (1,))
    data = None if contexts is None else (torch.zeros(len(contexts), D), contexts)
    with pytest.raises(InputError, match=words):
        caudal.distill(*flows, data, options=Distillation(pool=300), training=Training())


def test_a_pair_alone_is_enough():
    flows = IAF(1, (8,)).build((D,)), randomise(MAF(1, (8,)).build((D,)).eval())
    training = Training(steps=2, batch_size=20)
    fitted = caudal.distill(*flows, training=training)
    assert fitted.flow is flows[0]
    assert "train_forward" in fitted.history[-1]


def terms_of(record, prefix):
    return {name for name in record if name.startswith(prefix)}


@pytest.mark.parametrize(
    ("recipe", "options", "trained", "valid"),
    [
        (MAF(1, (8,)), {}, {"forward": 1, "guide": 1, "reverse": 0.1}, ("forward", "reverse")),
        (MAF(1, (8,)), {"forward": 0, "guide": 0}, {"reverse": 0.1}, ("forward", "reverse")),
        (recipes.MADE((8,)), {}, {"closed": 1}, ("forward", "closed")),
    ],
)
def test_terms_are_logged_one_by_one(recipe, options, trained, valid):
    flows = IAF(1, (8,)).build((D,)), randomise(recipe.build((D,)).eval())
    training = Training(steps=4, batch_size=20, validate_every=2)
    first, *_, last = learn(*flows, training, Distillation(pool=200, **options)).history
    assert terms_of(first, "train_") == {f"train_{name}" for name in trained}
    assert terms_of(last, "valid_") == {f"valid_{name}" for name in valid}
    total = sum(weight * first[f"train_{name}"] for name, weight in trained.items())
    assert first["train"] == pytest.approx(total)
    assert last["valid"] == pytest.approx(sum(last[f"valid_{name}"] for name in valid))
