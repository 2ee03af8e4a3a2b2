"""Any flow is a run: own embeddings, bases and bijections, stacked recipes, mixtures of flows."""

import math
from dataclasses import replace
from typing import Annotated, Literal

import pytest
import torch
from annotated_types import Ge
from torch import nn

import caudal
from caudal import Bijection, Chain, Flow, InputError, Run, Training
from caudal.base import Base, GaussianMixture, Normal, StudentT
from caudal.data import Column, ImageSchema, TableSchema
from caudal.dequantization import ImageDequantization
from caudal.model import Model
from caudal.recipes import MAF, NICE, NSF, RealNVP, Recipe, describe, rebuild
from caudal.recipes.registry import REGISTERED

pytestmark = pytest.mark.usefixtures("registry")
BRIEF = Training(steps=4, batch_size=32, validate_every=2)


class Pictures(nn.Module):
    """A context (B, 1, 8, 8) as 4 numbers."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(1, channels, 3, stride=2)
        self.out = nn.Linear(9 * channels, 4)

    def forward(self, context):
        return self.out(self.conv(context).relu().flatten(1))


class Sets(nn.Module):
    """A set of points (B, N, 2) as 4 numbers, in any order."""

    def __init__(self):
        super().__init__()
        self.each = nn.Linear(2, 4)

    def forward(self, context):
        return self.each(context).tanh().mean(1)


class Sequences(nn.Module):
    """A sequence of steps (B, 2, T) as 4 numbers, by a recurrent net."""

    def __init__(self):
        super().__init__()
        self.steps = nn.GRU(2, 4, batch_first=True)

    def forward(self, context):
        return self.steps(context.mT)[1][0]


class Turned(Bijection):
    """A rotation of two columns by an angle that is learned, from a start that is not saved."""

    def __init__(self, start):
        super().__init__()
        self.start = start
        self.angle = nn.Parameter(torch.zeros(()))

    def _turn(self, x, sign):
        c, s = torch.cos(self.start + self.angle), sign * torch.sin(self.start + self.angle)
        a, b = x.unbind(1)
        return torch.stack([c * a - s * b, s * a + c * b], 1), x.new_zeros(len(x))

    def forward(self, z, context=None):
        return self._turn(z, 1)

    def inverse(self, x, context=None):
        return self._turn(x, -1)


class OneOf(Base):
    """A mixture of flows, with weights that are learned."""

    def __init__(self, flows):
        super().__init__(flows[0].event_shape)
        self.flows = nn.ModuleList(flows)
        self.logits = nn.Parameter(torch.zeros(len(flows)))

    def log_prob(self, z):
        each = torch.stack([flow.log_prob(z) for flow in self.flows], 1)
        return (each + self.logits.log_softmax(0)).logsumexp(1)

    def sample(self, n, generator=None, length=None):
        of = torch.multinomial(self.logits.softmax(0), n, replacement=True, generator=generator)
        drawn = [flow.sample_with_log_prob(n, generator=generator)[0] for flow in self.flows]
        return torch.stack(drawn)[of, torch.arange(n)]


def builders():
    """A few functions that build flows, registered."""

    @caudal.recipe
    def seen(
        event_shape,
        context_shape=None,
        *,
        channels: Annotated[int, Ge(1)] = 2,
        net: Literal["cnn", "set", "rnn"] = "cnn",
    ):
        """A spline flow given pictures, sets or sequences."""
        inner = NSF(layers=1, hidden=8, blocks=1).build(event_shape, (4,), standardise=False)
        nets = {"cnn": lambda: Pictures(channels), "set": Sets, "rnn": Sequences}
        embedding = nets[net]()
        parts, base = inner.bijection, inner.base
        return Flow(parts, base, context_shape=context_shape, embedding=embedding)

    @caudal.recipe
    def turned(event_shape, context_shape=None, *, start: float = 0.5):
        return Flow(Turned(start), Normal(event_shape))

    @caudal.recipe
    def stacked(
        event_shape,
        context_shape=None,
        *,
        parts: tuple[Recipe, ...] = (RealNVP(layers=1, hidden=(8,)), MAF(layers=1, hidden=(8,))),
    ):
        flows = [part.build(event_shape, context_shape, standardise=False) for part in parts]
        chain = Chain([flow.bijection for flow in flows])
        return Flow(chain, flows[0].base, context_shape=context_shape)

    @caudal.recipe
    def one_of(
        event_shape,
        context_shape=None,
        *,
        each: Recipe = RealNVP(layers=1, hidden=(8,)),  # noqa: B008
        n: int = 2,
    ):
        flows = [each.build(event_shape, standardise=False) for _ in range(n)]
        return Flow(Chain([]), OneOf(flows))

    return seen, turned, stacked, one_of


def rows(shape, n=100):
    torch.manual_seed(0)
    x = torch.randn(n, 2) * 2 + 1
    return x if shape is None else (x, torch.randn(n, *shape))


def recipes():
    seen, turned, stacked, one_of = builders()
    return {
        "pictures": (seen(channels=3), (1, 8, 8)),
        "sets": (seen(net="set"), (5, 2)),
        "sequences": (seen(net="rnn"), (2, 5)),
        "bijection": (turned(start=0.7), None),
        "stacked": (stacked(), None),
        "stacked-given": (stacked((MAF(layers=1, hidden=(4,)), MAF(1, (8,)))), (2,)),
        "mixture": (one_of(n=3), None),
    }


@pytest.mark.parametrize(
    "name",
    ["pictures", "sets", "sequences", "bijection", "stacked", "stacked-given", "mixture"],
)
def test_any_flow_is_trained_resumed_and_loaded(name, tmp_path):
    recipe, shape = recipes()[name]
    data = rows(shape)
    torch.manual_seed(1)
    whole = caudal.fit(recipe.build((2,), shape), data, training=BRIEF)
    torch.manual_seed(1)
    half = replace(BRIEF, steps=2)
    caudal.fit(recipe.build((2,), shape), data, training=half, out=tmp_path / "run")
    again = Run(tmp_path / "run", resume=True)
    resumed = caudal.fit(recipe.build((2,), shape), data, training=BRIEF, out=again)
    assert resumed.history[-1]["step"] == 4
    assert "<html" in (tmp_path / "run" / "report.html").read_text("utf-8")
    assert math.isfinite(whole.best_valid)

    model = caudal.load(tmp_path / "run")
    assert model.recipe == recipe
    x, *context = data if shape else (data,)
    assert torch.equal(model.flow.log_prob(x, *context), resumed.flow.log_prob(x, *context))
    model.save(tmp_path / "copy")
    copied = caudal.load(tmp_path / "copy").flow
    assert torch.equal(copied.log_prob(x, *context), resumed.flow.log_prob(x, *context))
    assert copied.sample(3, *(c[0] for c in context)).shape == (3, 2)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ((MAF(1, (8,)), MAF(1, (4,)), NICE(hidden=(4,))), r"`hidden` was \[4\] and is \[8\]"),
        (
            (MAF(1, (4,)), NICE(hidden=(4,)), MAF(1, (4,))),
            r"`parts` was \['maf', 'maf', 'nice'\] and is",
        ),
    ],
)
def test_recipes_in_a_recipe_are_told_apart_by_place(others, said, tmp_path):
    *_, stacked, _ = builders()
    data = rows(None)
    run = stacked((MAF(1, (4,)), MAF(1, (4,)), NICE(hidden=(4,))))
    caudal.fit(run.build((2,)), data, training=BRIEF, out=tmp_path / "run")
    again = Run(tmp_path / "run", resume=True)
    with pytest.raises(InputError, match=f"cannot resume, {said}"):
        caudal.fit(stacked(others).build((2,)), data, training=BRIEF, out=again)


def test_a_function_becomes_a_recipe():
    seen, turned, stacked, one_of = builders()
    assert (seen.name, one_of.name, seen.__doc__) == ("seen", "one-of", seen.__doc__)
    with pytest.raises(InputError, match="`channels` 0: must be a whole number, at least 1"):
        seen(channels=0)
    nested = stacked((one_of(NSF(layers=1), 4), turned()))
    assert rebuild(describe(nested)) == nested


def test_what_is_no_builder_is_refused():
    with pytest.raises(InputError, match="first arguments must be event_shape"):
        caudal.recipe(lambda shape: None)
    with pytest.raises(InputError, match="its argument width needs a type"):
        caudal.recipe(lambda event_shape, context_shape=None, *, width=3: None)
    with pytest.raises(InputError, match=r"write \* before its argument width"):
        caudal.recipe(lambda event_shape, context_shape=None, width=3: None)


def test_a_strangers_file_says_what_is_missing(tmp_path):
    _, turned, stacked, _ = builders()
    Model(stacked((turned(),)).build((2,))).save(tmp_path / "run")
    del REGISTERED["turned"]
    with pytest.raises(InputError, match="unknown recipe 'turned': import test_any_flow, which"):
        caudal.load(tmp_path / "run")
    _, turned, stacked, _ = builders()
    assert caudal.load(tmp_path / "run").recipe == stacked((turned(),))


def test_values_that_a_file_cannot_name_are_refused(tmp_path):
    @caudal.recipe
    def scaled(event_shape, context_shape=None, *, factor: torch.Tensor | None = None):
        return Flow(Turned(0.0), Normal(event_shape))

    with pytest.raises(InputError, match=r"`scaled.factor` holds a Tensor, which a model file"):
        Model(scaled(factor=torch.ones(2)).build((2,))).save(tmp_path / "run")


def test_recipes_within_recipes_are_named_on_the_command_line(tmp_path):
    from caudal.cli import main

    _, _, stacked, _ = builders()
    data, out = tmp_path / "rows.csv", tmp_path / "run"
    lines = "\n".join(f"{a:.3f},{b:.3f}" for a, b in rows(None, 60).tolist())
    data.write_text(f"a,b\n{lines}\n")
    words = ["train", "stacked", "--data", str(data), "--out", str(out), "--no-report"]
    assert main([*words, "--parts", "maf", "--steps", "1", "--batch-size", "20"]) == 0
    assert caudal.load(out).recipe == stacked((MAF(),))
    assert main(["train", "--resume", "--out", str(out), "--steps", "2", "--no-report"]) == 0


def test_a_flow_by_hand_has_no_name(tmp_path):
    flow = Flow(Turned(0.0), Normal((2,)))
    with pytest.raises(InputError, match="no recipe has built this flow.*@caudal.recipe"):
        Model(flow)
    _, turned, *_ = builders()
    caudal.fit(flow, rows(None), training=BRIEF, out=Run(tmp_path, turned(start=0.0)))
    assert torch.equal(caudal.load(tmp_path).flow.log_prob(rows(None)), flow.log_prob(rows(None)))


# --- dressed ---------------------------------------------------------------------------------


def wrapped(base=Normal, **parts):
    """A recipe whose flow has a base, an embedding or a dequantisation of its own."""

    @caudal.recipe
    def whole(event_shape, context_shape=None):
        seen = (3,) if "embedding" in parts else context_shape
        core = RealNVP(layers=2, hidden=(8,)).build(event_shape, seen, standardise=False)
        given = {name: make(event_shape, context_shape) for name, make in parts.items()}
        return Flow(core.bijection, base(event_shape), context_shape=context_shape, **given)

    return whole()


NUMBERS = TableSchema(
    (Column("a", "real"), Column("b", "real"), Column("c", "real")), (Column("given", "real"),)
)
HOURS = Column("hour", "circular", low=0.0, high=24.0)
TINY = ImageSchema((1, 3, 4), context=(Column("class", "categorical", categories=("0", "1")),))


@pytest.mark.parametrize(
    "schema", [NUMBERS, replace(NUMBERS, columns=(*NUMBERS.columns, HOURS)), TINY]
)
def test_an_embedding_of_its_own_stays_in_the_dressed_flow(schema):
    recipe = wrapped(
        embedding=lambda event, context: nn.Sequential(nn.Linear(*context, 3), nn.Tanh())
    )
    flow = caudal.assemble(recipe, schema).eval()
    flow.log_prob(flow.sample(5, torch.ones(1)), torch.ones(1)).sum().backward()
    (name,) = (name for name, _ in flow.named_parameters() if name.endswith("embedding.0.weight"))
    assert flow.get_parameter(name).grad is not None
    caudal.initialize(flow, flow.sample(50, torch.ones(1)), torch.ones(50, 1))


def test_a_base_of_its_own_has_the_shape_of_the_images():
    images = replace(TINY, context=())
    heavy = caudal.assemble(wrapped(lambda shape: StudentT(shape, 3.0)), images)
    assert heavy.base.base.freedom == 3.0
    means = torch.arange(24.0).reshape(2, 12)
    modes = caudal.assemble(wrapped(lambda shape: GaussianMixture(means)), images).eval()
    z = modes.base.sample(6)
    assert z.shape == (6, 1, 3, 4)
    expected = GaussianMixture(means).log_prob(z.flatten(1))
    torch.testing.assert_close(modes.base.log_prob(z), expected)
    assert modes.sample(2).shape == (2, 1, 3, 4)
    assert modes.base.reshaped((12,)).means is modes.base.base.means


def test_what_cannot_stand_in_a_dressed_flow_is_refused():
    circles = TableSchema((*NUMBERS.columns, HOURS))
    with pytest.raises(InputError, match="whole has a base of its own, a StudentT, .* circles"):
        caudal.assemble(wrapped(StudentT), circles)
    pixels = wrapped(dequantization=lambda event, context: ImageDequantization(event, 8))
    for schema in (NUMBERS, TINY):
        with pytest.raises(InputError, match="whole has a `dequantization` of its own"):
            caudal.assemble(pixels, schema)


# --- by value --------------------------------------------------------------------------------

OTHERS = {
    "bound": (NSF(layers=1, hidden=8), NSF(layers=1, hidden=8, bound=5.0)),
    "activation": (
        RealNVP(layers=2, hidden=(8,)),
        RealNVP(layers=2, hidden=(8,), activation="tanh"),
    ),
    "prior": (NICE(hidden=(8,)), NICE(hidden=(8,), prior="normal")),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("known", [True, False], ids=["built", "by hand"])
@pytest.mark.parametrize("fitted", [True, False])
def test_a_recipe_that_differs_in_one_field_is_refused(name, known, fitted, tmp_path):
    recipe, other = OTHERS[name]
    flow = recipe.build((3,))
    if fitted:
        caudal.fit(flow, torch.randn(100, 3), training=BRIEF)
    if not known:
        flow.origin = None
    words = name if known else "is .* here and .* there"
    with pytest.raises(InputError, match=words):
        Model(flow, other).save(tmp_path / "run")
    with pytest.raises(InputError, match=words):
        caudal.fit(flow, torch.randn(100, 3), training=BRIEF, out=Run(tmp_path / "run", other))
    assert not (tmp_path / "run").exists()


def test_what_is_changed_after_building_is_refused(tmp_path):
    _, turned, *_ = builders()
    flow = turned().build((2,))
    flow.bijection.parts[0].start = 0.9
    with pytest.raises(InputError, match=r"bijection.parts.0.start is 0.9 here and 0.5 there"):
        caudal.fit(flow, rows(None), training=BRIEF, out=tmp_path / "run")
    flow = NSF(layers=1, hidden=8).build((2,), (3,))
    flow.embedding = nn.Softsign()
    with pytest.raises(InputError, match="embedding"):
        Model(flow).save(tmp_path / "run")


def test_settings_that_no_weight_shows_are_refused_by_the_scores(tmp_path):
    class Hidden(Turned):
        def __init__(self, start):
            super().__init__(0.0)
            self._start = start

        def _turn(self, x, sign):
            y, log_det = super()._turn(x, sign)
            return y * (1 + self._start) ** sign, log_det

    @caudal.recipe
    def hidden(event_shape, context_shape=None, *, start: float = 0.5):
        return Flow(Hidden(start), Normal(event_shape))

    flow = hidden().build((2,))
    flow.bijection.parts[0]._start = 3.0
    for save in (
        lambda: Model(flow).save(tmp_path / "run"),
        lambda: caudal.fit(flow, rows(None), training=BRIEF, out=tmp_path / "run"),
    ):
        with pytest.raises(InputError, match="a row gives .* here and .* there"):
            save()
