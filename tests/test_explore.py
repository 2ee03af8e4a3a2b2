"""The tabs of `caudal explore`, as functions; its page where Gradio is; its command."""

import gc
import os
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import csv, parquet

import caudal
from cases import randomise
from caudal.base import Logistic
from caudal.bijection import stages
from caudal.errors import InputError
from caudal.explore import serving
from caudal.explore.controls import Tab, Upload
from caudal.explore.scoring import _sentence
from caudal.explore.serving import HOST, serve
from caudal.explore.subject import Subject
from caudal.explore.tabs import answer, tabs_of
from caudal.interpolation import direction
from caudal.report.page import Picture, ScreenTable, blocks_html
from command_line import caudal as command
from command_line import people_run, refused

ROOT = Path(__file__).parent
pytestmark = pytest.mark.usefixtures("one_thread", "timed_once", "few_vowels")


@pytest.fixture(scope="module")
def plane():
    """A small run in the plane."""
    options = {"layers": 1, "hidden": 8, "steps": 2}
    return Subject(caudal.train("nsf", "moons", report=False, **options))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A run of numbers with many digits and of durations, given a column whose name is HTML."""
    random = np.random.default_rng(0)
    big = random.integers(10_000_000, 90_000_000, 200)
    rows = {"big": big, "fine": big / 1e4, "<b>kind</b>": random.choice(["u", "v"], 200)}
    rows["long"] = random.integers(100_000, 900_000, 200).astype("m8[s]")
    path = tmp_path_factory.mktemp("hostile") / "big.parquet"
    parquet.write_table(pa.table(rows), path)
    options = {"layers": 1, "hidden": 8, "steps": 2, "context": ["<b>kind</b>"]}
    return Subject(caudal.train("nsf", path, report=False, **options))


def tab_of(subject, title):
    return next(tab for tab in tabs_of(subject) if tab.title == title)


def test_a_run_in_the_plane_has_its_tabs_and_each_answers(plane):
    tabs = tabs_of(plane)
    assert [tab.title for tab in tabs] == [
        "Samples",
        "Layer by layer",
        "Noise",
        "Between four",
        "Data and samples",
        "Score your own",
    ]
    for tab in tabs:
        if tab.title != "Layer by layer":
            blocks = answer(plane, tab, tab.defaults())
            assert any(isinstance(block, Picture) for block in blocks), (tab.title, blocks)
            assert "data:image/png" in blocks_html(blocks)


def test_two_times_of_day_are_points_of_the_plane(tmp_path):
    seconds = np.random.default_rng(0).integers(0, 86_400, (2, 200)).astype(np.int32)
    times = {name: pa.array(s).cast(pa.time32("s")) for name, s in zip("ab", seconds, strict=True)}
    parquet.write_table(pa.table(times), tmp_path / "times.parquet")
    options = {"layers": 1, "hidden": 8, "steps": 2, "report": False}
    subject = Subject(caudal.train("nsf", tmp_path / "times.parquet", **options))
    for title in ("Samples", "Noise", "Between four", "Score your own"):
        tab = tab_of(subject, title)
        blocks = answer(subject, tab, tab.defaults())
        assert any(isinstance(block, Picture) for block in blocks), (title, blocks)


def test_data_that_cannot_be_opened_give_a_new_error_without_a_folder_each_time(monkeypatch):
    subject = Subject(caudal.load(ROOT / "fixtures" / "image"))
    lost = OSError(5, "Input/output error", "/secret/place/rows.csv")
    monkeypatch.setattr(subject, "_first", lambda most: (_ for _ in ()).throw(lost))
    errors = []
    for _ in range(2):
        with pytest.raises(InputError) as caught:
            subject.items  # noqa: B018
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert str(errors[1]) == "rows.csv: Input/output error"


def test_layers_are_shown_by_hand(plane):
    values = {"how": "by hand", "at": 1.5, "seed": 0}
    (block,) = answer(plane, tab_of(plane, "Layer by layer"), values)
    assert isinstance(block, Picture)


def test_values_that_no_control_has_give_one_line(plane):
    for tab in tabs_of(plane):
        for control in tab.controls:
            for odd in ({"name": 1}, float("nan"), [[1]], -(10**30)):
                (line,) = answer(plane, tab, {**tab.defaults(), control.name: odd})
                assert line.startswith(f"{control.label}: must be "), (tab.title, control, odd)


def test_a_bad_row_gives_one_line(plane):
    (line,) = answer(plane, tab_of(plane, "Score your own"), {"typed": ["far", "0"], "file": None})
    assert isinstance(line, str)
    assert "far" in line
    assert "\n" not in line


def test_a_row_with_an_empty_cell_has_no_finite_score(plane):
    blocks = answer(plane, tab_of(plane, "Score your own"), {"typed": ["", "0"], "file": None})
    assert "no finite log p" in blocks[0]
    assert any(isinstance(block, Picture) for block in blocks)


def test_a_typed_row_keeps_its_digits(hostile):
    """The row that one begins with has the score of the test row that it is."""
    tab = tab_of(hostile, "Score your own")
    (cells, *_), texts = tab.controls, tab.defaults()["typed"]
    typed = pa.table({name: [text] for name, text in zip(cells.head, texts, strict=True)})
    assert float(hostile.model.log_prob(typed)[0]) == pytest.approx(hostile.scores[0], abs=1e-3)


def test_rows_that_cannot_be_are_counted(plane):
    text = _sentence(plane, np.array([-3.0, -np.inf, -1.0, np.nan]))
    assert "-2.00 nats on average" in text
    assert "number 1, -3.00 nats; 2 have no finite one" in text
    assert _sentence(plane, np.array([-np.inf])).startswith("The row has no finite log p")
    assert _sentence(plane, np.full(2, -np.inf)).startswith("None of the rows has a finite log p")


def test_the_length_of_noise_is_told_beside_that_of_the_base(plane):
    other = SimpleNamespace(flow=SimpleNamespace(base=Logistic((2,))))
    lengths = Subject.lengths(SimpleNamespace(model=other), torch.zeros(1, 2))
    assert float(lengths.square().mean()) > 4  # twice pi^2 / 3, and not 2
    usual = plane.lengths(torch.zeros(1, 2))
    assert float(usual.square().mean()) == pytest.approx(2.0, rel=0.3)


def test_a_file_on_the_cells_gives_one_line(plane):
    (line,) = answer(plane, tab_of(plane, "Score your own"), {"typed": ["0"], "file": None})
    assert "1 cells, and 2 columns" in line


def test_a_bad_upload_gives_one_line_without_its_folder(plane, tmp_path):
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    values = {"typed": None, "file": str(tmp_path / "bad.csv")}
    (line,) = answer(plane, tab_of(plane, "Score your own"), values)
    assert line.startswith("bad.csv has no column")


@pytest.mark.parametrize(
    ("run", "own"),
    [("image", "Change the class"), ("audio", "Noise"), ("table_student", "Teacher and student")],
)
def test_runs_of_each_kind_answer_by_samples_and_by_a_tab_of_their_own(run, own, monkeypatch):
    monkeypatch.chdir(ROOT / "fixtures")  # a student names its teacher by a relative path
    subject = Subject(caudal.load(run))
    for title in ("Samples", own):
        tab = tab_of(subject, title)
        blocks = answer(subject, tab, tab.defaults())
        assert any(isinstance(block, Picture) for block in blocks), (title, blocks)


def test_samples_of_images_are_guided_where_labels_were_withheld(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "squares.npz", images=pixels, labels=np.arange(60) % 2)
    how = {"context": ["class"], "drop_context": 0.1, "steps": 1, "report": False}
    model = caudal.train("tarflow", tmp_path / "squares.npz", layers=1, width=8, **how)
    randomise(model.flow, 0.1)
    subject = Subject(model)
    tab = tab_of(subject, "Samples")
    drawn = []
    for guidance in (0.0, 2.0):
        drawn.append(tab.write(tmp_path, **{**tab.defaults(), "guidance": guidance}).read_bytes())
    assert drawn[0] != drawn[1]
    never = Subject(caudal.load(ROOT / "fixtures" / "image"))
    assert "guidance" not in tab_of(never, "Samples").defaults()


def test_a_flow_of_sound_given_its_spectrum_copies_clips():
    options = {"layers": 3, "cycle": 3, "channels": 8, "seconds": 0.1, "batch_size": 4, "mels": 8}
    how = {"context": ["mel"], "steps": 1, "report": False}
    subject = Subject(caudal.train("wavenet", "vowels", **how, **options))
    tab = tab_of(subject, "Copy")
    blocks = answer(subject, tab, tab.defaults())
    assert any(isinstance(block, Picture) for block in blocks), blocks
    assert "original" in blocks_html(blocks)


def test_samples_are_given_what_lines_say_and_written(tmp_path):
    subject = Subject(caudal.load(people_run()))
    tab = tab_of(subject, "Samples")
    values = {**tab.defaults(), "given": " age = 31 ", "n": 5}
    assert blocks_html(answer(subject, tab, values)).count(">31<") == 5
    rows = csv.read_csv(tab.write(tmp_path, **values))
    assert rows["age"].to_pylist() == [31] * 5
    assert rows.column_names == ["age", "height", "city", "income"]


def test_samples_given_what_there_is_not_give_one_line():
    subject = Subject(caudal.load(people_run()))
    tab = tab_of(subject, "Samples")
    (line,) = answer(subject, tab, {**tab.defaults(), "given": "nothing=3", "n": 5})
    assert "nothing=3" in line


def test_a_row_is_explained(plane):
    tab = tab_of(plane, "Score your own")
    blocks = answer(plane, tab, tab.defaults())
    assert re.match("log p = .* nats", blocks[0])
    assert isinstance(blocks[-1], ScreenTable)


def test_a_missing_extra_and_a_port_in_use_give_one_line(capsys, plane):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        with pytest.raises(InputError, match="in use"):
            serve(plane.model, taken.getsockname()[1])
    if find_spec("gradio") is None:
        assert "caudal[explore]" in refused(capsys, "explore", people_run(), "--no-browser")
    assert "nowhere" in refused(capsys, "explore", "nowhere")
    assert command("explore", "--help") == 0


def test_a_chosen_port_that_is_taken_meanwhile_gives_the_next(plane, monkeypatch):
    asked = []

    def launch(blocks, host, port):
        asked.append(port)
        if len(asked) == 1:
            raise OSError("Cannot find empty port")

    page = SimpleNamespace(build=lambda subject: None, launch=launch)
    monkeypatch.setitem(sys.modules, "caudal.explore.page", page)
    monkeypatch.setattr(serving, "find_spec", lambda name: True)
    monkeypatch.setattr(serving, "_is_free", lambda port: port not in (7860, 7863))
    assert serve(plane.model).address == f"http://{HOST}:7862"
    assert asked == [7861, 7862]
    asked.clear()
    with pytest.raises(InputError, match="`port` 7864: is in use"):
        serve(plane.model, 7864)  # what is asked for is what is given


def test_a_note_is_told_once_and_without_the_folder_of_an_upload(plane):
    def act(file):
        for _ in range(2):
            plane.model.voice.note(f"{file} was resampled")
        return []

    tab = Tab("A tab", "", [Upload("file", "A file", (".wav",))], act)
    assert answer(plane, tab, {"file": "/tmp/there/a.wav"}) == ["Note: a.wav was resampled"]


def test_visitors_at_once_get_each_their_own(plane):
    """Each sees what it would see alone: samples, their pictures, an error of its own."""
    tab = tab_of(plane, "Samples")
    asked = [{**tab.defaults(), "seed": seed, "n": 9} for seed in (1, 2, -1)]
    alone = [blocks_html(answer(plane, tab, values)) for values in asked]
    assert len(set(alone)) == 3
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda values: blocks_html(answer(plane, tab, values)), 3 * asked))
    assert found == 3 * alone


def test_a_page_leaves_the_model_as_it_was():
    told = []
    model = caudal.load(people_run())
    model.container, model.voice = "pandas", SimpleNamespace(note=told.append)
    voice = model.voice
    subject = Subject(model)
    with subject.voice.taken() as notes:
        subject.model.voice.note("for a visitor")
    assert (model.voice, model.container, notes, told) == (voice, "pandas", ["for a visitor"], [])
    assert subject.model.flow is model.flow


def test_stages_end_at_the_data(plane):
    flow = plane.model.flow
    z = torch.randn(5, 2)
    with torch.no_grad():
        x, _ = flow.bijection(z)
        *_, (_, last) = stages(flow.bijection, z)
    torch.testing.assert_close(last, x)


def test_a_direction_leads_from_mean_to_mean():
    z, of = torch.randn(6, 3), torch.tensor([True, False] * 3)
    torch.testing.assert_close(z[~of].mean(0) + direction(z, of), z[of].mean(0))


@pytest.fixture
def build():
    """What builds a page, with Gradio, which leaves event loops to the collector of garbage."""
    pytest.importorskip("gradio", reason="caudal[explore] is not installed")
    from caudal.explore.page import build

    yield build
    gc.collect()


@pytest.mark.filterwarnings("ignore")
def test_the_page_is_built(plane, build):
    assert "Samples" in str(build(plane).get_config_file())


@pytest.mark.filterwarnings("ignore")
def test_names_of_columns_are_no_html(hostile, build):
    parts = build(hostile).get_config_file()["components"]
    pages = [str(part["props"].get("value")) for part in parts if part["type"] == "html"]
    assert any("&lt;b&gt;kind" in page for page in pages)
    assert not any("<b>" in page for page in pages)
    assert not any(part["props"].get("info") for part in parts)  # which is read as Markdown


@pytest.mark.filterwarnings("ignore")
def test_a_download_removes_folders_of_old_ones(build, tmp_path):
    from caudal.explore.page import KEPT, _new_folder

    old, young = (_new_folder(str(tmp_path)) for _ in range(2))
    (old / "samples.csv").touch()
    os.utime(old, (0, young.stat().st_mtime - KEPT[1] - 60))
    fresh = _new_folder(str(tmp_path))
    assert set(tmp_path.iterdir()) == {young, fresh}
