"""What is told while training runs, and what the run folder holds."""

import io
import json
import re

import pytest
import torch
from rich.console import Console

from caudal import Chain, InputError
from caudal.base import Normal
from caudal.bijections import Scale
from caudal.flow import Flow
from caudal.recipes import MAF
from caudal.training import progress
from caudal.training.fit import fit
from caudal.training.options import Training
from caudal.training.progress import Plan, RichReporter
from caudal.training.run import Run, write_config

TRAINING = Training(epochs=3, batch_size=50)
RECIPE = MAF(layers=1, hidden=(8,))


def told(recorder, **console):
    out = io.StringIO()
    reporter = RichReporter(Console(file=out, width=100, **console), elements=2)
    try:
        fit(Flow(Chain([Scale((2,))]), Normal((2,))), torch.randn(200, 2), torch.randn(60, 2),
            training=TRAINING, reporter=recorder(reporter))  # fmt: skip
    finally:
        assert reporter._bar is None
    return out.getvalue()


def test_one_pass_is_one():
    assert "64 rows, 1 pass over the data" in str(Plan(3, 0, 64, 3))
    assert "64 rows, 2 passes over the data" in str(Plan(6, 0, 64, 3))


def test_one_plain_line_per_validation_where_there_is_no_terminal():
    lines = told(lambda reporter: reporter).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("12 steps of 50 rows, 3 passes over the data; a validation after ")
    assert lines[2].startswith("step 8/12 (epoch 2): train ")
    assert "bits/dim" in lines[2]
    assert re.search(r"rows/s, [\d.]+ s left$", lines[2])
    assert lines[3].endswith("rows/s")


def test_a_line_every_fifteen_seconds_where_there_is_no_terminal(monkeypatch):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    out = io.StringIO()
    reporter = RichReporter(Console(file=out, width=100))
    reporter.start(progress.Plan(100, 0, 50, 4, 50))
    for step in range(1, 5):
        now = 8.0 * step
        reporter.step(step, 1.0)
    lines = out.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == ["step 2/100", "step 4/100"]
    assert lines[1].endswith("train 1.0000 nats, 13 min 4 s left")


def test_a_bar_on_a_terminal():
    text = told(lambda reporter: reporter, force_terminal=True)
    assert "12/12" in text
    assert "valid" in text
    assert "rows/s" in text


class Order:
    """Writes down the order in which it is told things."""

    def __init__(self, inner):
        self.inner, self.words = inner, []

    def start(self, plan):
        self.words.append("start")
        assert (plan.steps, plan.first, plan.batch_size, plan.steps_per_epoch) == (12, 0, 50, 4)
        self.inner.start(plan)

    def step(self, step, train):
        self.inner.step(step, train)

    def validated(self, record):
        self.words.append("validated")
        self.inner.validated(record)

    def note(self, text): ...

    def finish(self, stopped):
        self.words.append(stopped)
        self.inner.finish(stopped)


def test_reporters_are_told_in_order_and_always_of_the_end():
    orders = []

    def recorder(reporter):
        orders.append(Order(reporter))
        return orders[-1]

    told(recorder)
    assert orders[0].words == ["start", *["validated"] * 3, "steps"]


def test_the_end_is_told_when_it_is_a_failure():
    class Failing(Order):
        def validated(self, record):
            raise OSError("disk full")

    failing = []

    def recorder(reporter):
        failing.append(Failing(reporter))
        return failing[0]

    with pytest.raises(OSError, match="disk full"):
        told(recorder, force_terminal=True)
    assert failing[0].words == ["start", "failed"]


def test_a_run_folder(tmp_path):
    run = Run(tmp_path / "deep" / "run")
    assert not run.started()
    assert run.metrics() == []
    flow = RECIPE.build((2,))
    fitted = fit(flow, torch.randn(200, 2), training=TRAINING, out=Run(run.path, RECIPE))
    assert run.started()
    assert run.metrics() == fitted.history
    steps = [record["step"] for record in run.metrics()]
    assert steps == list(range(1, 10))  # 180 rows after the tenth held out: 3 batches an epoch
    fields = {"step", "epoch", "train", "grad_norm", "lr", "seconds"}
    valid = {"valid", "best", "rows_per_second"}
    for record in run.metrics():
        assert set(record) == fields | (valid if record["step"] % 3 == 0 else set())
    assert sorted(path.name for path in run.path.iterdir()) == [
        "metrics.jsonl",
        "model.safetensors",
        "state.safetensors",
    ]


def test_a_folder_needs_the_recipe(tmp_path):
    flow = RECIPE.build((2,))
    by_hand = Flow(flow.bijection, flow.base)
    with pytest.raises(InputError, match="no recipe has built this flow.*@caudal.recipe"):
        fit(by_hand, torch.randn(600, 2), out=tmp_path)


def test_a_run_is_replaced_only_when_nothing_is_refused(tmp_path):
    run, x = Run(tmp_path / "run"), torch.randn(200, 2)
    fit(RECIPE.build((2,)), x, training=TRAINING, out=Run(run.path, RECIPE, config={"a": 1}))
    before = run.model_path.read_bytes()
    again = Run(run.path, RECIPE, config={"a": 2}, overwrite=True)
    with pytest.raises(InputError, match="must have shape"):
        fit(RECIPE.build((2,)), x[:, :1], x, training=TRAINING, out=again)
    assert (run.model_path.read_bytes(), run.read_config()) == (before, {"a": 1})
    (run.path / "mine.txt").write_text("keep me")
    fit(RECIPE.build((2,)), x + 1, training=TRAINING, out=again)
    assert run.model_path.read_bytes() != before
    assert run.read_config() == {"a": 2}
    assert (run.path / "mine.txt").exists()


def test_config_goes_and_comes(tmp_path):
    config = {"recipe": {"name": "maf", "hidden": [1, 2]}, "who": "José", "lr": 1e-3}
    write_config(tmp_path / "run", config)
    assert Run(tmp_path / "run").read_config() == config
    assert list(Run(tmp_path / "run").read_config()) == list(config)


@pytest.mark.parametrize(
    ("content", "words"),
    [("[1, 2]", "must hold names"), ("{", "not YAML"), (None, "is this a run")],
)
def test_refuses_a_damaged_config(content, words, tmp_path):
    run = Run(tmp_path)
    if content is not None:
        run.config_path.write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        run.read_config()
    assert "\n" not in str(caught.value)


def test_refuses_damaged_metrics(tmp_path):
    run = Run(tmp_path)
    run.metrics_path.write_text(json.dumps({"step": 1}) + "\n{")
    with pytest.raises(InputError, match="line 1: no point of a curve"):
        run.metrics()
