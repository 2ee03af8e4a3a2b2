"""From a teacher to a student that samples in one pass."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.errors import InputError
from caudal.files import path_of
from caudal.modality import Voice
from caudal.model import settings as options_of_run
from caudal.model.finishing import finish
from caudal.recipes import Recipe, find_recipe
from caudal.report.logged import check_log, logged
from caudal.training.options import Training
from caudal.training.processes import leads
from caudal.training.progress import Notes
from caudal.training.run import Run, check_out
from caudal.training.student import build_student, check_student, default_student
from caudal.training.student import distill as fit_student
from caudal.training.threads import uncrowded
from caudal.training.together import together

if TYPE_CHECKING:
    from caudal.model.model import Model


@dataclass(frozen=True)
class StudentSettings:
    """What a student is made with.

    Attributes:
        recipe: of the student.
        training: how it is trained.
        distillation: what it learns from, of the type `kind.distillation`.
        report: whether the page and its pictures are made at the end.
    """

    recipe: Recipe
    training: Training
    distillation: Any
    report: bool = True

    def config(self, teacher: "Model") -> dict[str, Any]:
        """What config.yaml of a student holds: the data of its teacher's, and its own options."""
        names = [f.name for f in fields(teacher.kind.options)]
        config: dict[str, Any] = {"recipe": self.recipe.name}
        config |= {name: teacher.config[name] for name in names if name in teacher.config}
        for part in (self.recipe, self.training, self.distillation):
            config |= options_of_run.plain(part)
        path = None if teacher.folder is None else os.path.abspath(teacher.name)
        return {**config, "report": self.report, "teacher": path}


def distill(
    teacher: "Model",
    out: str | Path | None = None,
    *,
    student: str | Recipe | type[Recipe] | None = None,
    resume: bool = False,
    from_best: bool = False,
    overwrite: bool = False,
    log: str | None = None,
    voice: Voice | None = None,
    **options: Any,
) -> "Model":
    """Trains a student that samples in one pass to be this model, which samples step by step.

    The student minimises divergences from its teacher (for sound also a distance of spectra
    from real clips), and is then compared with it: its `distilled` has the numbers.

    Args:
        out: the run folder of the student; None keeps it in memory.
        student: its recipe; if None an inverse autoregressive flow of the teacher's depth, or
            the coupling flow that suits the data.
        resume: whether to go on with the run in `out`.
        from_best: whether to go on from its best model, with a new optimiser.
        overwrite: whether the run in `out` is replaced.
        log: a dashboard that is told as well, "tensorboard" or "trackio"; it needs `out`.
        voice: tells notes and progress; silent if None.
        options: fields of the student's recipe, of `Training`, and of the options of
            distillation.

    Raises:
        InputError: the two do not go together, or an option or the folder cannot be used.
        NumericalError: a loss or a gradient was not finite.
        Interrupted: Ctrl-C or SIGTERM; the state is saved in `out`.
    """
    modes = {"resume": resume, "from_best": from_best, "overwrite": overwrite}
    made = student_settings(teacher, student, options)
    return distill_with(made, teacher, out, **modes, log=log, voice=voice)


def student_settings(
    teacher: "Model", student: str | Recipe | type[Recipe] | None, values: Mapping[str, Any]
) -> StudentSettings:
    """The usual settings of a student of `teacher`, with `values` in their place.

    Raises:
        InputError: the recipe is no student of this teacher, or an option does not exist.
    """
    start = usual_student(teacher, student)
    rest = options_of_run.by_length(values)
    report = bool(rest.pop("report", start.report))
    parts = start.recipe, start.training, start.distillation
    recipe, training, distillation = options_of_run.share_out(parts, rest)
    return StudentSettings(recipe, training, distillation, report)


def usual_student(
    teacher: "Model", student: str | Recipe | type[Recipe] | None
) -> StudentSettings:
    """How a student of that recipe is made unless told otherwise.

    Raises:
        InputError: the recipe is no student of this teacher.
    """
    kind = teacher.kind
    usual = default_student(teacher.recipe, teacher.flow.event_shape)
    recipe = usual
    if isinstance(student, Recipe):
        recipe = student
    elif isinstance(student, type):
        recipe = without_batch_norm(student)
    elif student is not None and student != usual.name:
        recipe = without_batch_norm(recipe_of(student))
    check_student(recipe, teacher.schema)
    training = replace(kind.distillation.training, **kind.teaching(type(recipe)))
    return StudentSettings(recipe, training, kind.distillation())


def can_teach(model: "Model") -> bool:
    """Whether the model has a usual student, which samples faster than it does."""
    try:
        usual_student(model, None)
    except InputError:
        return False
    return True


def recipe_of(student: str) -> type[Recipe]:
    """The recipe that the user calls `student`.

    Raises:
        InputError: there is none of that name.
    """
    try:
        return find_recipe(student)
    except InputError as error:
        raise InputError(f"`student`: {error}") from None


def without_batch_norm(recipe: type[Recipe]) -> Recipe:
    """A student's recipe; it samples while it trains, which batch normalisation cannot."""
    names = {f.name for f in fields(recipe)}
    return recipe(**({"batch_norm": False} if "batch_norm" in names else {}))


@uncrowded()
def distill_with(
    settings: StudentSettings,
    teacher: "Model",
    out: str | Path | None = None,
    *,
    resume: bool = False,
    from_best: bool = False,
    overwrite: bool = False,
    log: str | None = None,
    voice: Voice | None = None,
) -> "Model":
    """Trains a student with complete settings; see `distill`."""
    voice = voice or Voice()
    kind, recipe, schema = teacher.kind, settings.recipe, teacher.schema
    check_student(recipe, schema)
    folder = teacher.folder
    if out is not None and folder is not None and path_of(out).resolve() == folder.resolve():
        raise InputError(f"`out` {out} is the teacher's folder: give another one")
    check_out(out, resume=resume, from_best=from_best, overwrite=overwrite)
    check_log(log, out)
    dataset = teacher.dataset_or(f"distill a run whose {schema.many} are there")
    flow = build_student(recipe, schema, teacher.flow, settings.training.seed)
    objective = settings.distillation.objective(flow, teacher.flow)
    voice.distilling(teacher, settings, dataset, flow, objective.described)
    goes_on = Run(out) if out is not None and (resume or from_best) else None
    settings = _with_pool(settings, objective, dataset, goes_on)
    if size := getattr(settings.distillation, "pool", None):
        voice.say(f"drawing {size:,} samples of the teacher")
    config = settings.config(teacher)
    run = None
    if out is not None:
        run = Run(
            out, recipe, schema, config, resume=resume, from_best=from_best, overwrite=overwrite
        )
    reporter, _ = logged(voice.reporter(schema, "", None) or Notes(voice), None, log, run)
    fitted = fit_student(
        flow,
        teacher.flow,
        dataset.train,
        dataset.valid,
        options=settings.distillation,
        training=settings.training,
        out=run,
        reporter=reporter,
    )
    config = replace(settings, training=fitted.training).config(teacher)
    model = type(teacher)(
        fitted.flow.to(teacher.flow.base.like),
        recipe,
        schema,
        config=config,
        folder=None if run is None else run.path,
        name=str(out) if out else "the student",
        dataset=dataset,
        container=teacher.container,
        fitted=fitted,
        voice=voice,
    )

    def compare() -> Any:
        terms = objective.described
        return kind.compare(model.flow, teacher, teacher.name, terms, voice)

    if run is not None:
        with together(fitted.training.processes > 1):
            finish(model, report=settings.report, distilled=compare)
    elif leads():
        model.distilled = compare()
    return model


def _with_pool(
    settings: StudentSettings, objective: Any, dataset: Any, run: Run | None
) -> StudentSettings:
    """The settings with the number of samples that the teacher draws, where it draws any.

    A `run` that goes on has the pool that it began with, however many steps are left.
    """
    if not hasattr(objective, "pool_size"):
        return settings
    pool = settings.distillation.pool
    if pool is None and run is not None and run.config_path.exists():
        pool = run.read_config().get("pool") or objective.largest_pool  # of an older caudal
    if pool is None:
        pool = objective.pool_size(settings.training, dataset.train)
    return replace(settings, distillation=replace(settings.distillation, pool=pool))
