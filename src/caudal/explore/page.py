"""The page itself: tabs of controls and what they show, by Gradio, on this machine alone."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr

from caudal.errors import InputError, NumericalError
from caudal.explore.components import component, value_of
from caudal.explore.controls import Tab
from caudal.explore.subject import Subject
from caudal.explore.tabs import answer, plainly, tabs_of, without_folders
from caudal.report.numbers import parameters
from caudal.report.page import blocks_html

VISITORS = 4  # jobs at once; others wait for their turn
KEPT = (600, 3600)  # seconds: how often uploads are looked at, and how old they get
LARGEST = "200mb"  # file that may be uploaded
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Arial", "sans-serif"]


def build(subject: Subject) -> gr.Blocks:
    """The page of a run; nothing of it is shared between its visitors but the run."""
    model = subject.model
    name = Path(model.name).name
    with gr.Blocks(title=f"{name} · caudal", analytics_enabled=False, delete_cache=KEPT) as blocks:
        gr.HTML(_header(subject, name))
        with gr.Tabs():
            for index, tab in enumerate(tabs_of(subject)):
                first = _add(subject, tab)
                if index == 0:
                    blocks.load(first[0], *first[1:], show_progress="hidden")
    return blocks


def _header(subject: Subject, name: str) -> str:
    model = subject.model
    text = (
        f"{model.recipe.name} on {subject.schema.what}, {parameters(model.flow):,} parameters. "
        f"{model.recipe.paper}"
    )
    missing = ""
    if not subject.has_items:
        missing = '<p class="note">The data of this run are missing, and so are some tabs.</p>'
    return f'<div class="caudal"><h1>{escape(name)}</h1><p>{escape(text)}</p>{missing}</div>'


Event = tuple[Callable[..., Any], list[Any], list[Any]]
"""A function, the components that it is called with, and those it answers in."""


def _add(subject: Subject, tab: Tab) -> Event:
    """One tab, with its events; returns the one that shows what it holds at first."""
    with gr.Tab(tab.title) as opened:
        gr.HTML(f'<p class="caudal intro">{escape(tab.intro)}</p>')
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=260):
                inputs = [component(control) for control in tab.controls]
                button = gr.Button(tab.button, variant="primary") if tab.button else None
                _download(subject, tab, inputs)
            with gr.Column(scale=3, min_width=320):
                shown = gr.HTML(elem_classes="caudal result", min_height=200)
    event: Event = (_answering(subject, tab), inputs, [shown])
    function, *ends = event
    if button is not None:
        button.click(function, *ends, show_progress="minimal")
    else:
        for each in inputs:
            live: Any = {"trigger_mode": "always_last", "show_progress": "hidden"}
            each.change(function, *ends, **live)
    if tab.eager:
        opened.select(function, *ends, show_progress="minimal")
    return event


def _answering(subject: Subject, tab: Tab) -> Callable[..., str]:
    """What Gradio calls with the values of the components: it answers with HTML."""

    def run(*given: Any) -> str:
        values = {c.name: value_of(c, v) for c, v in zip(tab.controls, given, strict=True)}
        return f'<div class="caudal">{blocks_html(answer(subject, tab, values))}</div>'

    return run


def _download(subject: Subject, tab: Tab, inputs: list[Any]) -> None:
    """A button that makes a file of what the tab shows, and the file; nothing of other tabs."""
    if tab.write is None:
        return
    write, made = tab.write, tempfile.TemporaryDirectory(prefix="caudal-")  # until the page ends
    button, file = gr.Button("Make a file of them"), gr.File(visible=False, label="Samples")

    def run(*given: Any) -> Any:
        values = {c.name: value_of(c, v) for c, v in zip(tab.controls, given, strict=True)}
        try:
            tab.check(values)
            with subject.voice.taken():
                path = write(_new_folder(made.name), **values)
        except (InputError, NumericalError, OSError) as error:
            text = without_folders(plainly(error), tab, values)
            text = text.replace(made.name + os.sep, "")
            raise gr.Error(text, print_exception=False) from None
        return gr.File(value=str(path), visible=True)

    button.click(run, inputs, file)


def _new_folder(parent: str) -> Path:
    """A folder for one file; those that are as old as uploads get are removed."""
    for old in Path(parent).iterdir():
        with suppress(OSError):  # another visitor's click may remove it, too
            if time.time() - old.stat().st_mtime > KEPT[1]:
                shutil.rmtree(old)
    return Path(tempfile.mkdtemp(dir=parent))


def look() -> dict[str, Any]:
    """The theme and the style of the page, with fonts that are on the machine."""
    theme = gr.themes.Base(
        primary_hue="orange",
        neutral_hue="slate",
        font=FONTS,
        font_mono=["ui-monospace", "monospace"],
    )
    css = resources.files("caudal.explore").joinpath("page.css").read_text(encoding="utf-8")
    return {"theme": theme, "css": css}


def launch(blocks: gr.Blocks, host: str, port: int) -> None:
    """Starts to serve the page in threads of its own."""
    blocks.queue(default_concurrency_limit=VISITORS, api_open=False)
    blocks.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        share=False,
        quiet=True,
        inbrowser=False,
        ssr_mode=False,
        footer_links=[],
        max_file_size=LARGEST,
        **look(),
    )
