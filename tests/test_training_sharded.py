"""Two processes with a share of the weights each train, resume and save as one with all does."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save

from caudal import Flow, InputError, load
from caudal.base import Normal
from caudal.bijection import Chain
from caudal.bijections import Coupling, Scale
from caudal.losses import Terms
from caudal.recipes import IResNet
from caudal.training.options import Training
from caudal.training.sharding import Sharded, check_shardable
from caudal.training.tensors import read_tensors, write_tensors
from caudal.training.trainer import Trainer
from sharded_case import CASES, LONG, vectors
from training_case import timeless

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder that two processes left, and what they said."""
    folder = tmp_path_factory.mktemp("sharded")
    script = Path(__file__).with_name("sharded_case.py")
    done = subprocess.run(
        [sys.executable, script, folder], timeout=1500, capture_output=True, text=True
    )
    return folder, done


@pytest.fixture(scope="module")
def whole():
    """The long run in one process."""
    return vectors(1, **LONG)


def assert_like(left, fitted):
    history, state = torch.load(left)
    for ours, theirs in zip(timeless(history), timeless(fitted.history), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)
    torch.testing.assert_close(state, fitted.flow.state_dict(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_shards_train_as_the_whole_flow(name, two):
    folder, done = two
    assert (folder / f"{name}.pt").exists(), done.stderr[-2000:]
    assert_like(folder / f"{name}.pt", CASES[name](1))


def test_shards_stop_together_and_go_on(two, whole):
    folder, done = two
    assert "`resume=True` goes on from there" in done.stdout, done.stderr[-2000:]
    assert_like(folder / "resumed.pt", whole)
    assert "watched [40]" in done.stdout


def test_the_files_of_shards_are_those_of_a_whole_flow(two, whole):
    best = load(two[0] / "broken").flow.state_dict()
    torch.testing.assert_close(best, whole.flow.state_dict(), rtol=1e-9, atol=1e-12)


def test_a_process_holds_its_share_of_weights_and_moments(two):
    held = [float(file.read_text()) for file in two[0].glob("held-*")]
    assert len(held) == 2
    assert sum(held) == pytest.approx(1)
    assert max(held) < 0.6  # a weight with an odd number of rows is halved as well as it can be


def test_after_a_kill_one_process_goes_on_with_the_whole_flow(two, whole):
    folder, done = two
    assert "another process of this run has ended" in done.stderr.strip().splitlines()[-1]
    fitted = vectors(1, folder / "killed", resume=True, **LONG)
    for ours, theirs in zip(timeless(fitted.history), timeless(whole.history), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)


class OfSeveralTerms(Terms):
    def __init__(self):
        self.weights = {}

    def terms(self, x, context):
        return {}


def tied():
    net = torch.nn.Linear(2, 2)
    halves = [Coupling(net, None, torch.tensor([True, False])) for _ in range(2)]
    return Flow(Chain(halves), Normal((2,)))


def numbered():
    layer = Scale((2,))
    layer.register_parameter("number", torch.nn.Parameter(torch.tensor(1.0)))
    return Flow(layer, Normal((2,)))


@pytest.mark.parametrize(
    ("flow", "loss", "said"),
    [
        (lambda: IResNet(blocks=1).build((2,)), None, "spectral layers"),
        (tied, None, "layer 1 of the flow shares net.weight with layer 0"),
        (numbered, None, "bijection.number is a single number"),
        (numbered, OfSeveralTerms(), "OfSeveralTerms holds the flow whole"),
    ],
)
def test_what_has_no_shards_is_refused_in_a_line(flow, loss, said):
    with pytest.raises(InputError, match=said) as caught:
        check_shardable(flow(), loss)
    assert 'leave `strategy="fsdp"` out' in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("large", [True, False])
def test_of_a_flow_too_large_for_a_device_no_pictures_are_made_in_between(large):
    trainer = object.__new__(Trainer)
    trainer.engine = SimpleNamespace(sharded=SimpleNamespace(large=large), total=80)
    trainer.position, trainer.validate_every = SimpleNamespace(step=8), 8
    trainer.position.seconds, trainer.watch, trainer._watched = 1, print, 0
    assert trainer._shows() is not large


def test_an_error_of_who_watches_leaves_the_whole_weights():
    sharded, emptied = object.__new__(Sharded), []
    sharded.flow = sharded.original = Flow(Scale((2,)), Normal((2,)))
    sharded.restore, sharded._empty = lambda: sharded.original, lambda: emptied.append(True)
    with pytest.raises(ZeroDivisionError), sharded.whole():
        1 / 0  # noqa: B018
    assert not emptied
    with sharded.whole() as flow:
        assert flow is sharded.original
    assert emptied


def test_compiled_code_does_not_gather():
    with pytest.raises(InputError, match="compile"):
        Training(strategy="fsdp", compile=True)


def test_a_file_written_tensor_by_tensor_is_that_of_the_library(tmp_path):
    tensors = {
        "b": torch.arange(6.0).view(2, 3),
        "a": torch.tensor([True, False, True]),
        "empty": torch.empty(0, 3, dtype=torch.float64),
        "one": torch.tensor(7),
    }
    write_tensors(tmp_path / "file", tensors, lambda hashes: {"of": "all", "b": hashes["b"]})
    texts, read = read_tensors(tmp_path / "file")
    assert texts["of"] == "all"
    assert len(set(texts["b"])) > 1
    torch.testing.assert_close(read, tensors)
    theirs = save(tensors, texts)
    assert len((tmp_path / "file").read_bytes()) == len(theirs)
    assert load_file(tmp_path / "file").keys() == tensors.keys()


@pytest.mark.parametrize("kind", ["complex64", "uint16", "uint32", "uint64", "float8_e5m2"])
def test_rare_types_are_written_and_read(kind, tmp_path):
    tensors = {"rare": torch.ones(3).to(getattr(torch, kind))}
    write_tensors(tmp_path / "file", tensors, lambda hashes: {})
    torch.testing.assert_close(read_tensors(tmp_path / "file")[1], tensors)


def test_a_type_that_files_do_not_know_is_refused_in_a_line(tmp_path):
    tensors = {"turn": torch.ones(2, dtype=torch.complex128)}
    with pytest.raises(InputError, match=r"turn has numbers of torch\.complex128, a type"):
        write_tensors(tmp_path / "file", tensors, lambda hashes: {})
    assert not list(tmp_path.iterdir())
