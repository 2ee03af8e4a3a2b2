"""Students of image flows: which they are, how they are dressed, what they learn."""

import math
from functools import cache
from types import SimpleNamespace

import pytest
import torch

import caudal
from caudal import Distillation, InputError, Training
from caudal.bijections import Flattened
from caudal.data import ImageSchema, Rows
from caudal.data.schema import Column
from caudal.losses import forward_kl
from caudal.modality import assemble
from caudal.model.students import usual_student
from caudal.recipes import (
    IAF,
    MADE,
    MAF,
    NSF,
    Glow,
    IResNet,
    MintNet,
    RealNVP,
    TarFlow,
    TarFlowIAF,
)
from caudal.training.checkpoint import load_model
from caudal.training.dressing import check_dressed_alike, undressed_pair
from caudal.training.run import Run
from caudal.training.student import build_student, check_student, default_student, students

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = (1, 4, 4)
PLAIN = ImageSchema(SHAPE, bits=4, pixels="centred")
KIND = Column("class", "categorical", low=0, high=1, step=1.0, categories=("a", "b"))
CLASSES = ImageSchema(SHAPE, bits=4, pixels="logit", context=(KIND,))
VARIATIONAL = ImageSchema(SHAPE, bits=4, pixels="centred", dequantization="variational")
ITERATED = IResNet(blocks=1, maps=4, scales=1)
MASKED = MAF(layers=2, hidden=(16,))
TOKENS = {"layers": 2, "depth": 1, "width": 8, "patch": 2}
CHANNELS = Glow(layers=2, maps=8, scales=1)
CHEAP = Training(steps=3, batch_size=32, validate_every=3, warmup=0)


def images(schema, n=200):
    """Ramps with noise, brighter in the second class."""
    generator = torch.Generator().manual_seed(0)
    ramp = torch.arange(4.0).expand(SHAPE) * 2
    label = torch.arange(n).remainder(2).float()[:, None]
    noise = torch.randn(n, *SHAPE, generator=generator) + 4 * label[:, :, None, None]
    pixels = (ramp + 2 + noise).round().clamp(0, schema.levels - 1)
    return Rows(pixels.to(torch.uint8), label if schema.context else None)


@cache
def teacher_of(recipe, schema, steps=20):
    torch.manual_seed(0)
    flow = assemble(recipe, schema)
    training = Training(steps=steps, batch_size=64, lr=5e-3, warmup=5)
    return caudal.fit(flow, images(schema), training=training).flow


def learn(recipe, student, schema, training, options=None, run=None):
    """The student, its objective, and what training came to."""
    teacher = teacher_of(recipe, schema)
    flow = build_student(student, schema, teacher, seed=1)
    options = options or Distillation(pool=1000)
    how = {"options": options, "training": training, "out": run}
    fitted = caudal.distill(flow, teacher, images(schema), **how)
    return flow, options.objective(flow, teacher), fitted


@pytest.mark.parametrize(
    ("recipe", "student", "schema"),
    [
        (ITERATED, CHANNELS, PLAIN),
        (ITERATED, RealNVP(maps=4, blocks=1, scales=1, batch_norm=False), CLASSES),
        (MASKED, IAF(2, (16,)), PLAIN),
        (MASKED, CHANNELS, CLASSES),
        (TarFlow(**TOKENS), TarFlowIAF(**TOKENS), CLASSES),
    ],
    ids=[
        "iresnet-glow",
        "iresnet-realnvp-classes",
        "maf-iaf",
        "maf-glow-classes",
        "tarflow-classes",
    ],
)
def test_a_student_of_images_approaches_its_teacher(recipe, student, schema):
    training = Training(steps=16, batch_size=64, lr=5e-3, warmup=2, validate_every=8)
    teacher = teacher_of(recipe, schema)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    flow, _, fitted = learn(recipe, student, schema, training, Distillation(pool=200))
    valid = [record["valid"] for record in fitted.history if "valid" in record]
    assert min(valid[1:]) < valid[0]
    assert fitted.history[-1]["train_forward"] < fitted.history[0]["train_forward"]
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    check_dressed_alike(flow, teacher)
    context = torch.tensor([[0.0], [1.0]]).repeat(10, 1) if schema.context else None
    samples = flow.sample(20, context)
    assert samples.shape == (20, *SHAPE)
    assert torch.equal(samples, samples.round().clamp(0, schema.levels - 1))
    assert flow.log_prob(samples, context).isfinite().all()


def test_flows_of_vectors_meet_as_vectors_and_learn_layer_by_layer():
    teacher = teacher_of(MASKED, PLAIN)
    student = build_student(IAF(2, (16,)), PLAIN, teacher, seed=1)
    pair = undressed_pair(student, teacher)
    assert [flow.event_shape for flow in pair] == [(16,), (16,)]
    _, objective, fitted = learn(MASKED, IAF(2, (16,)), PLAIN, CHEAP)
    assert set(objective.weights) == {"forward", "guide", "reverse"}
    assert math.isfinite(fitted.history[-1]["train_guide"])
    mixed = undressed_pair(build_student(CHANNELS, PLAIN, teacher, seed=1), teacher)
    assert [flow.event_shape for flow in mixed] == [SHAPE, SHAPE]
    assert isinstance(mixed[1].bijection, Flattened)


def test_the_divergence_of_undressed_flows_is_that_of_the_dressed_ones():
    teacher = teacher_of(MASKED, PLAIN)
    student = build_student(IAF(2, (16,)), PLAIN, teacher, seed=1).eval()
    objective = Distillation(pool=200).objective(student, teacher)
    train, _ = objective.rows(training=CHEAP)
    pair = student.continuous(), teacher.continuous()
    with torch.no_grad():
        undressed = forward_kl(objective.student, objective.teacher, train.x)
        x = objective.teacher.encode(train.x)
        dressed = forward_kl(*pair, teacher.continuous().decode(x.reshape(-1, *SHAPE)))
    assert undressed.item() == pytest.approx(dressed.item(), rel=1e-3)


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_a_closed_form_of_images(precision):
    training = Training(steps=3, batch_size=32, validate_every=3, warmup=0, precision=precision)
    flow, objective, fitted = learn(MADE((16,)), IAF(1, (16,)), PLAIN, training)
    assert objective.closed
    assert math.isfinite(fitted.history[-1]["train_closed"])
    dtype = torch.float64 if precision == "64-true" else torch.float32
    assert {p.dtype for p in flow.parameters()} == {dtype}


@pytest.mark.parametrize(
    ("recipe", "student"), [(MASKED, IAF(2, (16,))), (MASKED, CHANNELS)], ids=["iaf", "glow"]
)
def test_the_whole_student_is_saved(recipe, student, tmp_path):
    run = Run(tmp_path / "run", student, VARIATIONAL)
    flow, _, _ = learn(recipe, student, VARIATIONAL, CHEAP, run=run)
    again = load_model(run.path)
    assert all(torch.equal(again.flow.state_dict()[k], v) for k, v in flow.state_dict().items())
    assert "data" not in again.metadata


def test_the_pool_of_large_images_is_bounded_by_its_numbers():
    schema = ImageSchema((3, 32, 32), pixels="centred")
    teacher = assemble(NSF(1, 4), schema)
    student = build_student(NSF(1, 4), schema, teacher, seed=0)
    long = Training(epochs=1)
    assert Distillation().objective(student, teacher).pool_size(long) == (1 << 24) // 3072
    assert Distillation(pool=7000).objective(student, teacher).pool_size(long) == 7000
    vectors = [NSF(1, 4).build((3000,)) for _ in range(2)]
    assert Distillation().objective(*vectors).pool_size(long) == 100_000


def test_default_students_of_images():
    assert default_student(ITERATED, SHAPE) == Glow()
    assert default_student(MintNet(), (1, 5, 5)) == NSF()  # Glow halves images
    assert default_student(IResNet(), (16,)) == NSF()
    own = SimpleNamespace(name="own", scores="parallel", samples="sequential")
    assert default_student(own, (16,)) == NSF()
    assert default_student(MASKED, SHAPE) == IAF(2, (16,), MASKED.activation)
    assert {"glow", "nsf-image", "realnvp", "nice", "iaf", "nsf"} <= set(students(PLAIN))
    with pytest.raises(InputError, match="`student` maf: samples one position at a time; take ni"):
        check_student(MASKED, PLAIN)
    with pytest.raises(InputError, match="`student` iresnet: samples by iteration; take .*glow"):
        check_student(ITERATED, PLAIN)
    with pytest.raises(InputError, match="`student` wavenet: does not model such data; take"):
        check_student(caudal.recipes.WaveNet(), PLAIN)
    with pytest.raises(InputError, match="give `batch_norm=False`"):
        check_student(RealNVP(), PLAIN)


def test_couplings_learn_from_a_teacher_as_they_do_from_images():
    """A rate of 1e-2 and 64 images a step, not those of students whose layers pair up."""
    pixels = images(PLAIN, 60).x[:, 0].numpy() * 17
    model = caudal.train("tarflow", pixels, steps=1, **TOKENS, report=False)
    usual = usual_student(model, None)
    assert (usual.recipe.name, usual.training.lr, usual.training.batch_size) == ("glow", 1e-2, 64)
    paired = usual_student(model, "tarflow-iaf").training
    assert paired == Distillation.training
