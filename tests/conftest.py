"""Every test starts from the same seed, in float64 unless it says otherwise, on one device."""

import gc
import inspect
import os
from dataclasses import replace
from functools import cache
from importlib import import_module
from io import BytesIO
from pkgutil import walk_packages
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

LONGEST = (
    "test_wavenet", "test_compile", "test_benchmarks", "test_cli_audio", "test_house",
    "test_cli_distill",
)  # fmt: skip
"""Files that take longest come first: no process has one left when the others are done.

The very first has Numba compile the loops of WaveNet, which all others then find on disk.
"""


def pytest_collection_modifyitems(items):
    place = {name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_collection_finish():
    """What is imported by now stays: the collector need not go through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", help="where the laws are checked: cpu, cuda, mps")


@pytest.fixture
def device(request):
    return torch.device(request.config.getoption("--device"))


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def drawn():
    """A page has its pictures."""


@pytest.fixture
def laid_out(drawn):
    """Pictures as users get them, with their panels fitted to the words beside them."""


@pytest.fixture(autouse=True)
def _blank(request, monkeypatch):
    """Elsewhere the figures of pages are not made, which takes most of the time of a page."""
    if "laid_out" not in request.fixturenames:
        monkeypatch.setattr(import_module("caudal.report.style"), "LAYOUT", None)
    if "drawn" not in request.fixturenames:
        for module, name in drawings():
            monkeypatch.setattr(module, name, lambda *_, **__: BLANK)


SHARED = ("new_figure", "draw_panels", "draw_manifold")
"""What makes those of `caudal interpolate` too."""


@cache
def drawings():
    """The functions that make them, by the modules of the report that know them, and their names.

    The guides are left out: they draw for `caudal explore`, whose tests look at what they get.
    """
    report = import_module("caudal.report")
    names = (module.name for module in walk_packages(report.__path__, "caudal.report."))
    modules = [import_module(name) for name in names if not name.endswith(".guide")]
    return [
        (module, name)
        for module in modules
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__annotations__.get("return") == "Figure"
        and name not in SHARED
    ]


@cache
def blank():
    """The bytes of an empty picture."""
    sink = BytesIO()
    Image.new("L", (40, 30)).save(sink, "png")
    return sink.getvalue()


def save_blank(target, **_):
    """Writes an empty picture to a path or into a buffer, as figures are saved."""
    target.write(blank()) if hasattr(target, "write") else target.write_bytes(blank())


BLANK = SimpleNamespace(savefig=save_blank)


@pytest.fixture(autouse=True)
def _not_flushed(monkeypatch):
    """No test cuts the power: files need not wait until they are on the disk."""
    monkeypatch.setattr(os, "fsync", lambda number: None)


@pytest.fixture(autouse=True)
def _no_callbacks(monkeypatch):
    """Fabric looks for some in all installed packages, a fifth of the time of a tiny training."""
    monkeypatch.setattr(
        import_module("lightning_fabric.fabric"), "_load_external_callbacks", lambda group: []
    )


@pytest.fixture
def all_rounds():
    """A classifier learns for as many rounds as users have to tell samples from rows."""


@pytest.fixture(autouse=True)
def _few_compared(request, monkeypatch):
    """Elsewhere it takes few rounds, and few test rows unless a test says how many."""
    monkeypatch.setattr(import_module("caudal.report.table.judge"), "ROWS", 60)
    if "all_rounds" not in request.fixturenames:
        monkeypatch.setattr(import_module("caudal.report.two_sample"), "ROUNDS", 10)


@pytest.fixture
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="module")
def one_thread():
    """Small batches gain nothing from more threads, and lose much on busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def registry():
    """The registered recipes, which are afterwards what they were before."""
    import caudal.sbi  # noqa: F401  its recipe is registered when it is first imported
    from caudal.recipes.registry import REGISTERED

    before = dict(REGISTERED)
    yield REGISTERED
    REGISTERED.clear()
    REGISTERED.update(before)


@pytest.fixture
def timed_once(monkeypatch):
    """Samples are timed once and no more: a report spends a second on each way to draw them."""
    timing = import_module("caudal.report.speed")
    for name, value in (("FEWEST", 1), ("MOST", 1), ("_STEPS", 8)):
        monkeypatch.setattr(timing, name, value)


@pytest.fixture
def few_steps(monkeypatch):
    """Training ends after three steps, whatever a page asks for: what it says is tried."""
    options = import_module("caudal.training.options").Training
    total = options.total_steps
    monkeypatch.setattr(options, "total_steps", lambda self, *epoch: min(3, total(self, *epoch)))


@pytest.fixture
def few_draws(monkeypatch):
    """Entropies and divergences of the `torch.distributions` view from few draws."""
    module = import_module("caudal.distribution")
    monkeypatch.setattr(module, "DRAWS", 8)
    monkeypatch.setattr(module.FlowDistribution.entropy, "__defaults__", (8, None))


@pytest.fixture
def few_panels(monkeypatch):
    """Pictures of tables with three columns, as each panel takes a tenth of a second to draw."""
    from caudal.report.table import comparison, pictures

    monkeypatch.setattr(comparison, "MOST", 3)
    monkeypatch.setattr(pictures, "MOST", 3)
    monkeypatch.setattr(pictures, "CELLS", 60)


@pytest.fixture
def few_rows(monkeypatch):
    """The first 600 rows of each table that is built in; clouds of points have 65,536."""
    tables = import_module("caudal.data.table.tables")
    whole = tables.built_in

    def first(name):
        found = whole(name)
        return replace(found, table=found.table.slice(0, 600))

    monkeypatch.setattr(tables, "built_in", cache(first))


@pytest.fixture
def few_vowels(monkeypatch):
    """The first 60 of the 600 vowels that are built in: all of them take seconds to score."""
    builtin = import_module("caudal.data.builtin")
    monkeypatch.setattr(builtin, "_EACH", 6)
    monkeypatch.setattr(builtin, "vowels", cache(builtin.vowels.__wrapped__))
