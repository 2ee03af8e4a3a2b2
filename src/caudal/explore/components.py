"""Each control of a tab as a component of Gradio."""

from functools import singledispatch
from typing import Any

import gradio as gr

from caudal.explore.controls import (
    Cells,
    Choice,
    Control,
    Lines,
    Recording,
    Slider,
    Upload,
    Whole,
)


@singledispatch
def component(control: Control) -> Any:
    """The component of a control, whose value the function of the tab gets."""
    raise NotImplementedError(type(control).__name__)


@component.register
def _(control: Slider) -> Any:
    ends: Any = {"minimum": control.low, "maximum": control.high, "step": control.step}
    return gr.Slider(value=control.value, label=control.label, **ends)


@component.register
def _(control: Whole) -> Any:
    ends: Any = {"minimum": control.low, "maximum": control.high, "precision": 0}
    return gr.Number(value=control.value, label=control.label, min_width=90, **ends)


@component.register
def _(control: Choice) -> Any:
    return gr.Dropdown(list(control.choices), value=control.value, label=control.label)


@component.register
def _(control: Lines) -> Any:
    label = f"{control.label}. {control.help}"  # as `info`, names would be read as Markdown
    return gr.Textbox(label=label, lines=2, placeholder=control.placeholder)


@component.register
def _(control: Cells) -> Any:
    one: Any = {"row_count": 1, "type": "array", "datatype": "str"}
    return gr.Dataframe(
        [list(control.value)],
        headers=list(control.head),
        label=f"{control.label}. {control.help}",
        interactive=True,
        buttons=[],
        **one,
    )


@component.register
def _(control: Upload) -> Any:
    return gr.File(label=control.label, file_types=list(control.suffixes), height=120)


@component.register
def _(control: Recording) -> Any:
    form: Any = {"type": "filepath", "format": "wav", "buttons": []}
    return gr.Audio(label=control.label, sources=["microphone", "upload"], **form)


def value_of(control: Control, given: Any) -> Any:
    """What the function of a tab takes, of what Gradio gives; a row of cells is a list."""
    if isinstance(control, Cells):
        return list(given[0]) if given is not None and len(given) else None
    if given is None and hasattr(control, "value"):
        return control.value  # a number that was deleted
    return given
