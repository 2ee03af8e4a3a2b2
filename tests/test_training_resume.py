"""A run that was killed, stopped or finished goes on as if nothing had happened."""

import os
import random
import shutil
import signal
import time
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from caudal.data import ParquetRows, open_data, open_images
from caudal.errors import InputError
from caudal.losses import nll
from caudal.modality import assemble
from caudal.recipes import MAF, NICE, NSF, describe
from caudal.training.checkpoint import load
from caudal.training.devices import Interrupted
from caudal.training.fit import fit
from caudal.training.keeper import _as_now, _check_identity
from caudal.training.options import Training
from caudal.training.run import Run
from caudal.training.state import Position, State, read_state, write_state
from training_case import ROWS, SCHEMA, TRAINING, Everything, slow, timeless, train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run without a break: its folder, and what `fit` gave."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return Run(out), train(out)


def same(run, fitted, whole):
    reference, expected = whole
    assert timeless(run.metrics()) == timeless(reference.metrics())
    assert timeless(fitted.history) == timeless(expected.history)
    assert fitted.best_step == expected.best_step
    assert_equal(fitted.flow.state_dict(), expected.flow.state_dict())
    assert_equal(load(run.path).state_dict(), expected.flow.state_dict())
    states = [read_state(r.state_path) for r in (run, reference)]
    assert_equal(states[0].flow, states[1].flow)
    assert_equal(states[0].average, states[1].average)


def assert_equal(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


class StopAt:
    """A loss that sends this process a signal at its n-th training batch."""

    def __init__(self, n, number):
        self.n, self.number, self.calls = n, number, 0

    def __call__(self, flow, x, context):
        self.calls += flow.training
        if self.calls == self.n and flow.training:
            os.kill(os.getpid(), self.number)
        return nll(flow, x, context)


def test_after_a_real_sigkill(whole, tmp_path):
    out = tmp_path / "run"
    child = os.fork()
    if child == 0:
        try:
            train(out, loss=slow)
        finally:
            os._exit(0)
    deadline = time.monotonic() + 60
    while not Run(out).state_path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(random.SystemRandom().uniform(0.0, 1.0))
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it ended before it could be killed"
    step = read_state(Run(out).state_path).position.step
    assert 0 <= step < TRAINING.epochs * (ROWS // TRAINING.batch_size)
    same(Run(out), train(out, resume=True), whole)
    assert not list(out.glob(".*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_a_signal(number, whole, tmp_path):
    handler = signal.getsignal(number)
    with pytest.raises(
        Interrupted, match=r"stopped after step 20 of 40: .*`resume=True`"
    ) as caught:
        train(tmp_path, loss=StopAt(20, number))
    assert caught.value.exit_code == 128 + number
    assert signal.getsignal(number) == handler
    same(Run(tmp_path), train(tmp_path, resume=True), whole)


def test_before_the_first_validation(whole, tmp_path):
    with pytest.raises(Interrupted, match="after step 5 "):
        train(tmp_path, loss=StopAt(5, signal.SIGINT))
    assert Run(tmp_path).model_path.exists()  # as the data alone gave it
    same(Run(tmp_path), train(tmp_path, resume=True), whole)


def test_fewer_steps_than_are_done_are_validated_where_they_ended(tmp_path):
    training = replace(TRAINING, epochs=9, validate_every=100)
    with pytest.raises(Interrupted, match="after step 60 "):
        train(tmp_path, training, loss=StopAt(60, signal.SIGINT))
    fitted = train(tmp_path, replace(training, steps=3), resume=True)
    assert (fitted.best_step, fitted.stopped) == (60, "steps")
    assert Run(tmp_path).metrics()[-1]["valid"] == fitted.best_valid
    assert Run(tmp_path).model_path.exists()


def test_a_run_without_folder_says_that_nothing_is_saved():
    with pytest.raises(Interrupted, match="nothing is saved"):
        train(None, loss=StopAt(2, signal.SIGINT))


def test_a_later_best_model_does_not_leak_into_an_earlier_state(whole, tmp_path):
    # As if killed between the two files: the model is of the end, the state of the middle.
    with pytest.raises(Interrupted):
        train(tmp_path, loss=StopAt(20, signal.SIGINT))
    run = Run(tmp_path)
    run.model_path.write_bytes(whole[0].model_path.read_bytes())
    same(run, train(tmp_path, resume=True), whole)


def test_rows_that_are_streamed_resume_in_the_middle_of_an_epoch(tmp_path):
    values = torch.randn(900, 2, generator=torch.Generator().manual_seed(0)).numpy()
    table = pa.table({"a": values[:, 0], "b": values[:, 1]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=100)
    recipe = MAF(layers=1, hidden=(8,))

    def run(name, loss=nll, resume=False):
        data = open_data(tmp_path / "t.parquet", memory=4000)
        assert isinstance(data.train, ParquetRows)
        torch.manual_seed(0)
        flow = assemble(recipe, data.schema)
        kept = Run(tmp_path / name, recipe, data.schema, resume=resume)
        training = Training(epochs=3, batch_size=64, validate_every=7)
        options = {"training": training, "loss": loss, "validation_loss": nll}
        return fit(flow, data.train, data.valid, **options, out=kept)

    expected = run("whole")
    with pytest.raises(Interrupted):
        run("broken", loss=StopAt(15, signal.SIGINT))
    resumed = run("broken", resume=True)
    assert timeless(resumed.history) == timeless(expected.history)
    assert_equal(resumed.flow.state_dict(), expected.flow.state_dict())


def test_a_finished_run_stays_as_it_is(whole):
    run, _ = whole
    before = run.metrics()
    same(run, train(run.path, resume=True), whole)
    assert run.metrics() == before


def test_more_epochs_go_on_from_the_end(tmp_path):
    short = replace(TRAINING, epochs=2)
    train(tmp_path, short)
    longer = train(tmp_path, replace(short, epochs=3), resume=True)
    assert longer.history[-1]["step"] == 3 * (ROWS // TRAINING.batch_size)
    steps = [record["step"] for record in longer.history]
    assert steps == sorted(set(steps))


def test_nothing_to_resume_starts_anew(tmp_path):
    notes = []
    reporter = Notes(notes)
    train(tmp_path, replace(TRAINING, steps=3), resume=True, reporter=reporter)
    assert notes[0] == f"{tmp_path}: nothing to resume, starting anew"


class Notes:
    def __init__(self, notes):
        self.notes = notes

    def start(self, plan): ...
    def step(self, step, train): ...
    def validated(self, record): ...
    def finish(self, stopped): ...

    def note(self, text):
        self.notes.append(text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "`seed` was 0 and is 1"),
        ({"batch_size": 16}, "`batch_size` was 32 and is 16"),
        ({"ema": 0.0}, "`ema` was 0.9 and is 0.0"),
        ({"precision": "64-true"}, "`precision` was 32-true and is 64-true"),
        ({"optimizer": "muon"}, "`optimizer` was adam and is muon"),
    ],
)
def test_refuses_other_options(change, words, whole):
    with pytest.raises(InputError, match=words):
        train(whole[0].path, replace(TRAINING, **change), resume=True)


def test_refuses_columns_and_pixels_taken_otherwise(tmp_path):
    """The weights would load into another flow, and a worse model take the place of the best."""
    numbers = torch.arange(400.0).reshape(-1, 1) + 1
    table = {"types": ["x0=integer"]}, {"types": ["x0=integer[0,1000]"]}
    images = (numbers.reshape(100, 2, 2, 1) % 256).to(torch.uint8).numpy()
    pixels = {"pixels": "logit", "alpha": 0.05}, {"pixels": "unit"}
    for kind, opened, given, said in (
        ("table", open_data, (numbers.numpy(), *table), "(low|high) of the column 'x0' was"),
        (
            "images",
            open_images,
            (images, *pixels),
            "pixels of the data was logit and is unit",
        ),
    ):
        data, before, after = given
        recipe = NICE(hidden=(4,))
        training = replace(TRAINING, steps=2, batch_size=8)
        for options, resume in ((before, False), (before, True), (after, True)):
            found = opened(data, **options)
            flow = assemble(recipe, found.schema)
            taken = (flow, found.train, found.valid)
            kept = Run(tmp_path / kind, recipe, found.schema, resume=resume)
            if options is before:
                fit(*taken, training=training, out=kept)
                continue
            with pytest.raises(InputError, match=said):
                fit(*taken, training=training, out=kept)


def changed_identity(path, change):
    """Puts another identity into a state."""
    state = read_state(path)
    change(state.identity)
    write_state(path, state)
    return state.identity


def test_goes_on_from_a_state_that_does_not_know_its_columns(tmp_path):
    short = replace(TRAINING, steps=3, epochs=1)
    train(tmp_path, short)
    changed_identity(Run(tmp_path).state_path, lambda then: then.pop("schema"))
    assert train(tmp_path, replace(short, steps=5), resume=True).history[-1]["step"] == 5


def test_goes_on_from_a_state_whose_columns_said_less(tmp_path):
    """Versions add fields to columns; what an older one did not say is as it was then."""
    short = replace(TRAINING, steps=3, epochs=1)
    train(tmp_path, short)

    def forget(then):
        for column in (*then["schema"]["columns"], *then["schema"]["context"]):
            del column["heaps"], column["seen"]

    changed_identity(Run(tmp_path).state_path, forget)
    assert train(tmp_path, replace(short, steps=5), resume=True).history[-1]["step"] == 5


def test_a_state_has_weights_that_are_tied(tmp_path):
    shared = nn.Linear(1, 1)
    embedding = nn.Sequential(shared, shared)
    state = State({}, Position(), {"a": shared.weight, "b": embedding[1].weight})
    write_state(tmp_path / "s.safetensors", state)
    assert torch.equal(read_state(tmp_path / "s.safetensors").flow["b"], shared.weight)


def test_a_state_of_nets_that_took_the_context_otherwise_is_refused_and_no_other(tmp_path):
    train(tmp_path, replace(TRAINING, steps=3, epochs=1))
    path = Run(tmp_path).state_path
    then = changed_identity(path, lambda then: then["schema"].pop("numbers"))
    with pytest.raises(InputError, match="an older caudal has begun it"):
        train(tmp_path, replace(TRAINING, steps=5, epochs=1), resume=True)
    without = {**then, "schema": {**then["schema"], "context": []}}
    now = {**then, "schema": {**without["schema"], "numbers": "placed"}}
    assert _check_identity(Run(tmp_path), without, now) is None


def test_refuses_other_data(whole):
    with pytest.raises(InputError, match="the training rows are not those of the run any more"):
        train(whole[0].path, resume=True, n=ROWS + 1)


def test_refuses_to_write_over_a_run(whole):
    with pytest.raises(InputError, match="a run is there already; go on"):
        train(whole[0].path)


@pytest.mark.parametrize("content", [b"", b"nonsense", "half", "a bit"])
def test_refuses_a_damaged_state(content, whole, tmp_path):
    state = bytearray(whole[0].state_path.read_bytes())
    if content == "half":
        content = state[: len(state) // 2]
    elif content == "a bit":
        state[-len(state) // 3] ^= 1
        content = state
    Run(tmp_path).state_path.write_bytes(content)
    with pytest.raises(InputError, match=r"state\.safetensors: damaged.*`from_best=True`"):
        train(tmp_path, resume=True)


def test_a_state_of_another_flow_changes_nothing(whole, tmp_path):
    """Moments of another shape would be read past their end by a fused optimiser."""
    state = read_state(whole[0].state_path)
    name = next(name for name, kept in state.moments.items() if kept["exp_avg"].numel() > 1)
    state.moments[name]["exp_avg"] = state.moments[name]["exp_avg"][:1]
    write_state(Run(tmp_path).state_path, state)
    with pytest.raises(InputError, match=r"not a state of this flow"):
        train(tmp_path, resume=True)


def test_a_state_of_an_older_caudal_goes_on_the_same(whole, tmp_path):
    """It was written by torch, with moments by the numbers of parameters."""
    with pytest.raises(Interrupted):
        train(tmp_path, loss=StopAt(20, signal.SIGINT))
    run = Run(tmp_path)
    torch.save(as_of_old(read_state(run.state_path)), run.old_state_path)
    run.state_path.unlink()
    same(run, train(tmp_path, resume=True), whole)
    assert not run.old_state_path.exists()


def as_of_old(state):
    names = [name for name, _ in assemble(Everything(), SCHEMA).named_parameters()]
    moments = {number: state.moments[name] for number, name in enumerate(names)}
    optimizer = {"state": moments, "param_groups": [{"params": [*moments]}]}
    rest = {"average": state.average, "meter": state.meter, "optimizer": optimizer}
    position = vars(state.position)
    return {
        "format": 1,
        "identity": state.identity,
        "position": position,
        "flow": state.flow,
        **rest,
    }


@pytest.mark.parametrize("lost", [True, False])
def test_goes_on_from_the_best_model(lost, whole, tmp_path):
    shutil.copytree(whole[0].path, tmp_path / "run")
    run, notes = Run(tmp_path / "run"), []
    if lost:
        run.state_path.unlink()
    modes = {"resume": True} if lost else {"from_best": True}
    best = whole[1].best_step
    fitted = train(run.path, replace(TRAINING, epochs=6), reporter=Notes(notes), **modes)
    how = "no state.safetensors is there, " if lost else ""
    expected = f"{how}going on from the best model, of step {best}, with a new optimiser"
    assert notes[0] == f"{run.path}: {expected}"
    assert fitted.history[-1]["step"] == 6 * (ROWS // TRAINING.batch_size)
    assert fitted.best_valid <= whole[1].best_valid


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    def another(flow, x, context):
        with pytest.raises(InputError, match="another process is training in this folder"):
            train(tmp_path, resume=True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, loss=another)
    assert not list(tmp_path.glob(".*"))


def test_a_recipe_that_has_gained_a_field_is_the_one_it_was():
    assert _as_now({"training": {"seed": 1}})["training"]["optimizer"] == "adam"
    now = describe(NSF(bins=5))
    then = {"name": "nsf", "fields": {k: v for k, v in now["fields"].items() if k != "map"}}
    assert _as_now({"recipe": then})["recipe"] == now
    assert _as_now({"recipe": {"name": "gone"}})["recipe"] == {"name": "gone"}
