"""Flows fitted to plain tensors, and to densities, leave runs like any other: with a page."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import caudal
from caudal.errors import InputError
from caudal.modalities.tensors import NO_TEST
from caudal.recipes import NSF, Recipe
from caudal.recipes.registry import REGISTERED

pytestmark = pytest.mark.usefixtures("one_thread")

BRIEF = caudal.Training(steps=6, batch_size=50, validate_every=2)
SMALL = NSF(layers=1, hidden=8, blocks=1)


def rows(n=300):
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(n, 1, 3, 3, generator=generator)
    return pictures.mean((1, 2, 3))[:, None] + torch.randn(n, 2, generator=generator), pictures


class Read(nn.Module):
    """A context of pictures (B, 1, 3, 3) as 2 numbers."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))

    def forward(self, context):
        return self.net(context)


@pytest.fixture(scope="module")
def read():
    """A recipe of one's own, of flows given pictures."""
    before = dict(REGISTERED)

    @caudal.recipe
    def read(event_shape, context_shape=None, *, flow: Recipe = SMALL):
        """A flow given pictures."""
        inner = flow.build(event_shape, (2,), standardise=False)
        parts = inner.bijection, inner.base
        return caudal.Flow(*parts, context_shape=context_shape, embedding=Read())

    yield read
    REGISTERED.clear()
    REGISTERED.update(before)


@pytest.fixture(scope="module")
def run(read, tmp_path_factory):
    out = tmp_path_factory.mktemp("fitted") / "run"
    x, pictures = rows()
    test = (x[:60] + 1, pictures[:60])
    flow = read().build((2,), (1, 3, 3))
    caudal.fit(flow, (x, pictures), test=test, training=BRIEF, out=out)
    return out


def test_a_run_of_tensors_has_all_that_runs_have(run):
    names = {"config.yaml", "eval.json", "metrics.jsonl", "model.safetensors", "report.html"}
    assert names <= {path.name for path in run.iterdir()}
    pictures = {"curves.png", "marginals.png", "pairs.png"}
    assert pictures <= {path.name for path in (run / "pictures").iterdir()}
    found = json.loads((run / "eval.json").read_text())
    assert found["rows"] == 60
    assert found["gain"] == pytest.approx(found["log_prob"] - found["gaussian_log_prob"], abs=1e-6)
    page = (run / "report.html").read_text()
    assert "plain tensors" in page
    assert "caudal train" not in page  # no command makes it
    assert "No test rows were given" not in page


def test_it_speaks_of_tensors_when_it_is_loaded(run):
    x, pictures = rows()
    with pytest.raises(InputError, match="holds no data"):
        caudal.load(run).report()
    model = caudal.load(run, data=(x, pictures))
    scores = model.log_prob((x[:9], pictures[:9]))
    expected = model.flow.log_prob(x[:9], pictures[:9]).detach().numpy()
    assert scores == pytest.approx(expected, abs=1e-5)
    drawn = model.sample(7)
    assert isinstance(drawn, torch.Tensor)
    assert drawn.shape == (7, 2)
    evaluation = model.evaluate()
    assert evaluation.rows == 30  # the rows that training held out
    assert model.dataset.notes == (NO_TEST,)
    assert model.report().exists()


def test_samples_are_given_contexts_of_an_array_or_a_file(run, tmp_path):
    model, file = caudal.load(run), tmp_path / "contexts.npy"
    _, pictures = rows(5)
    np.save(file, pictures.numpy())
    drawn = model.sample(context=pictures)
    generator = torch.Generator().manual_seed(0)
    expected = model.flow.sample(5, context=pictures, generator=generator)
    torch.testing.assert_close(drawn, expected)
    assert torch.equal(model.sample(5, context=file), drawn)
    assert model.sample(3, context=pictures[0]).shape == (3, 2)
    with pytest.raises(InputError, match=r"shape \(B, \*\(1, 3, 3\)\), got \(5, 1, 3\)"):
        model.sample(5, context=pictures[..., 0])
    for array in (pictures.numpy().astype(">f8"), pictures.numpy().astype(np.longdouble)):
        assert torch.equal(model.sample(context=array), drawn)
    assert torch.equal(model.sample(context=pictures.flip(0).numpy()[::-1]), drawn)
    with pytest.raises(InputError, match=r"must be an \.npy file"):
        model.sample(5, context="contexts.csv")
    with pytest.raises(InputError, match="`context` is empty"):
        model.sample(5, context="")
    with pytest.raises(InputError, match="or give `context`"):
        model.sample(5)


def test_contexts_that_samples_cannot_be_drawn_given_are_refused(run, tmp_path):
    model, file = caudal.load(run), tmp_path / "contexts.npy"
    _, pictures = rows(5)
    pictures[3] = torch.nan
    with pytest.raises(InputError, match="row 4: a value is not finite"):
        model.sample(5, context=pictures)
    for n in (None, 3):
        with pytest.raises(InputError, match="holds no rows"):
            model.sample(n, context=pictures[:0])
    with pytest.raises(InputError, match="an array of type <U1"):
        model.sample(5, context=np.array(["a"]))
    with pytest.raises(InputError, match="no file .*contexts.npy"):
        model.sample(5, context=file)
    file.mkdir()
    with pytest.raises(InputError, match="is a folder"):
        model.sample(5, context=file)
    file.rmdir()
    for made in (np.array([None]), b"1,2"):
        file.write_bytes(made) if isinstance(made, bytes) else np.save(file, made)
        with pytest.raises(InputError, match=r"contexts\.npy") as refused:
            model.sample(5, context=file)
        assert "pickle" not in str(refused.value)
    with pytest.raises(InputError, match="this run has no context: leave `context` out"):
        caudal.Model(SMALL.build((2,))).sample(5, context=np.zeros((1, 1)))


def test_a_resumed_run_is_reported_again(run):
    x, pictures = rows()
    flow = caudal.load(run).recipe.build((2,), (1, 3, 3))
    longer = caudal.Training(steps=8, batch_size=50, validate_every=2)
    before = (run / "report.html").stat().st_mtime_ns
    on = caudal.Run(run, resume=True)
    assert caudal.fit(flow, (x, pictures), training=longer, out=on).history[-1]["step"] == 8
    assert (run / "report.html").stat().st_mtime_ns > before
    assert "No test rows were given" in (run / "report.html").read_text()
    assert "steps: 8" in (run / "config.yaml").read_text()


def test_a_model_in_memory_is_saved_and_reported(tmp_path):
    x, _ = rows()
    flow = SMALL.build((2,))
    caudal.fit(flow, x.numpy(), training=BRIEF)
    caudal.Model(flow).save(tmp_path / "saved")
    model = caudal.load(tmp_path / "saved", data=x.numpy(), test=x[:50].numpy())
    assert model.report() == tmp_path / "saved" / "report.html"
    assert model.evaluation.rows == 50
    assert type(model.sample(3)).__name__ == "ndarray"


def test_a_density_leaves_a_page_and_no_page_if_none_is_wanted(tmp_path):
    options, flow = caudal.Variational(particles=200), SMALL.build((2,))

    def half(x):
        return -0.5 * x.square().sum(1)

    how = {"options": options, "training": BRIEF}
    caudal.fit_density(flow, half, **how, out=tmp_path / "told")
    board = json.loads((tmp_path / "told" / "eval.json").read_text())["scoreboard"]
    assert board["log_z"] == pytest.approx(1.838, abs=0.2)
    assert (tmp_path / "told" / "pictures" / "weights.png").exists()
    caudal.fit_density(SMALL.build((2,)), half, **how, out=tmp_path / "quiet", report=False)
    assert not (tmp_path / "quiet" / "report.html").exists()
