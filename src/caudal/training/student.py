"""Which student goes with a teacher, and how it is built so that the two can be compared."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from caudal.bijection import Bijection, parts_of
from caudal.bijections import LULinear, Permutation
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.recipes import (
    IAF,
    MADE,
    MAF,
    NSF,
    NSFAR,
    NSFIAF,
    MAFMoG,
    ParallelWaveNet,
    Recipe,
    WaveNet,
)
from caudal.training.assemble import assemble
from caudal.training.dressing import dress_as, undressed

if TYPE_CHECKING:
    from caudal.data.schema import Schema

FAST = "parallel"


def default_student(teacher: Recipe) -> Recipe:
    """An inverse autoregressive flow of the teacher's depth, whose layers pair up with its own.

    Of a teacher that samples by iteration, whose layers have no such pairs, a spline flow.

    Raises:
        InputError: the teacher scores slowly, or samples fast already.
    """
    if teacher.scores != FAST:
        other = "wavenet" if teacher.audio else "maf"
        step = "sample" if teacher.audio else "column"
        raise InputError(
            f"{teacher.name} scores one {step} at a time: it cannot teach; train {other}"
        )
    if teacher.samples == FAST:
        raise InputError(f"{teacher.name} samples in one pass already: it needs no student")
    if teacher.samples == "iterated":
        return NSF()
    if isinstance(teacher, WaveNet):
        return _parallel(teacher)
    if isinstance(teacher, NSFAR):
        return NSFIAF(**asdict(teacher))
    if isinstance(teacher, MADE):
        return IAF(1, teacher.hidden, teacher.activation)
    assert isinstance(teacher, MAF | MAFMoG)
    deeper = isinstance(teacher, MAFMoG)  # its base is one more autoregressive layer
    return IAF(teacher.layers + deeper, teacher.hidden, teacher.activation)


def _parallel(teacher: WaveNet) -> ParallelWaveNet:
    """Four flows of the teacher's width, three shallow ones and one as deep as itself."""
    if teacher.law == "softmax":
        raise InputError(
            "a softmax is flat within its bins, and has no slope to learn by: train the teacher "
            "with --law gaussian or --law logistics"
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


def check_student(recipe: Recipe) -> None:
    """Refuses a student that would be no faster than its teacher.

    Raises:
        InputError: it does not sample in one pass, or cannot sample while it trains.
    """
    if recipe.samples != FAST:
        how = "by iteration" if recipe.samples == "iterated" else "one column at a time"
        raise InputError(f"{recipe.name} samples {how}: take iaf, nsf or realnvp")
    if getattr(recipe, "batch_norm", False):
        raise InputError("batch normalisation samples in evaluation only: give --no-batch-norm")


def build_student(recipe: Recipe, schema: "Schema", teacher: Flow, seed: int) -> Flow:
    """A new flow over the teacher's rows, dressed as the teacher.

    Where both mix the columns in the same places, it starts from the teacher's permutations and
    linear maps: then their layers pair up.

    Raises:
        InputError: the recipe's fields make no flow.
    """
    torch.manual_seed(seed)
    try:
        student = assemble(recipe, schema).to(teacher.base.like.dtype)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"recipe {recipe.name}: {error}") from None
    dress_as(student, teacher)
    share_mixing(student, teacher)
    return student.to(teacher.base.like.device)


def share_mixing(student: Flow, teacher: Flow) -> None:
    """Starts a student from its teacher's permutations and linear maps, if both mix alike.

    Then their other layers pair up, and can be learned one by one.
    """
    ours, theirs = (_mixing(undressed(flow)) for flow in (student, teacher))
    if [type(part) for part in ours] == [type(part) for part in theirs]:
        for part, given in zip(ours, theirs, strict=True):
            part.load_state_dict(given.state_dict())


def _mixing(flow: Flow) -> list[Bijection]:
    return [part for part in parts_of(flow.bijection) if isinstance(part, LULinear | Permutation)]
