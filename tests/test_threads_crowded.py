"""Where other programs keep the cores busy, PyTorch works with fewer threads."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import caudal
from caudal import Training
from caudal.recipes import NSF
from caudal.training import threads
from caudal.training.progress import Silent
from caudal.training.threads import crowd, look, uncrowded

FLOW = NSF(layers=1, hidden=4).build((2,))  # here, where there is one thread
DATA = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def eight_threads(monkeypatch):
    """PyTorch is asked for eight threads, and looks whenever it is told to."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_EVERY", 0.0)
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


def busy(monkeypatch, most):
    """More than `most` threads take a hundred times as long as one."""
    monkeypatch.setattr(threads, "_seconds", lambda work, n: 100.0 if n > most else 1 / n)


@pytest.mark.parametrize(("most", "taken"), [(8, 8), (7, 4), (2, 2), (1, 1)])
def test_takes_as_many_threads_as_do_not_hinder(eight_threads, monkeypatch, most, taken):
    busy(monkeypatch, most)
    with uncrowded():
        assert torch.get_num_threads() == taken
        told = "" if taken == 8 else f"working with {taken} of 8 threads"
        assert crowd().endswith(told)
        assert bool(crowd()) == (taken < 8)
    assert torch.get_num_threads() == 8


def test_a_look_follows_the_others_as_they_come_and_go(eight_threads, monkeypatch):
    with uncrowded():
        for most in (1, 8, 3):
            busy(monkeypatch, most)
            look()
            assert torch.get_num_threads() == {1: 1, 8: 8, 3: 2}[most]
        with uncrowded():
            pass
        assert torch.get_num_threads() == 2


def test_one_slow_look_by_chance_takes_no_thread_away(eight_threads, monkeypatch):
    slow = iter([100.0])
    monkeypatch.setattr(threads, "_seconds", lambda work, n: next(slow, 1 / n))
    with uncrowded():
        assert torch.get_num_threads() == 8


def test_the_users_own_number_is_obeyed(eight_threads, monkeypatch):
    busy(monkeypatch, 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    with uncrowded():
        assert torch.get_num_threads() == 8
        assert crowd() == ""


def test_other_threads_of_python_keep_their_number(eight_threads, monkeypatch):
    busy(monkeypatch, 1)

    def taken():
        with uncrowded():
            return torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(taken).result() == 8


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self):
        self.kept = []

    def note(self, text):
        self.kept.append(text)


def test_a_fit_takes_fewer_threads_says_so_and_gives_them_back(eight_threads, monkeypatch):
    busy(monkeypatch, 1)
    seen, notes = set(), Notes()

    def loss(flow, x, context):
        seen.add(torch.get_num_threads())
        return caudal.losses.nll(flow, x, context)

    training = Training(steps=2, batch_size=30)
    caudal.fit(FLOW, DATA, training=training, loss=loss, reporter=notes)
    assert seen == {1}
    assert torch.get_num_threads() == 8
    told = "the cores are busy or shared: working with 1 of 8 threads"
    assert told in notes.kept
