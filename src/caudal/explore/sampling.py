"""Tabs of samples: new ones, beside the data, and of a student beside its teacher."""

import time
from pathlib import Path
from typing import Any

from caudal.explore.controls import Tab, Whole
from caudal.explore.given import asked_of, drawing, given_controls, given_of
from caudal.explore.subject import Subject
from caudal.report.distilled import ScreenTable
from caudal.report.guide import Side
from caudal.report.numbers import count, number
from caudal.report.page import Block, render

SAMPLES = (
    "New {many}: the flow turns noise z into data x. The temperature "
    "multiplies the noise: below 1, samples are likelier and less varied; at 0 there is "
    "one. The same seed gives the same samples."
)
DATA = (
    "Test {many} beside as many samples, in the same frames. Where the two agree, the flow has "
    "learned the data; what is given below holds for the samples alone."
)
TEACHER = (
    "A student learned from its teacher, {teacher}, to make samples in one pass. Both draw as "
    "many here, and the clock says how long each took on this machine."
)


def samples(subject: Subject) -> Tab:
    """New samples, to look at and to download."""
    model, guide = subject.model, subject.guide

    def act(**values: Any) -> list[Block]:
        drawn = model.sample(**asked_of(subject, values))
        return guide.show(subject.schema, [Side("samples", drawn)], subject.ground)

    def write(folder: Path, **values: Any) -> Path:
        asked = asked_of(subject, values)
        path = folder / guide.file
        path = path if asked["n"] == 1 or not guide.one_a_file else path.with_suffix(".npz")
        model.write_samples(path, overwrite=True, **asked)
        return path

    intro = SAMPLES.format(many=subject.schema.many) + guide.remark(subject.schema)
    return Tab("Samples", intro, drawing(subject), act, "Sample", write=write)


def beside(subject: Subject) -> Tab | None:
    """The distribution of samples beside that of the data."""
    if not subject.has_items:
        return None
    model, guide, schema = subject.model, subject.guide, subject.schema

    def act(seed: int, **values: Any) -> list[Block]:
        n = min(len(subject.items), guide.compared)
        asked = guide.drawing(schema)
        if given := given_of(subject, values):
            asked["given"] = given
        rows = [subject.form(*batch) for batch in subject.first(n)]
        drawn = model.sample(n, seed=int(seed), **asked)
        sides = Side("data", guide.joined(rows), "data"), Side("samples", drawn)
        pictures = render(guide.compare(model.flow, schema, *sides))
        return [block for picture in pictures for block in (picture.caption, picture) if block]

    controls = [Whole("seed", "Seed", 0), *given_controls(subject)]
    intro = DATA.format(many=schema.many) + guide.remark(schema)
    return Tab("Data and samples", intro, controls, act, "Compare")


def teacher(subject: Subject) -> Tab | None:
    """A student beside its teacher, with clocks."""
    if subject.taught is None:
        return None
    guide, schema = subject.guide, subject.schema

    def act(n: int, seed: int) -> list[Block]:
        sides, seconds = [], []
        for title, model in (("teacher", subject.teacher), ("student", subject.model)):
            model.sample(1, seed=int(seed))  # the first call of a flow may compile
            start = time.perf_counter()
            drawn = model.sample(int(n), seed=int(seed))
            seconds.append(time.perf_counter() - start)
            sides.append(Side(title, drawn, "data" if title == "teacher" else "samples"))
        return [_clocks(int(n), schema, seconds), *guide.show(schema, sides)]

    many = Whole("n", f"How many {schema.many}", guide.usual, 1, guide.most)
    name = Path(subject.taught).name
    intro = TEACHER.format(teacher=name)
    return Tab("Teacher and student", intro, [many, Whole("seed", "Seed", 0)], act, "Draw")


def _clocks(n: int, schema: Any, seconds: list[float]) -> ScreenTable:
    """How long each took, and how many times as long the teacher did."""
    names = ["teacher", "student"]
    rows = [
        [name, number(1000 * took, 1), number(n / took, 0)]
        for name, took in zip(names, seconds, strict=True)
    ]
    ratio = number(seconds[0] / seconds[1], 1)
    what = count(n, schema.one, schema.many)
    title = f"The clock for {what}: the student is {ratio} times as fast"
    return ScreenTable(title, ["", "milliseconds", f"{schema.many} a second"], rows, " nn")
