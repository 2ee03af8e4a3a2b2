"""Guided samples: what the guided flow is, contexts that are withheld, and the commands."""

import json

import numpy as np
import pytest
import torch

import caudal
from cases import randomise
from caudal import InputError
from caudal.bijections import Autoregressive, by_sweeps
from caudal.cli import main
from caudal.data.images import ImageSchema
from caudal.elementwise.affine import soft_bound
from caudal.guided import guided
from caudal.nets import ColumnEmbedding, Withheld
from caudal.recipes import MAF, Glow, TarFlow, TarFlowIAF
from caudal.training.student import build_student

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"layers": 2, "depth": 1, "width": 8, "heads": 2}
OUTSIDE = r"`drop_context` 1.0: must be a number in \[0, 1\)"
KINDS = {
    "couplings": (TarFlow(**SMALL), (1, 4, 4)),
    "independent pixels": (TarFlow(**SMALL, couplings=0), (1, 4, 4)),
    "any order": (TarFlow(**SMALL, order="any"), (1, 4, 4)),
    "columns": (TarFlow(**SMALL), (3,)),
    "maf": (MAF(layers=2, hidden=(8,)), (3,)),
}


def conditional(recipe, shape, share=0.1):
    """A flow of three classes."""
    core = recipe.build(shape, (3,), standardise=False)
    embedding = Withheld(ColumnEmbedding([3]), share)
    flow = caudal.Flow(core.bijection, core.base, context_shape=(1,), embedding=embedding)
    return randomise(flow, 0.3).eval()


def drawn(flow, context):
    return flow.sample(len(context), context, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.usefixtures("float64")
def test_guidance_goes_from_the_flow_without_context_to_that_with_it_and_beyond(name):
    """By samples and by densities, which belong to each other."""
    flow, context = conditional(*KINDS[name]), torch.tensor([[0.0], [1.0], [2.0], [2.0]])
    x, nothing = drawn(flow, context), torch.full((4, 1), -1.0)
    for weight, given in ((0.0, context), (-1.0, nothing)):
        other = guided(flow, weight)
        torch.testing.assert_close(drawn(other, context), drawn(flow, given))
        torch.testing.assert_close(other.log_prob(x, context), flow.log_prob(x, given))
    further = guided(flow, 1.5)
    y = drawn(further, context)
    assert (y - x).abs().max() > 0.1
    with by_sweeps(further):
        torch.testing.assert_close(drawn(further, context), y)
    z, log_det = further.bijection.inverse(y[:1], flow.embed(context[:1]))
    jacobian = torch.autograd.functional.jacobian(
        lambda y: further.bijection.inverse(y, flow.embed(context[:1]))[0].flatten(), y[:1]
    )
    assert torch.linalg.slogdet(jacobian.flatten(1)).logabsdet.isclose(log_det[0])
    back, _ = further.bijection(z, flow.embed(context[:1]))
    torch.testing.assert_close(back, y[:1])


@pytest.mark.usefixtures("float64")
def test_mean_and_raw_scale_of_a_step_are_those_of_the_paper():
    flow = conditional(TarFlow(**SMALL | {"layers": 1}, map="affine", couplings=0), (1, 4, 4))
    context = torch.tensor([[1.0]])

    def first(flow, context):
        """The mean and the log-scale of the first pixel of the first patch."""
        layer = next(part for part in flow.modules() if isinstance(part, Autoregressive))
        ends = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)])
        x = layer(ends, flow.embed(context.expand(2, 1)))[0][:, 0, 0]
        return x[0], (x[1] - x[0]).log()

    at = [first(flow, c) for c in (context, torch.tensor([[-1.0]]))]
    means, scales = zip(*at, strict=True)
    raw = [alpha / (1 - alpha.abs() / 8) for alpha in scales]
    mean, scale = first(guided(flow, 2.0), context)
    assert mean.isclose(3 * means[0] - 2 * means[1])
    assert scale.isclose(soft_bound(3 * raw[0] - 2 * raw[1], 8.0))


def test_contexts_are_withheld_from_so_many_rows_in_training_alone():
    embedding, rows = Withheld(ColumnEmbedding([3, 2]), 0.25), torch.zeros(2000, 2)
    features = embedding(rows)
    gone = (features == embedding.without()).all(1)
    assert 0.2 < gone.float().mean() < 0.3
    assert torch.equal(features[~gone], embedding.embedding(rows)[~gone])
    assert torch.equal(embedding.eval()(rows), embedding.embedding(rows))
    with pytest.raises(ValueError, match="only categories can be withheld"):
        Withheld(ColumnEmbedding([3, 0]), 0.1)


def test_refuses_flows_that_cannot_be_guided():
    flow = TarFlow(**SMALL).build((1, 4, 4), (3,))
    with pytest.raises(InputError, match="learned with `drop_context`, such as 0.1"):
        guided(flow, 1.0)
    for recipe in (Glow(scales=1, layers=1, maps=4), TarFlowIAF(**SMALL)):
        with pytest.raises(InputError, match="that sample in steps.* its teacher can be guided"):
            guided(conditional(recipe, (1, 4, 4)), 1.0)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """80 images of three classes."""
    path = tmp_path_factory.mktemp("data") / "images.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (80, 4, 4), dtype=np.uint8)
    np.savez(path, images=pixels, labels=np.arange(80) % 3)
    return str(path)


def test_images_are_trained_and_sampled_with_guidance(labelled, tmp_path, capsys):
    run, out = str(tmp_path / "run"), str(tmp_path / "guided.npy")
    options = {"context": ["class"], "drop_context": 0.5, "pixel_noise": 0.5}
    training = {"steps": 2, "batch_size": 20, "lr": 1e-2}
    model = caudal.train("tarflow", labelled, out=run, **SMALL, **options, **training)
    randomise(model.flow, 0.1)
    model.save(run, overwrite=True)
    plain, strong = (model.sample(10, seed=1, guidance=w) for w in (0, 3))
    assert (plain != strong).any()
    assert (model.sample(10, seed=1) == plain).all()
    assert (model.sample(10, seed=1, guidance=3, denoise=True) != strong).any()
    student = build_student(TarFlowIAF(**SMALL), model.schema, model.flow, 0)
    assert student.embedding.share == 0
    asked = ["-n", "10", "--seed", "1", "--guidance", "3", "--out", out]
    assert main(["sample", run, *asked, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["guidance"] == 3
    assert "with guidance 3 these are no samples of the density" in " ".join(said.err.split())
    assert (caudal.load(run).sample(10, seed=1, guidance=3) == strong).all()
    assert main(["sample", run, "--guidance", "-1", "--out", out, "--overwrite"]) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"drop_context": 0.1}, "there are none: give `context`, such as class"),
        (
            {"drop_context": 1.0, "context": ["class"]},
            OUTSIDE,
        ),
    ],
)
def test_refuses_to_withhold_what_is_not_there(labelled, options, words):
    with pytest.raises(InputError, match=words):
        caudal.train("tarflow", labelled, **SMALL, steps=1, **options)


def test_a_schema_withholds_a_share_by_the_same_rule():
    with pytest.raises(InputError, match=OUTSIDE):
        ImageSchema((1, 4, 4), drop_context=1.0)
