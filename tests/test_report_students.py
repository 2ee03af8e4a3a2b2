"""The page and the numbers of students, for all three kinds of data."""

import json
from dataclasses import replace

import pytest
import torch

from caudal.base import FREE
from caudal.data import open_data
from caudal.modality import assemble
from caudal.recipes import MAF, ParallelWaveNet, WaveNet
from caudal.report import (
    AudioTeller,
    ImageTeller,
    TableTeller,
    compare_audio,
    compare_students,
    write_report,
)
from caudal.report import distilled as students
from image_flows import schema_of, tiny_flow
from test_report_images_pictures import CURVE
from test_report_images_pictures import told as image_story
from test_report_pictures import curve
from test_report_pictures import told as table_story
from test_sound_report import SCHEMA, Waves, ar2_flow, story_of, waves

MEASURED = {"n", "dims", "reverse_kl", "reverse_two_se", "forward_kl", "forward_two_se", "ess"}
MEASURED |= {"pareto_k", "missed", "auc", "auc_se", "accuracy", "ks", "unit", "speed"}
MEASURED |= {"teacher", "terms", "verdict", "reverse_kl_per_dim", "forward_kl_per_dim"}


@pytest.fixture(autouse=True)
def _few(monkeypatch):
    for name, value in {"ROWS": 400, "SHOWN": 200, "SIZES": (1, 10), "IMAGES": 60}.items():
        monkeypatch.setattr(students, name, value)
    monkeypatch.setattr(students, "IMAGE_SIZES", (1, 2))
    monkeypatch.setattr("caudal.report.audio.distilled.COMPARED", 3)
    monkeypatch.setattr("caudal.report.audio.distilled.KL_CLIPS", 2)


pytestmark = pytest.mark.usefixtures("drawn", "few_panels", "timed_once")


def told(tmp_path, story, teller):
    page = write_report(tmp_path, story, teller).read_text("utf-8")
    assert "Beside its teacher, runs/a &lt;teacher&gt;" in page
    assert "The student minimised forward KL" in page
    assert "KL(student||teacher)" in page
    return page, {path.stem for path in (tmp_path / "pictures").glob("*.png")}


NAMED = {"name": "runs/a <teacher>", "terms": ["forward KL"]}


@pytest.mark.parametrize("context", [[], ["digit"]])
def test_a_student_of_digits(tmp_path, context):
    story = table_story(open_data("digits", context=context), curve())
    schema, rows = story.dataset.schema, story.dataset.train.context
    teacher = assemble(MAF(layers=1, hidden=(8,)), schema).eval()
    compared = compare_students(story.flow, teacher, schema, rows, **NAMED)
    assert set(compared.to_dict()) == MEASURED
    assert json.dumps(compared.to_dict(), allow_nan=False)
    page, names = told(tmp_path, replace(story, distilled=compared), TableTeller(rows=200))
    assert {"teacher-images", "teacher-marginals", "teacher-pairs", "curves"} <= names
    assert "Milliseconds to sample" in page
    again = compare_students(story.flow, teacher, schema, rows, **NAMED)
    assert again.fidelity == compared.fidelity


@pytest.mark.parametrize("schema", [schema_of((3, 6, 10), classes=3), schema_of()])
def test_a_student_of_images(tmp_path, schema):
    story = image_story(schema, CURVE)
    teacher, rows = tiny_flow(schema, seed=1), story.dataset.train.context
    compared = compare_students(story.flow, teacher, schema, rows, **NAMED)
    assert set(compared.to_dict()) == MEASURED
    assert compared.fidelity.n == 60
    assert compared.fidelity.dims == schema.countable
    names = dict(compared.fidelity.ks)
    assert ("channel 2 row 0 column 9" if schema.context else "row 7 column 7") in names
    page, names = told(tmp_path, replace(story, distilled=compared), ImageTeller())
    assert {"teacher-images", "samples", "curves"} <= names
    assert "nats an image" in page
    assert "worst pixels" in page


def test_a_student_of_sound(tmp_path):
    torch.manual_seed(0)
    small = {"channels": 6, "cycle": 3, "hop": 40}
    teacher = assemble(WaveNet(layers=4, **small), SCHEMA).eval()
    student = assemble(ParallelWaveNet(flows=(2, 2), **small), SCHEMA).eval()
    clips = Waves(SCHEMA, waves([400, 400, 300], seed=3))
    seen = []

    def track(items, what, total):
        seen.append(what)
        return items

    story = story_of(SCHEMA, clips, ar2_flow(), evaluation=None)
    compared = compare_audio(student, teacher, story.dataset, track=track, **NAMED)
    assert set(seen) == {"comparing", "copying clips"}
    keys = ["teacher", "terms", "verdict", "kl_per_sample", "kl_per_sample_two_se"]
    copies = ["teacher_copies", "student_copies", "refined_copies", "floor_copies"]
    assert list(compared.to_dict()) == [*keys, *copies, "speed"]
    assert compared.to_dict()["floor_copies"] == {}  # without a spectrum there is no floor
    assert compared.to_dict()["refined_copies"] is None  # and nothing to be consistent with
    assert [speed.who for speed in compared.speeds][-1] == "student"
    assert len(compared.student_copies) == 3
    story = replace(story, flow=student, distilled=compared)
    page, names = told(tmp_path, story, AudioTeller())
    assert names == {"spectrograms", "averages", "curves", "noise"}
    assert student.base.event_shape == (1, FREE)
    assert page.count("<audio") == 9
