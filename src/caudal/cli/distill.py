"""`caudal distill`: from a teacher's run to the run of a student that samples fast."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from tyro.conf import Positional

from caudal.cli.screen import Screen, with_advice
from caudal.cli.train import AnyRecipe, RunOptions
from caudal.cli.words import parse, peek
from caudal.errors import InputError
from caudal.modality import MODALITIES, modality
from caudal.model import Model, load
from caudal.model.settings import LENGTHS, of_length
from caudal.model.students import (
    StudentSettings,
    distill_with,
    recipe_of,
    usual_student,
    without_batch_norm,
)
from caudal.training.options import Training
from caudal.training.processes import leads

Objective = TypeVar("Objective")


@dataclass(frozen=True)
class DistillOptions(Generic[AnyRecipe, Objective]):
    """Trains a student that samples in one pass to be a teacher that goes step by step.

    The student is evaluated as any run is, where its own density is fast enough, and measured
    against its teacher: divergences both ways, weights, a classifier, columns, speed; for audio
    the divergence, and spectra and loudness beside real clips.
    """

    teacher: Positional[str]
    """Run folder of the teacher."""
    recipe: AnyRecipe
    training: Training
    distillation: Objective
    run: RunOptions = RunOptions()
    student: str | None = None
    """Recipe of the student: iaf, nsf-iaf, nsf, realnvp, nice; for images also glow; for audio
    parallel-wavenet. If not given, an inverse autoregressive flow of the teacher's depth, or the
    coupling flow that suits the data. --student NAME --help lists its own options."""


def run(words: list[str]) -> int:
    """Runs the command."""
    options, teacher = read_options(words)
    screen = Screen(options.run.json)
    teacher.voice = screen
    out = Path(options.run.out or f"{options.teacher.rstrip('/')}-{options.recipe.name}")
    parts = options.recipe, options.training, options.distillation, options.run.report
    try:
        told: dict[str, Any] = {**options.run.modes, "log": options.run.log, "voice": screen}
        model = distill_with(StudentSettings(*parts), teacher, out, **told)
        if leads():
            screen.trained(model)
            _tell_exact(screen, model, options.teacher, out)
    except KeyboardInterrupt as error:
        again = [word for word in words if word not in ("--resume", "--from-best", "--overwrite")]
        command = shlex.join(["caudal", "distill", *again, "--resume"])
        raise with_advice(error, out, command) from None
    return 0


def read_options(words: Sequence[str]) -> tuple[DistillOptions[Any, Any], Model]:
    """The options, with the defaults that follow from the teacher, and the teacher.

    Raises:
        InputError: there is no such teacher, or it cannot have such a student.
    """
    name = peek(words, "student")["student"]
    if not words or words[0].startswith("-"):
        parse_alone(words, name or "iaf")  # prints help, or says what is missing
        raise InputError("caudal distill TEACHER ...: name the run of the teacher first")
    if name is not None and set(words) & {"-h", "--help"}:
        parse_alone(words, name)
    teacher = load(words[0])
    start = usual_student(teacher, name)
    return _parse(words, start), teacher


def parse_alone(words: Sequence[str], name: str) -> DistillOptions[Any, Any]:
    """The options for a student of that name, where there is no teacher to follow."""
    recipe = without_batch_norm(recipe_of(name))
    kinds = [modality(each) for each in reversed(MODALITIES)]
    kind = next(each for each in kinds if each.takes(type(recipe)))
    start = StudentSettings(recipe, kind.distillation.training, kind.distillation())
    return _parse(words, start)


def _parse(words: Sequence[str], start: StudentSettings) -> DistillOptions[Any, Any]:
    import tyro

    generic: Any = DistillOptions
    kind = generic[type(start.recipe), type(start.distillation)]
    training = replace(start.training, **of_length(peek(words, *LENGTHS)))
    default = DistillOptions(tyro.MISSING, start.recipe, training, start.distillation)
    return parse(kind, words, "caudal distill", default)


def _tell_exact(screen: Screen, model: Model, teacher: str, out: Path) -> None:
    """How to get exact samples of the teacher, where that can be done."""
    if hasattr(model.kind.drawing(), "exact"):
        exact = f"caudal sample {shlex.quote(str(out))} --exact {shlex.quote(teacher)}"
        screen.say(f"exact samples of the teacher: {exact} -n 1000 --out exact.csv")
