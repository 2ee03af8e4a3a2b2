"""`caudal distill`: from a teacher's run to the run of a student that samples fast."""

import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from caudal.cli import distill_audio, finish, preview
from caudal.cli.config import check_recipe
from caudal.cli.opened import OpenedRun
from caudal.cli.options import DistillOptions, student_config
from caudal.cli.output import check_run_folder, with_advice
from caudal.cli.parse import parse
from caudal.cli.screen import Screen
from caudal.data import Dataset
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.recipes import RECIPES, Recipe
from caudal.report import Distilled, compare_students, fidelity_rows, speed_rows
from caudal.report.distilled import SPEED_HEAD
from caudal.training.audio_terms import AudioDistillation
from caudal.training.devices import leads
from caudal.training.distill import Distillation, DistillationLoss, distill
from caudal.training.dressing import undressed
from caudal.training.options import Training
from caudal.training.progress import RichReporter
from caudal.training.rows import sample_rows
from caudal.training.student import build_student, check_student, default_student

Options = DistillOptions[Any, Any]
MOST_CONTEXTS = 100_000
TRAINING = Training(steps=5000, batch_size=256, lr=2e-3, validate_every=500, patience=0)
"""How a student trains, if not told otherwise."""


def run(words: list[str]) -> int:
    """Runs the command."""
    options, opened = read_options(words)
    check_student(options.recipe)
    screen = Screen(options.json)
    out = _folder(options, opened)
    try:
        if opened.has_audio:
            distill_audio.run(screen, out, options, opened, words)
        else:
            _run_table(screen, out, options, opened, words)
    except KeyboardInterrupt as error:
        again = [word for word in words if word not in ("--resume", "--overwrite")]
        command = shlex.join(["caudal", "distill", *again, "--resume"])
        raise with_advice(error, out, command) from None
    return 0


def _run_table(
    screen: Screen, out: Path, options: Options, opened: OpenedRun, words: Sequence[str]
) -> None:
    data = opened.dataset("distill a run whose data are there")
    contexts = contexts_of(data, opened.flow)
    student = build_student(options.recipe, opened.table, opened.flow, options.training.seed)
    terms = _preview(screen, options, opened, student, data)
    config = student_config(options, opened.config)
    fitted = distill(
        student,
        opened.flow,
        contexts,
        distillation=options.distillation,
        training=options.training,
        out=out,
        resume=options.resume,
        overwrite=options.overwrite,
        recipe=options.recipe,
        schema=opened.table,
        reporter=RichReporter(),
        config=config,
    )
    if leads():
        student = fitted.flow.cpu()
        found = compare_students(
            student, opened.flow, opened.table, contexts, name=options.teacher, terms=terms
        )
        typed = shlex.join(["caudal", "distill", *words])
        finish.finish(
            screen, out, options.recipe, data, fitted, config, options.report, found, typed
        )
        show(screen, found, out)


def _folder(options: Options, opened: OpenedRun) -> Path:
    """The run folder, if a student may be put there."""
    out = Path(options.out or f"{options.teacher.rstrip('/')}-{options.recipe.name}")
    if options.resume and options.overwrite:
        raise InputError("--resume and --overwrite: choose one of them")
    if out.resolve() == opened.folder.resolve():
        raise InputError(f"--out {out} is the teacher's folder: give another one")
    if not options.resume:
        check_run_folder(out, options.overwrite)
    return out


def read_options(words: Sequence[str]) -> tuple[Options, OpenedRun]:
    """The options, with the defaults that follow from the teacher, and the teacher."""
    name = _student_named(words)
    if not words or words[0].startswith("-"):
        parse_options(words, name or "iaf")  # help, or what is missing
        raise InputError("caudal distill TEACHER ...: name the run of the teacher first")
    if name is not None and set(words) & {"-h", "--help"}:
        parse_options(words, name)
    opened = OpenedRun(words[0], "cpu")
    if opened.has_images:
        raise InputError(
            f"{words[0]} models {opened.images.size} images: distill runs of tables or audio"
        )
    usual = default_student(opened.recipe)
    check_recipe(name or usual.name, "--student")
    if opened.has_audio and name not in (None, usual.name):
        raise InputError(f"--student {name}: {words[0]} models audio; take {usual.name}")
    if RECIPES[name or usual.name].audio != opened.has_audio:
        raise InputError(f"--student {name}: {words[0]} models {opened.what}; take {usual.name}")
    recipe = usual if name in (None, usual.name) else _other(RECIPES[name])
    return parse_options(words, recipe.name, recipe), opened


def _student_named(words: Sequence[str]) -> str | None:
    """What --student says, if it is given."""
    import argparse

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--student", nargs="?")
    found: str | None = parser.parse_known_args(list(words))[0].student
    return found


def _other(kind: type[Recipe]) -> Recipe:
    """Another student, without batch normalisation: it samples while it trains."""
    names = {field.name for field in fields(kind)}
    return kind(**({"batch_norm": False} if "batch_norm" in names else {}))


def parse_options(words: Sequence[str], name: str, recipe: Recipe | None = None) -> Options:
    """The options for a student of that name; the defaults of its own are those of `recipe`."""
    import tyro

    check_recipe(name, "--student")
    generic: Any = DistillOptions
    student = RECIPES[name]
    terms: Any = AudioDistillation() if student.audio else Distillation()
    kind: type[Options] = generic[student, type(terms)]
    training = distill_audio.TRAINING if student.audio else TRAINING
    usual: Options = DistillOptions(tyro.MISSING, recipe or student(), training, terms)
    return parse(kind, words, "caudal distill", usual)


def contexts_of(data: Dataset, flow: Flow) -> Tensor | None:
    """Contexts of training rows, which the teacher is asked with."""
    context = sample_rows(data.train, MOST_CONTEXTS, seed=0).context
    return None if context is None else context.to(flow.base.like)


def _preview(
    screen: Screen,
    options: Options,
    opened: OpenedRun,
    student: Flow,
    data: Dataset,
) -> list[str]:
    """Says who learns what from whom; gives the terms that are minimised."""
    teacher = f"{opened.recipe.name} in {options.teacher}"
    screen.say(f"\nteacher: {teacher}, trained on {Path(data.name).name}")
    for note in data.notes:
        screen.warn(note)
    preview.show_recipe(screen, options.recipe, student, data, advise=False)
    frozen = undressed(opened.flow)
    terms = DistillationLoss(undressed(student), frozen, options.distillation).terms
    screen.say(f"minimises {' + '.join(terms)}\n")
    return terms


def show(screen: Screen, found: Distilled, out: Path) -> None:
    """The student beside its teacher."""
    screen.say(f"\nstudent beside {found.teacher}, {found.fidelity.n:,} samples of each")
    screen.table(["", "", ""], fidelity_rows(found.fidelity), " n ")
    screen.say("\nmilliseconds to sample")
    screen.table(SPEED_HEAD, speed_rows(found.speeds), "nnnnnn")
    for line in found.verdict:
        screen.say(line, style="bold")
    screen.say(f"\ncompared in {out / 'compare.json'}")
    exact = f"caudal sample {shlex.quote(str(out))} --exact {shlex.quote(found.teacher)}"
    screen.say(f"exact samples of the teacher: {exact} -n 1000 --out exact.csv")
