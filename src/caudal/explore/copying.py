"""The tab that makes an item again from what the flow is told of it, as sound of its spectrum."""

from typing import Any

from caudal.errors import InputError
from caudal.explore.controls import Recording, Slider, Tab, Upload, Whole
from caudal.explore.subject import Subject
from caudal.report.guide import Side
from caudal.report.page import Block

INTRO = (
    "The flow is told nothing but the spectrum of a {one}, frame by frame, and makes the {one} "
    "itself: it has to invent the phases, and all that the bands do not contain. Record "
    "something, or take a file; without either it copies a test {one}."
)


def copying(subject: Subject) -> Tab | None:
    """Copies of a recording that was made or uploaded on the page."""
    model, guide, schema = subject.model, subject.guide, subject.schema
    if not guide.copies(schema):
        return None

    def act(recording: Any, file: Any, temperature: float, seed: int) -> list[Block]:
        source = recording or file
        asked = {"temperature": float(temperature), "seed": int(seed)}
        if source is None:
            if not subject.has_items:
                raise InputError("record something, or choose a file")
            original = subject.form(*subject.items[0])
            copy = model.sample(1, **asked)
        else:
            batch = next(iter(model.open_all(source, {}).pieces())).batch
            original = subject.form(*batch)
            copy = model.sample(mel_of=source, normalize=True, trim=True, **asked)
        return guide.show(schema, [Side("original", original, "data"), Side("copy", copy)])

    controls = [
        Recording("recording", "A recording"),
        Upload("file", "Or a file", guide.suffixes),
        Slider("temperature", "Temperature", 0.0, 1.5, 1.0, 0.05),
        Whole("seed", "Seed", 0),
    ]
    return Tab("Copy", INTRO.format(one=schema.one), controls, act, "Copy")
