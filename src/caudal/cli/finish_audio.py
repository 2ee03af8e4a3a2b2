"""What follows training on audio: evaluate, listen, tell the story, say what comes next."""

import json
import shlex
from pathlib import Path
from typing import Any

import yaml

from caudal import files
from caudal.cli.evaluate_audio import discretized, show_evaluation
from caudal.cli.finish import command, how_it_went, seconds_of
from caudal.cli.results import GAUSSIAN, write_evaluation
from caudal.cli.screen import Screen
from caudal.data import Dataset
from caudal.data.column import Column
from caudal.recipes import Recipe
from caudal.report.sound import (
    AudioEvaluation,
    AudioStory,
    Copy,
    DistilledAudio,
    clips_to_copy,
    draw_copies,
    evaluate_audio,
    fit_autoregression,
    save_autoregression,
    write_audio_report,
)
from caudal.report.sound.distilled import MEASURES_HEAD, RATES_HEAD, measure_rows, rate_rows
from caudal.report.story import parameters
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
) -> None:
    """Evaluates the flow on the test clips, writes eval.json and the report, and says where."""
    screen.say(how_it_went(fitted))
    baseline = fit_autoregression(data.train, data.schema)
    save_autoregression(out / GAUSSIAN, baseline)
    result = evaluate_audio(
        fitted.flow,
        data.test,
        baseline,
        data.schema,
        discretized=discretized(fitted.flow),
        track=screen.track,
    )
    write_evaluation(out / "eval.json", result)
    show_evaluation(screen, result)
    page = None
    if report:
        screen.say("\ndrawing samples for the report")
        indices = clips_to_copy(data.test)
        copies = draw_copies(fitted.flow, data.test, indices, data.schema, track=screen.track)
        typed = shlex.join(command(config, out))
        page = _write(out, recipe, data, fitted, config, copies, typed, result)
    say_next(screen, out, data, page, teaches=True)
    screen.result({**result.to_dict(), **outcome(out, fitted, page)})


def finish_student(
    screen: Screen,
    out: Path,
    recipe: Recipe,
    data: Dataset,
    fitted: Fitted,
    config: dict[str, Any],
    found: DistilledAudio,
    copies: list[Copy],
    typed: str,
    report: bool = True,
) -> None:
    """The same of a student, whose own density goes a sample at a time: its comparison instead."""
    screen.say(how_it_went(fitted))
    text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False)
    files.write_text(out / "compare.json", text + "\n")
    show_comparison(screen, found)
    page = None
    if report:
        page = _write(out, recipe, data, fitted, config, copies, typed, None, found)
    screen.say(f"\ncompared in {out / 'compare.json'}")
    say_next(screen, out, data, page, teaches=False)
    screen.result({"fidelity": found.to_dict(), **outcome(out, fitted, page)})


def show_comparison(screen: Screen, found: DistilledAudio) -> None:
    """The student beside its teacher."""
    clips = found.of_student.clips
    screen.say(f"\nstudent beside {found.teacher}, {clips} test clips of each")
    screen.table(MEASURES_HEAD, measure_rows(found), " nn ")
    screen.say("\nhow fast each makes sound")
    screen.table(RATES_HEAD, rate_rows(found.speeds), "  nnnn")
    for line in found.verdict:
        screen.say(line, style="bold")


def _write(
    out: Path,
    recipe: Recipe,
    data: Dataset,
    fitted: Fitted,
    config: dict[str, Any],
    copies: list[Copy],
    typed: str,
    result: AudioEvaluation | None,
    distilled: DistilledAudio | None = None,
) -> Path:
    story = AudioStory(
        name=out.name,
        recipe=recipe,
        flow=fitted.flow,
        dataset=data,
        evaluation=result,
        metrics=fitted.history,
        command=typed,
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        seconds=seconds_of(fitted),
        seed=config["seed"],
        samples=copies,
        distilled=distilled,
    )
    return write_audio_report(out, story)


def say_next(screen: Screen, out: Path, data: Dataset, page: Path | None, teaches: bool) -> None:
    """Where things are, and what to type next."""
    if page:
        screen.say(f"\nreport  {page}")
    screen.say(f"model   {Run(out).model_path}\n\nnext:")
    folder = shlex.quote(str(out))
    if data.schema.mels:
        screen.say(f"  caudal sample {folder} --out clip.wav")
        screen.say(f"  caudal sample {folder} --mel-of FILE.wav --out copy.wav")
    else:
        given = "".join(f" {c.name}={_example(c)}" for c in data.schema.context)
        given = f" --given{given}" if given else ""
        screen.say(f"  caudal sample {folder}{given} --seconds 2 --out clip.wav")
    if teaches:
        screen.say(f"  caudal distill {folder} --out {shlex.quote(str(out) + '-parallel')}")


def _example(column: Column) -> str:
    """A value that a label can have, for the shell."""
    values = column.categories
    return "NUMBER" if values is None else shlex.quote(str(values[0]))


def outcome(out: Path, fitted: Fitted, page: Path | None) -> dict[str, Any]:
    """For JSON: where the run is, and how training went."""
    return {
        "run": str(out),
        "report": str(page) if page else None,
        "best_step": fitted.best_step,
        "parameters": parameters(fitted.flow),
        "seconds": seconds_of(fitted),
    }
