"""Two processes train, resume and end like one."""

import json
import os
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas
import pytest
import torch

from cases import RECIPES
from caudal import InputError
from caudal.cli import entry
from caudal.data import TableSchema
from caudal.data.source import Batch
from caudal.errors import NumericalError
from caudal.initialization import initialize
from caudal.losses import nll
from caudal.modality import assemble
from caudal.numerics import own_randomness, sharing, uniform
from caudal.training import together as together_module
from caudal.training.options import Training
from caudal.training.processes import (
    ProcessLostError,
    as_launched,
    how_lost,
    is_of_processes,
    set_patience,
)
from caudal.training.rows import share
from caudal.training.together import in_turns, together
from processes_case import LONG, images, learn, table, use, write_numbers
from training_case import SCHEMA, rows, timeless

CIRCLED = TableSchema(
    (replace(SCHEMA.columns[0], kind="circular", high=10), *SCHEMA.columns[1:]), SCHEMA.context
)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder that two processes left, and what the first of them said at its end."""
    folder = tmp_path_factory.mktemp("two")
    script = Path(__file__).with_name("processes_case.py")
    command = [sys.executable, script, folder]
    done = subprocess.run(command, timeout=1500, capture_output=True, text=True)
    return folder, done


@pytest.fixture(scope="module")
def whole():
    """The long run of the table in one process."""
    return table(1, **LONG)


def assert_like(left, fitted, exactly=True):
    """Up to rounding; where gradients are next to zero, Adam's steps turn on that."""
    history, state = torch.load(left)
    bounds = {"rel": 1e-9} if exactly else {"rel": 1e-3}
    for ours, theirs in zip(timeless(history), timeless(fitted.history), strict=True):
        assert ours == pytest.approx(theirs, **bounds)
    assert history[-1]["valid"] == pytest.approx(fitted.history[-1]["valid"], rel=1e-4)
    if exactly:
        torch.testing.assert_close(state, fitted.flow.state_dict(), rtol=1e-6, atol=1e-8)


def test_a_table_with_steps_gaps_dropout_and_batch_norm(two):
    assert_like(two[0] / "table.pt", table(1))


def test_images_mirrored_with_batch_norm_in_nets(two):
    assert_like(two[0] / "images.pt", images(1), exactly=False)


def test_two_processes_stop_together_and_go_on(two, whole):
    folder, done = two
    assert "`resume=True` goes on from there" in done.stdout, done.stderr
    assert_like(folder / "resumed.pt", whole)


def test_two_processes_sample_and_score_as_one(two, tmp_path):
    use(two[0] / "broken", tmp_path)
    for name, exact in (("drawn.csv", 1e-5), ("scored.csv", 1e-4)):
        ours, theirs = (pandas.read_csv(folder / name) for folder in (two[0] / "two", tmp_path))
        pandas.testing.assert_frame_equal(ours, theirs, rtol=exact, atol=exact)
    assert len(ours) == 101


def test_two_processes_evaluate_what_they_have_learned_as_one(two, tmp_path):
    learn(1, tmp_path / "learned", write_numbers(tmp_path))
    for name in ("eval.json", "alarm.json"):
        ours, theirs = (
            json.loads((folder / "learned" / name).read_text()) for folder in (two[0], tmp_path)
        )
        assert ours.keys() == theirs.keys()
        for key in {"log_prob", "gain", "noise_std", "lowest", "rows"} & ours.keys():
            assert ours[key] == pytest.approx(theirs[key], rel=1e-4), key


def test_each_process_scores_its_share_of_the_batches(monkeypatch):
    scored = []
    monkeypatch.setattr("caudal.training.together._place", lambda: (1, 2))
    monkeypatch.setattr("caudal.training.together._gathered", lambda mine, world: [None, mine])
    results = list(in_turns(range(5), lambda item: scored.append(item) or -item))
    assert scored == [1, 3]
    assert results == [(0, None), (1, -1), (2, None), (3, -3), (4, None)]


def test_processes_of_srun_share_work_and_one_that_hangs_is_given_up(tmp_path, monkeypatch):
    """This process is the first of two; the other shares one job, and then sleeps."""
    job = {
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_NTASKS": "2",
        "SLURM_STEP_NODELIST": "127.0.0.1",
        "SLURM_JOB_ID": str(os.getpid()),
    }
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    code = (
        "import time\n"
        "from caudal.training.together import in_turns, together\n"
        "with together():\n"
        "    list(in_turns(range(5), lambda item: -item))\n"
        "time.sleep(60)\n"
    )
    env = {**os.environ, "SLURM_PROCID": "1"}
    other = subprocess.Popen([sys.executable, "-c", code], env=env)
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setattr(together_module, "PATIENCE", timedelta(seconds=30))
    try:
        with together():
            assert list(in_turns(range(5), lambda item: 10 * item))[:2] == [(0, 0), (1, -1)]
            set_patience(timedelta(seconds=0.5))
            with pytest.raises(RuntimeError) as caught:  # as a step of training would
                torch.distributed.all_reduce(torch.zeros(1))
        assert is_of_processes(caught.value)
        assert how_lost(caught.value) == "does not answer any more"
    finally:
        other.kill()
        other.wait()
        torch.distributed.destroy_process_group()


def test_where_a_process_is_killed_the_others_say_so_and_one_goes_on(two, whole):
    folder, done = two
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith(
        f"another process of this run has ended, and so this one ends too: `resume=True` goes on "
        f"with {folder / 'killed'}"
    )
    fitted = table(1, folder / "killed", resume=True, **LONG)
    for ours, theirs in zip(timeless(fitted.history), timeless(whole.history), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("world", [2, 3])
def test_shares_of_a_batch_are_disjoint_and_whole(world):
    batch = Batch(torch.arange(10.0)[:, None], torch.arange(10.0)[:, None] + 1)
    shares = [share(batch, rank, world) for rank in range(world)]
    rows = torch.cat([part.x for part in shares]).flatten()
    assert sorted(rows.tolist()) == batch.x.flatten().tolist()
    assert all(torch.equal(part.x + 1, part.context) for part in shares)


@pytest.mark.parametrize("name", RECIPES)
def test_the_shares_of_a_step_make_the_whole_one_in_every_recipe(name):
    """Steps and gaps are filled, and log-dets estimated, by the noise of the whole batch."""
    recipe, schema = RECIPES[name], CIRCLED if name.startswith("ncsf") else SCHEMA
    if hasattr(recipe, "batch_norm"):  # whose moments processes have to tell each other
        recipe = replace(recipe, batch_norm=False)
    x, context = (part.double() for part in rows(24, 1))
    torch.manual_seed(0)
    flow = assemble(recipe, schema).double()
    with own_randomness(seed=0):
        initialize(flow, x, context)
    for parameter in flow.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))

    def gradient(rank, world):
        copy = deepcopy(flow).train()
        with own_randomness(seed=3), sharing(rank, world, len(x), processes=1):
            nll(copy, x[rank::world], context[rank::world]).mean().backward()
        return torch.cat([p.grad.flatten() for p in copy.parameters() if p.grad is not None])

    whole, halves = gradient(0, 1), (gradient(0, 2) + gradient(1, 2)) / 2
    torch.testing.assert_close(halves, whole, rtol=1e-12, atol=1e-12 * float(whole.abs().max()))


def test_draws_for_a_share_are_those_of_its_rows():
    like, generator = torch.zeros(7, 2), torch.Generator()
    whole = uniform(like, generator.manual_seed(0))
    for rank in range(3):
        with sharing(rank, 3, 7):
            part = uniform(like[rank::3], generator.manual_seed(0))
            twice = uniform(torch.zeros(2 * len(part), 2), generator.manual_seed(0))
        assert torch.equal(part, whole[rank::3])
        assert len(twice.unique()) == twice.numel()


@pytest.mark.parametrize(
    ("env", "devices", "nodes"),
    [
        ({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, 4, 2),
        ({"SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_STEP_NUM_TASKS": "4"}, 2, 2),
        ({"SLURM_NTASKS": "2", "SLURM_NNODES": "3", "SLURM_STEP_NUM_TASKS": "2"}, 1, 2),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, 1, 1),  # a script without srun
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "bash"}, 1, 1),
    ],
)
def test_a_launcher_says_how_many_processes_there_are(env, devices, nodes, monkeypatch):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    training = Training(batch_size=64)
    assert as_launched(training) == replace(training, devices=devices, num_nodes=nodes)
    if devices * nodes > 1:
        with pytest.raises(
            InputError, match=f"`batch_size` 31: must be a multiple of {devices * nodes}"
        ):
            as_launched(Training(batch_size=31))


@pytest.mark.parametrize(("rank", "said"), [("0", True), ("1", False)])
def test_the_first_process_says_what_all_end_with(rank, said, monkeypatch, capsys):
    def fail(words):
        raise NumericalError("not finite")

    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(entry, "_dispatch", fail)
    assert entry.main(["train"]) == 1
    assert bool(capsys.readouterr().err) == said


def test_a_lost_process_is_told_in_the_words_of_the_command_line(monkeypatch, capsys):
    def fail(words):
        raise ProcessLostError("`resume=True` goes on")

    monkeypatch.setattr(entry, "_dispatch", fail)
    assert entry.main(["train"]) == 1
    assert capsys.readouterr().err == "caudal: error: --resume goes on\n"


def test_a_process_that_another_leaves_alone_says_so_before_it_ends(tmp_path):
    """It is at work of its own, and so meets no loss by itself."""
    code = (
        "import subprocess, sys, time\n"
        "from types import SimpleNamespace\n"
        "from lightning_fabric.strategies.launchers import subprocess_script\n"
        "from caudal.training import devices\n"
        "other = subprocess.Popen([sys.executable, '-c', 'exit(3)'])\n"
        "launcher = SimpleNamespace(procs=[other])\n"
        "fabric = SimpleNamespace(_strategy=SimpleNamespace(launcher=launcher))\n"
        "observer = subprocess_script._ChildProcessObserver(0, [other], sleep_period=0.1)\n"
        "observer.start()\n"
        "devices._GRACE = 0\n"
        "devices.tell_of_ends(fabric, 'another process of this run has ended')\n"
        "time.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], timeout=120, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "caudal: error: another process of this run has ended"
