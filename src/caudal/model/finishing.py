"""What follows training: the evaluation, the comparison with a teacher, and the page."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from caudal import files
from caudal.errors import InputError
from caudal.model.command import command_of
from caudal.report import Distilled, Story, save_baseline, write_report
from caudal.training.run import Run

if TYPE_CHECKING:
    from caudal.model.model import Model

BASELINE = "gaussian.safetensors"
"""The file of the baseline in a run folder."""


def finish(model: "Model", *, report: bool, distilled: Distilled | None = None) -> None:
    """Evaluates a trained model on its test part, and writes eval.json, compare.json, the page.

    A student whose own density takes a step for each element is not evaluated, only compared.
    """
    folder = model.folder
    assert folder is not None
    if not model.is_slow_to_score:
        fitted = model.kind.baseline.fit(model.flow, model.dataset.train, model.schema)
        save_baseline(folder / BASELINE, fitted)
        model.evaluate()
    if distilled is not None:
        text = json.dumps(distilled.to_dict(), indent=2, ensure_ascii=False)
        files.write_text(folder / "compare.json", text + "\n")
        model.distilled = distilled
    if report:
        model.page = write_page(model)


def write_page(model: "Model") -> Path:
    """Writes report.html and its pictures into the run folder of a model; gives its path.

    Raises:
        InputError: the model has no folder.
    """
    if model.folder is None:
        raise InputError("a report needs a folder: save the model first, with model.save(folder)")
    if model.evaluation is None and not model.is_slow_to_score:
        model.evaluate()
    return write_report(model.folder, story_of(model), model.kind.teller())


def story_of(model: "Model") -> Story:
    """What the page of a model tells."""
    assert model.folder is not None
    history = model.fitted.history if model.fitted else Run(model.folder).metrics()
    return Story(
        name=model.folder.name,
        recipe=model.recipe,
        flow=model.flow,
        dataset=model.dataset,
        evaluation=model.evaluation,
        metrics=history,
        command=command_of(model.config, model.kind, model.folder),
        config=yaml.safe_dump(model.config, sort_keys=False, allow_unicode=True),
        seconds=history[-1]["seconds"] if history else None,
        seed=model.config.get("seed", 0),
        folder=model.folder,
        distilled=model.distilled,
    )
