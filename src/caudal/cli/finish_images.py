"""What `caudal train` does after training on images: evaluate, tell the story, say what next."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from caudal.cli.evaluate_images import show_evaluation
from caudal.cli.finish import command, how_it_went, seconds_of
from caudal.cli.results import GAUSSIAN, write_evaluation
from caudal.cli.screen import Screen
from caudal.data import Dataset, ImageSchema
from caudal.flow import Flow
from caudal.recipes import Recipe
from caudal.report.pixels import (
    Filmstrip,
    ImageEvaluation,
    ImageStory,
    evaluate_images,
    fit_pixel_gaussian,
    load_pixel_gaussian,
    save_pixel_gaussian,
    write_image_report,
)
from caudal.report.story import parameters
from caudal.training.fit import Fitted
from caudal.training.run import Run


def film(
    recipe: Recipe, flow: Flow, schema: ImageSchema, seed: int, out: Path
) -> Callable[[int], object] | None:
    """Draws samples into the run folder while the flow is trained; None if it draws slowly."""
    if recipe.samples != "parallel":
        return None
    return Filmstrip(out / "pictures" / "training", flow, schema, seed)


def finish(
    screen: Screen,
    out: Path,
    recipe: Recipe,
    data: Dataset,
    fitted: Fitted,
    config: dict[str, Any],
    report: bool = True,
) -> None:
    """Evaluates the flow on the test images, writes eval.json and the report, and says where."""
    screen.say(how_it_went(fitted))
    save_pixel_gaussian(out / GAUSSIAN, fit_pixel_gaussian(data.train, data.schema))
    gaussian = load_pixel_gaussian(out / GAUSSIAN)  # as `caudal eval` will have it
    result = evaluate_images(fitted.flow, data.test, gaussian, data.schema, track=screen.track)
    write_evaluation(out / "eval.json", result)
    show_evaluation(screen, result)
    page = None
    if report:
        page = write_image_report(out, _story(out, recipe, data, fitted, config, result))
        screen.say(f"\nreport  {page}")
    _say_next(screen, out, data.schema)
    screen.result(
        {
            **result.to_dict(),
            "run": str(out),
            "report": str(page) if page else None,
            "best_step": fitted.best_step,
            "parameters": parameters(fitted.flow),
            "seconds": seconds_of(fitted),
        }
    )


def _say_next(screen: Screen, out: Path, schema: ImageSchema) -> None:
    screen.say(f"model   {Run(out).model_path}\n\nnext:")
    folder, shown = shlex.quote(str(out)), schema.shape[0] in (1, 3)
    screen.say(f"  caudal sample {folder} -n 64 --out samples.{'png' if shown else 'npy'}")
    if shown:
        screen.say(f"  caudal interpolate {folder} --out manifold.png")
    screen.say(f"  caudal score {folder} --data IMAGES --out scored.csv")


def _story(
    out: Path,
    recipe: Recipe,
    data: Dataset,
    fitted: Fitted,
    config: dict[str, Any],
    result: ImageEvaluation,
) -> ImageStory:
    return ImageStory(
        name=out.name,
        recipe=recipe,
        flow=fitted.flow,
        dataset=data,
        evaluation=result,
        metrics=fitted.history,
        command=shlex.join(command(config, out)),
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        seconds=seconds_of(fitted),
        seed=config["seed"],
        filmstrip=out / "pictures" / "training",
    )
