"""Students: which go with a teacher, how one is built, and how it is trained."""

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from caudal.bijection import Bijection, Within, parts_of
from caudal.bijections import ActNorm, Correlate, Decorrelate, LULinear, Permutation
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.modality import assemble, modality_of
from caudal.nets import Withheld
from caudal.numerics import own_randomness, redirected
from caudal.recipes import (
    IAF,
    MADE,
    MAF,
    NSF,
    NSFAR,
    NSFIAF,
    RECIPES,
    Converted,
    Glow,
    MAFMoG,
    ParallelWaveNet,
    Recipe,
    TarFlow,
    TarFlowIAF,
    WaveNet,
)
from caudal.training.clock import Budget
from caudal.training.dressing import dress_as, undressed_pair
from caudal.training.fit import Fitted, fit
from caudal.training.objective import Lesson
from caudal.training.options import Training
from caudal.training.progress import Reporter
from caudal.training.rows import RowsLike, rows_for
from caudal.training.run import Run
from caudal.training.sample_terms import Distillation

if TYPE_CHECKING:
    from caudal.data import Schema

FAST = "parallel"
_MIXING = (ActNorm, Correlate, Decorrelate, LULinear, Permutation)


def default_student(teacher: Recipe, event_shape: tuple[int, ...]) -> Recipe:
    """The student of a teacher, unless the user chooses another.

    It is an inverse autoregressive flow of the teacher's depth, whose layers pair up with the
    teacher's. The layers of a teacher that samples by iteration, or of a recipe of the user's own,
    have no such pairs: its student is a coupling flow, Glow for images (C, H, W) and a spline flow
    for vectors. Glow is also the
    student of a transformer flow of images: in equal time it comes nearer than paired layers.

    Raises:
        InputError: the teacher scores slowly, or samples fast already.
    """
    if teacher.scores != FAST:
        others = ", ".join(_teachers_like(teacher))
        raise InputError(
            f"{teacher.name} scores one position at a time: it cannot teach; train {others}"
        )
    if teacher.samples == FAST:
        raise InputError(f"{teacher.name} samples in one pass already: it needs no student")
    if isinstance(teacher, WaveNet):
        return _parallel(teacher)
    if isinstance(teacher, Converted):
        return NSFIAF()
    if isinstance(teacher, NSFAR):
        return NSFIAF(**asdict(teacher))
    if isinstance(teacher, TarFlow):
        if _is_squeezable(event_shape):
            return Glow()
        return TarFlowIAF(**{k: v for k, v in asdict(teacher).items() if k != "order"})
    if isinstance(teacher, MADE):
        return IAF(1, teacher.hidden, teacher.activation)
    if isinstance(teacher, MAF | MAFMoG):
        deeper = isinstance(teacher, MAFMoG)  # its base is one more autoregressive layer
        return IAF(teacher.layers + deeper, teacher.hidden, teacher.activation)
    return Glow() if _is_squeezable(event_shape) else NSF()


def students(schema: "Schema") -> list[str]:
    """The names of the recipes that sample such data in one pass."""
    takes = modality_of(schema).takes
    fast = ((name, kind) for name, kind in RECIPES.items() if kind.samples == FAST)
    return [name for name, kind in fast if takes(kind) and not kind.circular]


def check_student(recipe: Recipe, schema: "Schema") -> None:
    """Refuses a student that cannot model the data, or would be no faster than its teacher.

    Raises:
        InputError: says why, and which students there are.
    """
    advice = f"take {', '.join(students(schema))}"
    if not modality_of(schema).takes(type(recipe)):
        raise InputError(f"`student` {recipe.name}: does not model such data; {advice}")
    if recipe.samples != FAST:
        how = "by iteration" if recipe.samples == "iterated" else "one position at a time"
        raise InputError(f"`student` {recipe.name}: samples {how}; {advice}")
    if getattr(recipe, "batch_norm", False):
        raise InputError("batch normalisation samples in evaluation only: give `batch_norm=False`")


def build_student(recipe: Recipe, schema: "Schema", teacher: Flow, seed: int) -> Flow:
    """A new flow over the teacher's rows, dressed as the teacher.

    Where both mix the columns in the same places, it starts from the teacher's permutations and
    linear maps, so that their layers pair up.

    Raises:
        InputError: the recipe's fields make no flow.
    """
    with own_randomness(seed=seed), redirected():
        student = assemble(recipe, schema).to(teacher.base.like.dtype)
    dress_as(student, teacher)
    share_mixing(student, teacher)
    if isinstance(student.embedding, Withheld):
        student.embedding.share = 0.0  # it learns what the teacher draws given labels
    return student.to(teacher.base.like.device)


def share_mixing(student: Flow, teacher: Flow) -> None:
    """Starts a student from its teacher's permutations and linear maps, if both have the same.

    Their other layers then pair up, and can be learned one by one.
    """
    ours, theirs = (_mixing(flow.bijection) for flow in undressed_pair(student, teacher))
    if _shapes(ours) == _shapes(theirs):
        for part, source in zip(ours, theirs, strict=True):
            part.load_state_dict(source.state_dict())


def distill(
    student: Flow,
    teacher: Flow,
    data: RowsLike | None = None,
    validation: RowsLike | None = None,
    *,
    options: Lesson | None = None,
    training: Training | None = None,
    out: str | Path | Run | None = None,
    reporter: Reporter | None = None,
) -> Fitted:
    """Trains a student to be its teacher, in place: `fit` with another loss.

    Args:
        student: new from its recipe, over the teacher's events and contexts; it takes over the
            teacher's dressing, which is what standardises both.
        teacher: with a fast density; it is left as it is.
        data: rows of the teacher, as `fit` takes them. `Distillation` draws samples of the
            teacher instead, and needs the context of rows alone, where the teacher has one;
            `AudioDistillation` learns from these clips. A run that may go on with other steps
            than it began with needs a `pool` of its own.
        validation: clips to select the best weights on; a tenth of `data` if not given.
        options: what to learn; `Distillation()` if not given. Each term of the loss is logged.
        training: how to train; `options.training` if not given.
        out: the run folder to leave behind, as of `fit`, with the student's recipe and schema.
        reporter: receives progress.

    Raises:
        InputError: the two flows do not go together, or as `fit`.
        NumericalError: as `fit`.
        Interrupted: as `fit`.
    """
    begun = time.monotonic()
    dress_as(student, teacher)
    objective = (options or Distillation()).objective(student, teacher)
    training = training or (options or Distillation).training
    minutes = training.minutes  # what the teacher draws is a part of them
    real, held_out = (
        None if rows is None else rows_for(teacher, rows) for rows in (data, validation)
    )
    train, valid = objective.rows(real, held_out, training)
    bare, _ = undressed_pair(student, teacher)
    fitted = fit(
        bare,
        train,
        valid,
        training=training,
        loss=objective,
        validation_loss=objective.validation,
        whole=student,
        out=out,
        reporter=reporter,
        budget=None if minutes is None else Budget(begun + 60 * minutes),
    )
    student.to(bare.base.like)  # the dressing is not trained, and follows: device and precision
    return replace(fitted, flow=student.eval())


def _mixing(bijection: Bijection) -> list[Bijection]:
    """The linear maps and permutations, within views as well, from the noise to the data."""
    mixing: list[Bijection] = []
    for part in parts_of(bijection):
        if isinstance(part, Within):
            mixing += _mixing(part.bijection)
        elif isinstance(part, _MIXING):
            mixing.append(part)
    return mixing


def _shapes(parts: list[Bijection]) -> list[tuple[type, list[torch.Size]]]:
    return [(type(part), [value.shape for value in part.state_dict().values()]) for part in parts]


def _teachers_like(recipe: Recipe) -> list[str]:
    """The names of recipes for such data that score in one pass and need a student to sample."""
    return [
        name
        for name, kind in RECIPES.items()
        if kind.scores == FAST and kind.samples != FAST and kind.vectors == recipe.vectors
    ]


def _is_squeezable(event_shape: tuple[int, ...]) -> bool:
    """Whether events are images (C, H, W) that Glow can halve."""
    return len(event_shape) == 3 and all(size % 2 == 0 for size in event_shape[1:])


def _parallel(teacher: WaveNet) -> ParallelWaveNet:
    """Four flows of the teacher's width: three shallow ones and one as deep as the teacher."""
    if teacher.law == "softmax":
        raise InputError(
            "a softmax is flat within its bins, and has no slope to learn by: train the teacher "
            'with `law="gaussian"` or `law="logistics"`'
        )
    return ParallelWaveNet(
        channels=teacher.channels,
        cycle=teacher.cycle,
        kernel=teacher.kernel,
        floor=teacher.floor,
        hop=teacher.hop,
        flows=(*[min(teacher.cycle, teacher.layers)] * 3, teacher.layers),
        noise="normal" if teacher.law == "gaussian" else "logistic",
    )
