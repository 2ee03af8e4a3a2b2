"""What commands say at their end."""

import shlex
from pathlib import Path
from typing import Any

from caudal.cli.screen import Screen
from caudal.model import Model
from caudal.report import Evaluation, ScreenTable, duration, parameters
from caudal.training.fit import Fitted
from caudal.training.interruption import Interrupted
from caudal.training.run import Run


def evaluation(screen: Screen, result: Evaluation) -> None:
    """The numbers side by side, and what they are."""
    screen.show(ScreenTable(result.title, *result.table()))
    for line in result.sentences():
        screen.say(line)


def trained(screen: Screen, model: Model) -> None:
    """How training went, how good the model is, where things are, and what to type next."""
    fitted, folder = model.fitted, model.folder
    assert fitted is not None
    assert folder is not None
    screen.say(how_it_went(fitted))
    if model.evaluation is not None:
        evaluation(screen, model.evaluation)
    if model.distilled is not None:
        compared(screen, model, folder)
    if model.page is not None:
        screen.say(f"\nreport  {model.page}")
    screen.say(f"model   {Run(folder).model_path}\n\nnext:")
    teaches = model.distilled is None and model.recipe.samples == "sequential"
    for line in model.kind.next_commands(shlex.quote(str(folder)), model.schema, teaches):
        screen.say(f"  {line}")
    screen.result(outcome(model, fitted, folder))


def outcome(model: Model, fitted: Fitted, folder: Path) -> dict[str, Any]:
    """For JSON: the evaluation, the comparison with a teacher, and how training went."""
    result: dict[str, Any] = {}
    if model.evaluation is not None:
        result |= model.evaluation.to_dict()
    if model.distilled is not None:
        result["fidelity"] = model.distilled.to_dict()
    return {
        **result,
        "run": str(folder),
        "report": str(model.page) if model.page else None,
        "best_step": fitted.best_step,
        "parameters": parameters(model.flow),
        "seconds": seconds_of(fitted),
    }


def compared(screen: Screen, model: Model, folder: Path) -> None:
    """A student beside its teacher."""
    distilled = model.distilled
    assert distilled is not None
    for table in distilled.tables():
        screen.show(table)
    for line in distilled.verdict:
        screen.say(line, style="bold")
    screen.say(f"\ncompared in {folder / 'compare.json'}")


def how_it_went(fitted: Fitted) -> str:
    """Which step was the best, how long training took, and why it ended."""
    seconds = seconds_of(fitted)
    why = "no gain for a while" if fitted.stopped == "patience" else "all steps done"
    took = f" in {duration(seconds)}" if seconds is not None else ""
    return f"best after step {fitted.best_step}, trained{took} ({why})"


def seconds_of(fitted: Fitted) -> float | None:
    """How long training took, in all its sessions."""
    return fitted.history[-1]["seconds"] if fitted.history else None


def with_advice(error: KeyboardInterrupt, out: Path, command: str) -> KeyboardInterrupt:
    """The same interruption, saying what to type to go on, if anything was saved."""
    if isinstance(error, Interrupted):
        return Interrupted(f"{error}: {command}", error.exit_code)
    if not Run(out).state_path.exists():
        return error
    return KeyboardInterrupt(f"interrupted; what was trained is in {out}: {command}")
