"""Flows of any order: laws in each of them, exact conditionals, training, and the command line."""

import json
import warnings
from copy import deepcopy

import numpy as np
import pytest
import torch

import caudal
from cases import randomise
from caudal import InputError, Training
from caudal.base import Normal
from caudal.bijections import AnyOrder, Autoregressive, Correlate, copula
from caudal.cli import main
from caudal.conditionals import Line, conditionals
from caudal.conditioning import conditional_sample, sampling
from caudal.conditioning.completion import complete, completes, hidden_tokens
from caudal.data import Column, ImageSchema, TableSchema, hidden_pixels
from caudal.elementwise import Affine
from caudal.modality import assemble
from caudal.model import Model, exporting
from caudal.model.sampling import job
from caudal.nets import CausalTransformer
from caudal.recipes import TarFlow
from caudal.training.student import default_student

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"layers": 2, "depth": 1, "width": 8, "heads": 2}
ANY = TarFlow(**SMALL, order="any")
FACTOR = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.3, -0.5, 0.7]])
MEAN = torch.tensor([1.0, 2.0, 3.0])


def tokens_of(flow):
    return next(part for part in flow.modules() if isinstance(part, AnyOrder))


def correlated(features, context):
    """The tokens of a table: a correlation, which must go by the order too, and a layer."""
    first = randomise(Correlate(features, context, ordered=True))
    net = CausalTransformer(
        (features,), 2, width=8, heads=2, context=context, own=True, ordered=True
    )
    shape = (context,) if context else None
    layer = AnyOrder([first, Autoregressive(randomise(net, 0.3), Affine())], features)
    return caudal.Flow(layer, Normal((features,)), context_shape=shape).eval()


FLOWS = {
    "columns": lambda: (randomise(ANY.build((4,)), 0.2).eval(), None),
    "context": lambda: (correlated(4, 3), torch.randn(6, 3)),
    "correlated": lambda: (correlated(4, 0), None),
    "patches": lambda: (randomise(ANY.build((2, 4, 4), (3,)), 0.1).eval(), torch.randn(6, 3)),
}


@pytest.mark.parametrize("name", ["context", "correlated"])
@pytest.mark.usefixtures("float64")
def test_what_follows_from_an_order_is_worked_out_before_export(name):
    flow, rows = FLOWS[name]()
    flow = flow.in_order([2, 0, 3, 1])
    settled = deepcopy(flow)
    exporting.settle(settled)
    assert not any(isinstance(m, Correlate) and m.ordered for m in settled.modules())
    x = torch.randn(6, 4)
    torch.testing.assert_close(settled.log_prob(x, rows), flow.log_prob(x, rows))
    torch.testing.assert_close(settled.decode(x, rows), flow.decode(x, rows))
    free = {0: torch.export.Dim("rows")}
    inputs = (x,) if rows is None else (x, rows)
    shapes = tuple(free for _ in inputs)
    torch.export.export(settled, inputs, dynamic_shapes=shapes, strict=False)


@pytest.mark.filterwarnings("ignore")  # of the compiler, not ours
def test_a_flow_of_any_order_becomes_two_graphs(tmp_path):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="needs caudal[onnx]")
    recipe = TarFlow(layers=1, width=8, heads=2, map="affine", order="any")
    model = Model(assemble(recipe, TableSchema(tuple(Column(name, "real") for name in "ab"))))
    told = model.export(tmp_path / "m.onnx")
    assert told.difference < 1e-5
    x = torch.randn(9, 2)
    found = exporting.run(tmp_path / "m.onnx", {"x": x})
    torch.testing.assert_close(found, model.flow.log_prob(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.usefixtures("float64")
def test_laws_in_another_order(name):
    """Round trip, log-det, and a triangular Jacobian once tokens stand in their order."""
    flow, rows = FLOWS[name]()
    order = torch.randperm(tokens_of(flow).length)
    bijection = flow.in_order(order.tolist()).bijection
    x = torch.randn(6, *flow.event_shape)
    z, log_det = bijection.inverse(x, rows)
    back, log_det_back = bijection(z, rows)
    torch.testing.assert_close(back, x, atol=1e-9, rtol=0)
    torch.testing.assert_close(log_det_back, -log_det, atol=1e-9, rtol=0)
    one = None if rows is None else rows[:1]
    jacobian = torch.autograd.functional.jacobian(
        lambda v: bijection.inverse(v[None], one)[0].flatten(), x[0]
    ).reshape(x[0].numel(), -1)
    assert torch.linalg.slogdet(jacobian).logabsdet.isclose(log_det[0])
    places = _places(flow, order)
    in_order = jacobian[places][:, places].abs()
    size = len(places) // len(order)
    blocks = in_order.unflatten(0, (-1, size)).unflatten(2, (-1, size)).amax((1, 3))
    assert (blocks.triu(1) == 0).all()
    assert (blocks.tril(-1)[1:].amax(1) > 0).all()  # and each sees what is before it


def _places(flow, order):
    """The elements of an event by their tokens, which are in an order."""
    numbers = torch.arange(int(np.prod(flow.event_shape))).view(1, *flow.event_shape)
    if len(flow.event_shape) == 3:
        size = flow.event_shape[1] // int(len(order) ** 0.5)
        numbers = torch.nn.functional.unfold(numbers.double(), size, stride=size).long()
    return numbers[..., order].movedim(-1, 0).flatten()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["columns", "context"])
def test_some_tokens_have_their_density_without_the_others(name):
    """It is that of the whole in such an order, with the others integrated out."""
    flow, rows = FLOWS[name]()
    order, x = torch.tensor([2, 0, 3, 1]), torch.randn(6, 4)
    tokens, each = tokens_of(flow), order.expand(6, 4)
    whole, _ = flow.in_order(order.tolist()).bijection.inverse(x, rows)
    if name == "columns":
        x = flow.bijection.parts[-1].inverse(x)[0]  # which are standardised
    for k in range(5):
        z, _ = tokens.noise_of_first(x, each[:, :k], rows)
        torch.testing.assert_close(z, whole[:, order][:, :k])
    z, log_det = tokens.noise_of_first(x, each[:, :3], rows)
    log_p = log_det + Normal((3,)).log_prob(z)
    grid = torch.linspace(-60, 60, 24_001)
    line = x[:1].repeat(len(grid), 1)
    line[:, 1] = grid  # the last in this order
    seen = None if rows is None else rows[:1].expand(len(grid), -1)
    noise, log_det = tokens.noise_of_first(line, order.expand(len(grid), 4), seen)
    density = (log_det + Normal((4,)).log_prob(noise)).exp()
    assert torch.trapezoid(density, grid).log().isclose(log_p[0], atol=1e-4)


def test_each_row_has_an_order_of_its_own_in_training_which_the_seed_repeats():
    flow, x = randomise(ANY.build((5,))), torch.randn(1, 5).expand(64, 5)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(flow.log_prob(x))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert len(drawn[0].detach().unique()) > 30
    fixed = flow.in_order([4, 3, 2, 1, 0])
    assert fixed.training
    torch.testing.assert_close(fixed.log_prob(x), flow.eval().in_order([4, 3, 2, 1, 0])(x))


def test_training_is_resumed_to_the_bit(tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 3)).cumsum(1)
    asked = {"batch_size": 40, "report": False, "cosine": False, "warmup": 0, **SMALL}
    asked |= {"order": "any", "out": tmp_path / "run"}
    whole = caudal.train("tarflow", x, steps=8, **asked | {"out": None})
    caudal.train("tarflow", x, steps=4, **asked)
    again = caudal.train("tarflow", x, steps=8, resume=True, **asked)
    one, two = (model.flow.state_dict() for model in (whole, again))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (caudal.load(tmp_path / "run").log_prob(x) == whole.log_prob(x)).all()


@pytest.fixture(scope="module")
def table():
    """A flow of a table of three correlated columns, after some steps of training."""
    torch.manual_seed(0)
    x = torch.randn(4000, 3) @ FACTOR.T + MEAN
    flow = assemble(ANY, TableSchema(tuple(Column(name, "real") for name in "abc")))
    caudal.fit(flow, x, training=Training(steps=30, batch_size=250, lr=2e-3, seed=0))
    return flow.eval()


@pytest.mark.parametrize("known", [[0], [2], [0, 2], []])
def test_conditionals_are_those_of_the_gaussian_that_was_learned(table, known):
    n, free = 4000, [i for i in range(3) if i not in known]
    values = torch.tensor([2.5, 0.0, 1.5])
    mask = torch.tensor([i in free for i in range(3)]).expand(n, 3)
    x, account = conditional_sample(
        table, values.expand(n, 3), mask, generator=torch.Generator().manual_seed(0)
    )
    covariance = FACTOR @ FACTOR.T
    gain = covariance[free][:, known] @ torch.linalg.inv(covariance[known][:, known])
    mean = MEAN[free] + gain @ (values - MEAN)[known]
    inner = covariance[free][:, free] - gain @ covariance[known][:, free]
    assert (x[:, known] == values[known]).all()
    torch.testing.assert_close(x[:, free].mean(0), mean, atol=0.1, rtol=0)
    torch.testing.assert_close(x[:, free].T.cov().view(inner.shape), inner, atol=0.1, rtol=0)
    assert account.exact
    assert account.candidates == 1
    assert account.ess == account.acceptance == 1


def test_covariances_of_many_columns_are_held_in_pieces(monkeypatch):
    torch.manual_seed(0)
    flow, x, rows = correlated(4, 0), torch.randn(7, 4), []
    asked = tokens_of(flow), x, torch.rand(7, 4).argsort(1)
    whole = asked[0].noise_of_first(*asked[1:], None)
    monkeypatch.setattr(copula, "_NUMBERS", 2 * 16)
    torch.testing.assert_close(asked[0].noise_of_first(*asked[1:], None), whole)
    monkeypatch.setattr(sampling, "_NUMBERS", 3 * 16)
    recorded = lambda flow, x, *others: rows.append(len(x)) or complete(flow, x, *others)  # noqa: E731
    monkeypatch.setattr(sampling, "complete", recorded)
    conditional_sample(flow, x, x > 0)
    assert rows == [3, 3, 1]


def test_a_column_is_explained_with_all_others_before_it():
    """Its density given them, by an integral, is the last factor of the flow in such an order."""
    torch.manual_seed(3)
    flow = correlated(3, 0)
    x = flow.sample(5)
    lines = [Line(torch.linspace(-20, 20, 60).double(), 0.0)] * 3
    for column, found in enumerate(conditionals(flow, x, lines)):
        order = [*(i for i in range(3) if i != column), column]
        first = torch.tensor(order[:2]).expand(5, 2)
        z, log_det = tokens_of(flow).noise_of_first(x, first, None)
        expected = flow.in_order(order).log_prob(x) - log_det - Normal((2,)).log_prob(z)
        torch.testing.assert_close(found.log_prob.float(), expected, atol=0.02, rtol=0)


def test_a_gap_is_as_probable_as_its_flag_given_the_others(mixed):
    """The value and its flag come last, as where they are drawn given the others."""
    x = mixed.sample(3, generator=torch.Generator().manual_seed(0))
    lines = [
        Line(torch.arange(15).double(), 1.0),
        Line(torch.arange(3).double(), 1.0),
        Line(torch.linspace(-6, 8, 60).double(), 0.0, gaps=True),
    ]
    missing = conditionals(mixed, x, lines)[2].missing
    n, free = 1000, torch.tensor([False, False, True])
    generator = torch.Generator().manual_seed(0)
    for row, expected in zip(x, missing, strict=True):
        asked = row.nan_to_num(0.0).expand(n, 3), free.expand(n, 3)
        drawn, _ = conditional_sample(mixed, *asked, generator=generator)
        assert drawn[:, 2].isnan().double().mean().isclose(expected, atol=0.06, rtol=0)


@pytest.fixture(scope="module")
def mixed():
    """A flow of a count, a category with gaps and a number with gaps, which go together."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    count = rng.poisson(2.0, 10_000).astype(float)
    kind = np.where(count > 2, rng.integers(1, 3, 10_000), rng.integers(0, 2, 10_000))
    size = np.where(rng.random(10_000) < 0.3, np.nan, kind + rng.normal(size=10_000))
    columns = (
        Column("count", "integer", low=0.0, step=1.0),
        Column.of_categories("kind", (None, "b", "c"), "string"),
        Column("size", "real", missing=True),
    )
    flow = assemble(ANY, TableSchema(columns)).eval()
    x = torch.from_numpy(np.stack([count, kind.astype(float), size], 1)).float()
    caudal.initialize(flow, x)
    return flow


def test_values_in_steps_are_given_by_their_mass(mixed):
    """Rows of the flow that happen to have what is given are the truth; one order is as good."""
    pool = mixed.sample(60_000, generator=torch.Generator().manual_seed(5))
    truth = pool[(pool[:, 0] == 4), 1]
    n, values = 3000, torch.tensor([4.0, 0.0, 0.0])
    free = torch.tensor([False, True, True]).expand(n, 3)
    generator = torch.Generator().manual_seed(0)
    x, account = conditional_sample(mixed, values.expand(n, 3), free, generator=generator)
    for code in range(3):
        drawn, expected = ((rows == code).double().mean() for rows in (x[:, 1], truth))
        assert drawn.isclose(expected, atol=3.5 * 0.5 * (1 / n + 1 / len(truth)) ** 0.5, rtol=0)
    assert x[:, 2].isnan().any()
    assert account.candidates == 16
    assert account.ess > 0.9


def test_uneven_steps_take_more_draws(mixed):
    """A net that is not trained does not fill steps evenly: fewer of the draws count."""
    uneven = deepcopy(mixed)
    randomise(tokens_of(uneven).bijection.parts[1:], 0.2)
    pool = uneven.sample(20_000, generator=torch.Generator().manual_seed(1))
    truth = pool[(pool[:, 0] == 5) & (pool[:, 1] == 2), 2].isnan().double().mean()
    n, generator = 1500, torch.Generator().manual_seed(0)
    values, free = torch.tensor([5.0, 2.0, 0.0]), torch.tensor([False, False, True])
    x, account = conditional_sample(uneven, values.expand(n, 3), free.expand(n, 3),
                                    generator=generator)  # fmt: skip
    assert 16 < account.candidates <= 128
    assert x[:, 2].isnan().double().mean().isclose(truth, atol=0.03, rtol=0)


def test_gaps_are_filled_and_rows_differ_in_what_is_given(mixed):
    x = torch.tensor([[3.0, 0.0, 0.0], [3.0, 2.0, 0.0], [0.0, 1.0, 1.5], [-1.0, 1.0, 0.0]])
    x = x.repeat(100, 1)
    free = torch.tensor([[0, 1, 1], [0, 0, 1], [1, 0, 0], [0, 0, 1]]).bool().repeat(100, 1)
    gaps = torch.tensor([torch.nan, 0.0, torch.nan])
    generator = torch.Generator().manual_seed(0)
    drawn, account = conditional_sample(mixed, x, free, gaps=gaps, generator=generator)
    assert (drawn == x)[~free].all()
    assert drawn.isfinite().all()
    assert set(drawn[::4, 1].tolist()) == {1.0, 2.0}
    assert account.possible.tolist() == [True, True, True, False] * 100


def test_what_has_one_order_is_refused_others():
    plain = TarFlow(**SMALL).build((3,))
    assert not completes(plain)
    with pytest.raises(InputError, match="tarflow with `order='any'`"):
        plain.in_order([2, 1, 0])
    for order in ([0, 0, 2], [0.0, 1.0, 2.0], [0, "a", 2]):
        with pytest.raises(InputError, match=r"`order` must hold each of 0..2 once, got \[0"):
            ANY.build((3,)).in_order(order)
    with warnings.catch_warnings(action="error"):
        turned = ANY.build((3,)).in_order(torch.tensor([2, 0, 1]))
    assert tokens_of(turned).order.tolist() == [2, 0, 1]
    with pytest.raises(InputError, match="or a flow of any order"):
        conditional_sample(TarFlow().build((1, 4, 4)).eval(), *torch.zeros(2, 1, 1, 4, 4))
    on_circles = ANY.build_on_circles((3,), {0: (0.0, 1.0)})
    assert not completes(on_circles)  # whose angles come first


def test_its_student_has_one_order():
    assert "order" not in vars(default_student(ANY, (5,)))


# --- images -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A run of 4x4 images that are dark or bright throughout, in patches of 2x2."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    shades = rng.integers(0, 2, (400, 1, 1)) * 180 + rng.integers(0, 60, (400, 4, 4))
    images = shades.astype(np.uint8)
    np.save(folder / "images.npy", images[:3])
    asked = {"steps": 100, "batch_size": 50, "report": False, "patch": 2, **SMALL}
    caudal.train("tarflow", images, order="any", out=folder / "run", **asked | {"width": 16})
    return folder


def test_hidden_halves_are_drawn_given_the_others(pictures):
    model, images = caudal.load(pictures / "run"), np.load(pictures / "images.npy")
    for mask, drawn in (("bottom", slice(2, 4)), ("top", slice(0, 2))):
        made = model.sample(90, inpaint=images, mask=mask, seed=1)[..., 0]
        shown = np.resize(images, made.shape)
        rest = [i for i in range(4) if i not in range(4)[drawn]]
        assert (made[:, rest] == shown[:, rest]).all()
        agree = ((made[:, drawn] > 120) == (shown[:, drawn] > 120)).mean()
        assert agree > 0.9
        assert len(np.unique(made[::3], axis=0)) > 1


def test_patches_are_drawn_whole(pictures):
    flow = caudal.load(pictures / "run").flow
    free = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    free[0, 0, 1, 2] = True
    assert hidden_tokens(flow, free).nonzero()[:, 2:].tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]


def test_a_mask_is_a_word_a_picture_or_an_array(tmp_path):
    from PIL import Image

    schema = ImageSchema((1, 3, 4))
    assert hidden_pixels("right", schema).tolist() == [[False, False, True, True]] * 3
    assert hidden_pixels("top", schema)[:, 0].tolist() == [True, False, False]
    white = np.zeros((3, 4), np.uint8)
    white[1, 2] = 255
    Image.fromarray(white).convert("RGB").save(tmp_path / "mask.png")
    for mask in (str(tmp_path / "mask.png"), white > 0):
        assert hidden_pixels(mask, schema).nonzero() == (np.array([1]), np.array([2]))
    for mask, words in ((white.T, "array is 4x3, and the images are 3x4 gray"),
                        (white * 0, "hides no pixel"), ("none.png", "hide a half")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            hidden_pixels(mask, schema)


def test_a_mask_in_a_file_is_an_array_or_a_picture(tmp_path):
    from PIL import Image

    schema = ImageSchema((1, 4, 4))
    corner = np.zeros((4, 4), bool)
    corner[:2, :2] = True
    np.save(tmp_path / "corner.npy", corner)
    white = corner.astype(np.uint8) * 255
    Image.fromarray(white).save(tmp_path / "small.png")
    Image.fromarray(np.pad(white.repeat(2, 0).repeat(2, 1), 2)).save(tmp_path / "large.png")
    Image.fromarray(white[:3]).save(tmp_path / "odd.png")
    for name in ("corner.npy", "small.png", "large.png"):
        hidden = hidden_pixels(tmp_path / name, schema, crop=(8,), resize=(4,))
        assert (hidden == corner).all()
    strokes = np.full((4, 4, 4), 255, np.uint8)
    strokes[..., 3] = white
    Image.fromarray(strokes).save(tmp_path / "strokes.png")
    for mask, words in (("strokes.png", "hides every pixel, .*transparent counts as white"),
                        ("odd.png", "`mask` .*odd.png is 3x4, smaller than `crop` 8 8$"),
                        ("", "is no file")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            hidden_pixels(str(tmp_path / mask), schema, crop=(8,), resize=(4,))
    for mask, words in (("", "'' is no file"), ([[1], [0, 1]], "numbers or bools"),
                        (np.full((4, 4), np.nan), "has NaN"), (1, "is one number")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            hidden_pixels(mask, schema)
    with pytest.raises(InputError, match="top hides no pixel"):
        hidden_pixels("top", ImageSchema((1, 1, 4)))
    with pytest.raises(InputError, match="'' names no images"):
        caudal.data.open_images("")


def test_the_command_line_inpaints_and_says_what_it_draws(pictures, tmp_path, capsys):
    run, data = str(pictures / "run"), str(pictures / "images.npy")
    words = ["sample", run, "-n", "6", "--inpaint", data, "--mask", "left"]
    assert main([*words, "--out", str(tmp_path / "made.npy")]) == 0
    assert "8 of 16 pixels drawn given the others, exactly" in capsys.readouterr().out
    made = np.load(tmp_path / "made.npy")
    again = caudal.load(run).sample(6, inpaint=data, mask="left")
    assert (made.reshape(again.shape) == again).all()
    assert main([*words, "--json", "--out", str(tmp_path / "again.npy")]) == 0
    assert json.loads(capsys.readouterr().out)["inpaint"]["drawn"] == 8
    for extra, why in ((["--temperature", "0.5"], "leave --temperature out"),
                       (["--denoise"], "leave --denoise out")):  # fmt: skip
        assert main([*words, *extra, "--out", str(tmp_path / "no.npy")]) == 2
        assert why in capsys.readouterr().err
    assert main([*words[:-2], "--out", str(tmp_path / "no.npy")]) == 2
    assert "give both, or neither" in capsys.readouterr().err


def test_inpainted_images_have_their_own_labels(pictures, tmp_path):
    from PIL import Image

    for name, shade in (("bright", 200), ("dark", 20)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(10):
            image = np.full((4, 4), shade + i, np.uint8)
            Image.fromarray(image).save(tmp_path / "data" / name / f"{i}.png")
    asked = {"steps": 1, "batch_size": 8, "report": False, "patch": 2, "context": ["class"]}
    model = caudal.train("tarflow", str(tmp_path / "data"), order="any", **asked, **SMALL)

    def classes(images, **given):
        drawing = {"inpaint": images, "mask": "top", **given}
        (request,) = job(model, 12, 0, 1.0, 0.0, False, drawing).requests.each
        return request.context[:, 0].tolist()

    assert classes(str(tmp_path / "data")) == [0] * 10 + [1] * 2
    bare = str(pictures / "images.npy")
    assert classes(bare, given=["class=dark"]) == [1] * 12
    with pytest.raises(InputError, match="is given the class, which `inpaint` takes"):
        classes(bare)


@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_images_whose_labels_were_withheld_in_training_are_inpainted(guidance, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4), dtype=np.uint8)
    np.savez(path := str(tmp_path / "images.npz"), images=images, labels=np.arange(40) % 2)
    asked = {"steps": 1, "batch_size": 8, "report": False, "patch": 2, "context": ["class"]}
    model = caudal.train("tarflow", path, order="any", drop_context=0.3, **asked, **SMALL)
    made = model.sample(4, inpaint=path, mask="top", guidance=guidance)
    assert (made[:, 2:].reshape(4, 2, 4) == images[:4, 2:]).all()


def test_images_of_one_order_are_not_inpainted():
    images = np.zeros((40, 4, 4), np.uint8)
    model = caudal.train("tarflow", images, steps=1, batch_size=10, report=False, **SMALL)
    with pytest.raises(InputError, match="any order, which train as tarflow with `order`"):
        model.sample(2, inpaint=images, mask="top")
    for option, value in (("pixel_noise", 6.4), ("dequantization", "variational")):
        asked = {"steps": 1, "batch_size": 10, "report": False, "patch": 2, option: value, **SMALL}
        model = caudal.train("tarflow", images, order="any", **asked)
        with pytest.raises(InputError, match=f"goes with `{option}` .* was trained with {value}"):
            model.sample(2, inpaint=images, mask="top")


# --- tables -----------------------------------------------------------------------------------


def test_given_columns_are_exact_on_the_command_line(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)).cumsum(1)
    path, run, out = (str(tmp_path / name) for name in ("data.csv", "run", "out.csv"))
    text = "\n".join(",".join(f"{v:.5f}" for v in row) for row in x)
    (tmp_path / "data.csv").write_text(f"a,b,c\n{text}\n")
    words = ["train", "tarflow", "--data", path, "--order", "any", "--steps", "2", "--no-report"]
    words += ["--layers", "1", "--width", "8", "--batch-size", "64", "--out", run]
    assert main(words) == 0
    capsys.readouterr()
    words = ["sample", run, "-n", "5", "--given", "c=1", "--out", out]
    assert main(words) == 0
    assert "conditioned on c=1: exact draws" in capsys.readouterr().out
    assert [line.split(",")[2] for line in (tmp_path / "out.csv").read_text().split()[1:]] == [
        "1.00000"
    ] * 5
