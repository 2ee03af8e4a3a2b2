"""What `caudal train` does after training: evaluate, tell the story, say what comes next."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from caudal import files
from caudal.cli.evaluate import show_evaluation
from caudal.cli.options import as_flags, default_config
from caudal.cli.results import GAUSSIAN, write_evaluation
from caudal.cli.screen import Screen
from caudal.data import Dataset
from caudal.recipes import RECIPES, Recipe
from caudal.report import (
    Distilled,
    Evaluation,
    Story,
    compare,
    evaluate,
    fit_gaussian,
    write_report,
)
from caudal.report.gaussian import save_gaussian
from caudal.report.story import duration, parameters
from caudal.training.fit import Fitted
from caudal.training.run import Run


def finish(
    screen: Screen,
    out: Path,
    recipe: Recipe,
    data: Dataset,
    fitted: Fitted,
    config: dict[str, Any],
    report: bool = True,
    distilled: Distilled | None = None,
    typed: str | None = None,
) -> None:
    """Evaluates the flow on the test rows, writes eval.json and the report, and says where.

    Of a student, also how it compares to its teacher, into compare.json.
    """
    gaussian = fit_gaussian(fitted.flow, data.train)
    save_gaussian(out / GAUSSIAN, gaussian)
    result = evaluate(fitted.flow, data.test, gaussian, data.schema)
    write_evaluation(out / "eval.json", result)
    page = None
    if report:
        story = _story(out, recipe, data, fitted, config, result, typed)
        page = write_report(out, replace(story, distilled=distilled))
    if distilled:
        text = json.dumps(distilled.to_dict(), indent=2, ensure_ascii=False)
        files.write_text(out / "compare.json", text + "\n")
    _say(screen, out, fitted, result, page)
    screen.result(
        {
            **result.to_dict(),
            **({"fidelity": distilled.to_dict()} if distilled else {}),
            "run": str(out),
            "report": str(page) if page else None,
            "best_step": fitted.best_step,
            "parameters": parameters(fitted.flow),
            "seconds": seconds_of(fitted),
        }
    )


def command(config: dict[str, Any], out: Path) -> list[str]:
    """The words that make this run again."""
    options = {k: v for k, v in config.items() if k not in ("recipe", "data")}
    flags = as_flags(options, default_config(RECIPES[config["recipe"]]))
    start = ["caudal", "train", config["recipe"], "--data", config["data"]]
    return [*start, *flags, "--out", str(out)]


def _story(
    out: Path,
    recipe: Recipe,
    data: Dataset,
    fitted: Fitted,
    config: dict[str, Any],
    result: Evaluation,
    typed: str | None,
) -> Story:
    return Story(
        name=out.name,
        recipe=recipe,
        flow=fitted.flow,
        dataset=data,
        evaluation=result,
        comparison=compare(fitted.flow, data),
        metrics=fitted.history,
        command=typed or shlex.join(command(config, out)),
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        seconds=seconds_of(fitted),
        seed=config["seed"],
    )


def _say(screen: Screen, out: Path, fitted: Fitted, result: Evaluation, page: Path | None) -> None:
    screen.say(how_it_went(fitted))
    show_evaluation(screen, result)
    if page:
        screen.say(f"\nreport  {page}")
    screen.say(f"model   {Run(out).model_path}\n\nnext:")
    folder = shlex.quote(str(out))
    screen.say(f"  caudal sample {folder} -n 1000 --out samples.csv")
    screen.say(f"  caudal score {folder} --data NEW.csv --out scored.csv")


def how_it_went(fitted: Fitted) -> str:
    """Which step was the best, how long it took, and why it ended."""
    seconds = seconds_of(fitted)
    why = "no gain for a while" if fitted.stopped == "patience" else "all steps done"
    took = f" in {duration(seconds)}" if seconds is not None else ""
    return f"best after step {fitted.best_step}, trained{took} ({why})"


def seconds_of(fitted: Fitted) -> float | None:
    """How long training took, in all its sessions."""
    return fitted.history[-1]["seconds"] if fitted.history else None
