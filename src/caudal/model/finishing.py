"""What follows training: the evaluation, the comparison with a teacher, and the page."""

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from caudal import files
from caudal.errors import InputError
from caudal.modality import Modality
from caudal.model import alarm, card, evaluating
from caudal.model.rest import USUAL, Extent
from caudal.model.settings import plain, usual
from caudal.report import Distilled, Story, save_baseline, write_report
from caudal.training.run import Run
from caudal.training.together import is_writer

if TYPE_CHECKING:
    from caudal.model.model import Model


def finish(
    model: "Model",
    *,
    report: bool,
    extent: Extent = USUAL,
    distilled: Callable[[], Distilled] | None = None,
) -> None:
    """Evaluates a trained model on its test part, and writes eval.json, compare.json, the page.

    `extent` limits the work where all of it would take too long. A student whose own density takes
    a step for each element is only compared with its teacher, not evaluated. Processes that are
    together share the scoring; the first one does the rest, for which the others do not wait.

    Args:
        model: the model, which has a folder.
        report: whether the page and its pictures are made.
        extent: how much is done.
        distilled: compares a student with its teacher.
    """
    folder = model.folder
    assert folder is not None
    writes = is_writer()
    evaluates = not model.is_slow_to_score
    if evaluates:
        asked = (model.flow, model.dataset.train, model.schema)
        fitted = model.kind.baseline.fit(*asked, most=extent.fitted)
        if writes:
            save_baseline(folder / evaluating.BASELINE, fitted)
        judged = model.kind.judged if extent.judged is None else extent.judged
        threshold = alarm.measure(model, judged) if model.kind.judged else None
        evaluating.evaluate_within(model, extent)
        if writes and threshold is not None:
            threshold.write(folder)
    if not writes:
        return
    if distilled is not None:
        model.distilled = distilled()
        text = json.dumps(model.distilled.to_dict(), indent=2, ensure_ascii=False)
        files.write_text(folder / "compare.json", text + "\n")
    if report:
        model.page = write_page(model)
    card.write_card(model)


def write_page(model: "Model") -> Path:
    """Writes report.html and its pictures into the run folder of a model; gives its path.

    Raises:
        InputError: the model has no folder.
    """
    if model.folder is None:
        raise InputError("a report needs a folder: save the model first, with model.save(folder)")
    model.dataset  # noqa: B018 - refuses a model whose data are not to be had, before any work
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
        command=command_of(model.config, model.kind, model.folder) if model.from_command else "",
        config=yaml.safe_dump(model.config, sort_keys=False, allow_unicode=True),
        seconds=history[-1]["seconds"] if history else None,
        seed=model.config.get("seed", 0),
        folder=model.folder,
        distilled=model.distilled,
    )


def command_of(config: Mapping[str, Any], kind: Modality, out: Path) -> str:
    """The command that makes the run of a config again, in the folder `out`."""
    if not config:
        return ""
    if "teacher" in config:
        start, options, defaults = _distill(config, kind)
    else:
        start, options, defaults = _train(config, kind)
    return shlex.join([*start, *as_words(options, defaults), "--out", str(out)])


Parts = tuple[list[str], dict[str, Any], dict[str, Any]]
"""The first words of a command, its options, and those of them that are usual."""


def _train(config: Mapping[str, Any], kind: Modality) -> Parts:
    start = ["caudal", "train", config["recipe"], "--data", str(config.get("data", "DATA"))]
    options = {k: v for k, v in config.items() if k not in ("recipe", "data")}
    return start, options, usual(config["recipe"], kind).config()


def _distill(config: Mapping[str, Any], kind: Modality) -> Parts:
    """The size of a student follows from its teacher, and so it is written in full."""
    teacher = config["teacher"] or "TEACHER"  # which was never saved
    start = ["caudal", "distill", teacher, "--student", config["recipe"]]
    of_data = vars(kind.options(data=""))
    options = {k: v for k, v in config.items() if k not in ("recipe", "teacher", *of_data)}
    how = kind.distillation
    return start, options, {**plain(how.training), **plain(how()), "report": True}


def as_words(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """The flags that say what `options` do, without those that are as in `defaults`."""
    words = []
    for name, value in options.items():
        if name in defaults and value == defaults[name]:
            continue
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif value is not None:
            words += _flag(flag, list(value) if isinstance(value, list | tuple) else [value])
    return words


def _flag(flag: str, values: list[Any]) -> list[str]:
    texts = list(map(str, values))
    if any(text.startswith("-") for text in texts):
        return [f"{flag}={text}" for text in texts]  # otherwise they would look like options
    return [flag, *texts]
