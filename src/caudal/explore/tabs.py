"""The tabs of a page: those that the run at hand can fill."""

import os
from typing import Any

import torch

from caudal.errors import InputError, NumericalError
from caudal.explore.controls import Recording, Tab, Upload
from caudal.explore.copying import copying
from caudal.explore.latent import between, classes, noise
from caudal.explore.layers import layers
from caudal.explore.sampling import beside, samples, teacher
from caudal.explore.scoring import scoring
from caudal.explore.subject import Subject
from caudal.report.page import Block

TABS = (samples, layers, noise, between, classes, beside, scoring, copying, teacher)


def tabs_of(subject: Subject) -> list[Tab]:
    """The tabs that a run can fill, in their order on the page."""
    made = (tab(subject) for tab in TABS)
    return [tab for tab in made if tab is not None]


def answer(subject: Subject, tab: Tab, values: dict[str, Any]) -> list[Block]:
    """What a tab shows for the values of its controls; what is wrong with them, in one line."""
    try:
        tab.check(values)
        with subject.voice.taken() as notes, torch.no_grad():
            blocks = tab.act(**values)
        told = (without_folders(text, tab, values) for text in dict.fromkeys(notes))
        return [*blocks, *(f"Note: {text}" for text in told)]
    except (InputError, NumericalError, OSError) as error:
        return [without_folders(plainly(error), tab, values)]


def without_folders(text: str, tab: Tab, values: dict[str, Any]) -> str:
    """A message that calls an uploaded file by its name alone, not by the folder it went to."""
    for control in tab.controls:
        path = values.get(control.name)
        if isinstance(path, str) and isinstance(control, Upload | Recording):
            text = text.replace(os.path.dirname(path) + os.sep, "")
    return text


def plainly(error: Exception) -> str:
    """An error in one line, without the marks of arguments."""
    return " ".join(str(error).replace("`", "").split()) or type(error).__name__
