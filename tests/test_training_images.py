"""What training does with images: flips, bounded memory, decay, and a look on the way."""

import pytest
import torch
from sklearn.datasets import load_digits

import caudal
from caudal import InputError, NumericalError, initialize
from caudal.bijections import ZCA, Standardise
from caudal.data import ImageSchema, Rows
from caudal.data.source import Batch
from caudal.modality import assemble, modality
from caudal.recipes import MAF, NICE, Glow, RealNVP, find_recipe
from caudal.recipes.sizes import size_of
from caudal.report import PixelGaussian
from caudal.training import rows as training_rows
from caudal.training.fit import fit
from caudal.training.options import Training, make_optimizer
from caudal.training.rows import (
    calibration_rows,
    few_rows,
    flipped,
    hold_out,
    initial_rows,
    resident,
    within,
)
from caudal.training.validation import Validator

SCHEMA = ImageSchema((1, 4, 4), pixels="centred")
GRAY = ImageSchema((1, 28, 28), pixels="logit")


pytestmark = pytest.mark.usefixtures("one_thread")


def images(n, shape=SCHEMA.shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, *shape), generator=generator, dtype=torch.uint8)


def flow_of(schema=SCHEMA):
    torch.manual_seed(0)
    return assemble(Glow(layers=1, maps=3), schema)


def test_a_flip_is_a_mirror_image_or_the_image():
    torch.manual_seed(0)
    x = images(200, (3, 2, 4)).float()
    context = torch.arange(200.0)[:, None]
    found, beside = flipped(Batch(x, context))
    same = (found == x).flatten(1).all(1)
    mirrored = (found == x.flip(-1)).flatten(1).all(1)
    assert bool((same | mirrored).all())
    assert 70 < int(same.sum()) < 130
    assert beside is context


def test_flips_are_of_training_alone(monkeypatch):
    seen = []

    def loss(flow, x, context):
        seen.append((flow.training, x))
        return -flow.log_prob(x, context).mean()

    x = torch.zeros(64, 1, 4, 4, dtype=torch.uint8)
    x[..., 0] = 255  # the ink is left
    training = Training(steps=4, batch_size=16, flips=True, validate_every=2)
    fit(flow_of(), Rows(x), Rows(x), training=training, loss=loss)
    trained, validated = ([x for mode, x in seen if mode == which] for which in (True, False))
    assert all(0 < int((x[:, 0, 0, 0] == 0).sum()) < len(x) for x in trained)
    assert all(bool((x[..., 0] == 255).all()) for x in validated)


def test_flips_of_rows_are_refused():
    x = torch.randn(64, 3)
    flow = RealNVP(layers=2, hidden=(8,)).build((3,))
    with pytest.raises(InputError, match="`flips=True` mirrors images"):
        fit(flow, x, x, training=Training(steps=1, batch_size=16, flips=True))


def test_images_are_counted_by_their_numbers(monkeypatch):
    few = Rows(torch.zeros(2000, 3, 32, 32, dtype=torch.uint8))
    assert within(few, 10_000, 1 << 20) == 341
    assert within(few, 10_000, 1 << 10) == 256
    assert within(few, 100, 1 << 20) == 100
    assert within(Rows(torch.zeros(2000, 5000)), 2000, 1 << 10) == 2000  # vectors by their rows
    monkeypatch.setattr(training_rows, "_NUMBERS_TO_CALIBRATE", 400 * 3072)
    assert len(initial_rows(few, 0, flow_of()).x) == (1 << 22) // 3072
    assert len(calibration_rows(few, 0).x) == 400
    assert calibration_rows(few, 0).x.dtype == torch.uint8


def test_whitening_starts_from_more_images_than_an_image_has_numbers(monkeypatch):
    monkeypatch.setattr(training_rows, "_NUMBERS_TO_START", 1)
    monkeypatch.setattr(training_rows, "_FEW", 1)
    rows = Rows(images(1000))
    white = assemble(NICE(hidden=(4,), whiten=True), SCHEMA)
    plain = assemble(NICE(hidden=(4,)), SCHEMA)
    assert len(initial_rows(rows, 0, plain).x) == 1
    assert len(initial_rows(rows, 0, white).x) == 10 * 16
    assert few_rows(rows, white) == 1


def test_whitened_images_are_many_and_those_for_the_layers_behind_few(monkeypatch):
    seen = {}
    for kind in (ZCA, Standardise):

        def count(part, x, *_, kind=kind):
            seen.setdefault(kind, []).append(len(x))

        monkeypatch.setattr(kind, "observe", count)
    monkeypatch.setattr(training_rows, "_NUMBERS_TO_START", 16)
    monkeypatch.setattr(training_rows, "_FEW", 20)
    flow = assemble(MAF(layers=1, hidden=(4,)), ImageSchema((1, 4, 4), pixels="white"))
    fit(flow, images(1000), images(20), training=Training(steps=1, batch_size=8))
    assert seen == {ZCA: [160], Standardise: [20]}


def test_layers_behind_a_whitening_see_images_of_all_of_a_folder(monkeypatch):
    """Images of a folder come class by class: here each is darker than the next one."""
    brightness = []
    monkeypatch.setattr(ZCA, "observe", lambda *_, **__: None)
    monkeypatch.setattr(Standardise, "observe", lambda _, x, *__: brightness.append(x.mean(1)))
    flow = assemble(MAF(layers=1, hidden=(4,)), ImageSchema((1, 4, 4), pixels="white"))
    x = torch.arange(200.0)[:, None, None, None].expand(200, 1, 4, 4)
    initialize(flow, x, few=20)
    assert len(brightness[0]) == 20
    assert brightness[0].diff().min() > 0
    assert brightness[0][0] < 0 < brightness[0][-1]


@pytest.mark.parametrize("recipe", [RealNVP(norm="act"), MAF(layers=2, hidden=(8,))])
@pytest.mark.parametrize(("n", "nats"), [(100, 10.0), (1200, 2.0)])
def test_of_white_pixels_a_flow_begins_at_the_best_gaussian(recipe, n, nats):
    """Of few images their noise differs more, and both covariances are shrunk."""
    digits = torch.from_numpy((load_digits().images * 15.9).astype("uint8"))[:, None]
    schema = ImageSchema((1, 8, 8), pixels="white", alpha=1e-6)
    flow = assemble(recipe, schema).eval()
    initialize(flow, digits[:n].float())
    with torch.no_grad():
        mine = float(flow.log_prob(digits[1200:].float()).mean())
    gaussian = PixelGaussian.fit(None, Rows(digits[:n]), schema)
    assert mine == pytest.approx(float(gaussian.log_mass(digits[1200:]).mean()), abs=nats)


@pytest.mark.parametrize("name", ["nice", "realnvp", "iresnet", "residual-flow", "nsf-image"])
def test_recipes_of_images_have_sizes_of_which_the_small_one_is_small(name):
    def parameters(size):
        sized = {k: v for k, v in size_of(name, size, "images").items() if k != "optimizer"}
        flow = assemble(find_recipe(name)(**sized), GRAY)
        return sum(p.numel() for p in flow.parameters())

    assert parameters("small") < parameters("medium") < 20_000_000
    with pytest.raises(InputError, match="has no sizes"):
        size_of("nice", "small", "table")


@pytest.mark.parametrize("recipe", [RealNVP(), MAF(layers=1, hidden=(4,))])
def test_schemas_without_pixels_which_older_models_have_mean_logits(recipe):
    flows = [assemble(recipe, ImageSchema((1, 4, 4), pixels=name)) for name in (None, "logit")]
    assert flows[0].state_dict().keys() == flows[1].state_dict().keys()


def test_a_size_of_realnvp_keeps_batch_normalisation_that_was_asked_for():
    asked = {"size": "small", "steps": 1, "batch_size": 8, "report": False}
    for wanted, norm in ((True, "batch"), (False, "act")):
        model = caudal.train("realnvp", images(40).numpy()[:, 0], batch_norm=wanted, **asked)
        assert (model.recipe.norm, model.recipe.maps) == (norm, 8)


def test_gradients_of_usual_recipes_of_images_are_not_shortened_in_every_step():
    images = modality("images")
    assert [images.training(find_recipe(name))["clip"] for name in ("tarflow", "glow")] == [0, 0]


def test_images_too_large_to_whiten_keep_their_logits(monkeypatch):
    monkeypatch.setattr(ZCA, "most", 10)
    options = {"layers": 1, "hidden": (4,), "steps": 1, "report": False}
    assert caudal.train("maf", images(40).numpy()[:, 0], **options).schema.pixels == "logit"
    with pytest.raises(ValueError, match="at most 10 are whitened"):
        caudal.train("maf", images(40).numpy()[:, 0], pixels="white", **options)


def test_pixels_in_another_unit_are_told_from_broken_ones():
    with pytest.raises(NumericalError, match="pixels that are not whole numbers from 0 to 255"):
        fit(flow_of(), images(80) / 255, training=Training(steps=1, batch_size=16))


def test_bytes_stay_bytes():
    rows = Rows(images(100))
    assert all(part.x.dtype == torch.uint8 for part in hold_out(rows, 0))
    assert resident(rows, torch.zeros(())) is rows
    moved = resident(rows, torch.zeros((), device="meta"))
    assert moved.x.dtype == torch.uint8
    assert moved.x.device.type == "meta"


def test_arrays_of_bytes_are_images_too():
    training = Training(steps=3, batch_size=16)
    given = images(80)
    one = fit(flow_of(), given, training=training)
    two = fit(flow_of(), given.numpy(), training=training)
    three = fit(flow_of(), given.float(), training=training)
    assert one.best_valid == two.best_valid == three.best_valid


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_who_watches_sees_the_flow_as_it_is_validated(ema):
    seen, validated = {}, {}
    flow = flow_of()
    measure = Validator.measure

    def note(self):
        found = measure(self)
        validated[len(validated)] = [p.detach().clone() for p in self.engine.flow.parameters()]
        return found

    def watch(step):
        assert not flow.training
        torch.rand(7)  # draws what it likes
        seen[step] = [p.detach().clone() for p in flow.parameters()]

    training = Training(steps=11, batch_size=16, validate_every=2, ema=ema, patience=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Validator, "measure", note)
        fitted = fit(flow, images(200), images(40), training=training, watch=watch)
    assert list(seen) == [2, 4, 8, 11]
    for step, index in ((2, 0), (4, 1), (8, 3), (11, 5)):
        assert all(map(torch.equal, seen[step], validated[index]))
    alone = fit(flow_of(), images(200), images(40), training=training)
    assert [r["train"] for r in alone.history] == [r["train"] for r in fitted.history]
    assert alone.best_valid == fitted.best_valid


def test_weight_normalised_matrices_decay_by_their_gain():
    flow = assemble(RealNVP(maps=2, blocks=1, scales=1), SCHEMA)
    decaying, others = (
        g["params"] for g in make_optimizer(flow, Training(weight_decay=1.0)).param_groups
    )
    names = {id(p): name for name, p in flow.named_parameters()}
    decaying, others = ({names[id(p)] for p in group} for group in (decaying, others))
    gains = {name for name in names.values() if name.endswith("original0")}
    directions = {name for name in names.values() if name.endswith("original1")}
    assert gains
    assert gains <= decaying
    assert directions <= others
    assert {name for name in names.values() if name.endswith("last.weight")} <= decaying
    assert {name for name in names.values() if name.endswith("bias")} <= others


@pytest.mark.parametrize(("side", "tails"), [(32, (1 << 20) // (3 * 32 * 32)), (64, 256)])
def test_a_validation_of_many_images_is_within_memory(side, tails):
    """Of few rows the share in tails would be a rough one, so at least 256 of them are taken."""

    class Engineless:
        training = Training()
        like = torch.zeros(())
        flow = torch.nn.Identity()
        tells_rows = True

    elements = 3 * side * side
    large = Rows(torch.zeros(1400, 3, side, side, dtype=torch.uint8))
    validator = Validator(Engineless(), large, large)
    assert len(validator._tails.x) == tails
    assert validator.batch_size == (1 << 20) // elements
    assert len(validator._calibration.x) == min(1400, (1 << 24) // elements)
    assert len(validator._precise.x) <= (1 << 18) // elements
