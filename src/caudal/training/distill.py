"""Probability density distillation: a fast density trains a flow with fast samples."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses.divergence import forward_kl, has_gaussian_conditionals, reverse_kl
from caudal.losses.guidance import Guide, pairs_up
from caudal.recipes import Recipe
from caudal.training.dressing import check_dressed_alike, undressed
from caudal.training.fit import Fitted, fit
from caudal.training.options import Training
from caudal.training.pool import features, samples
from caudal.training.progress import Reporter
from caudal.training.seeds import mix

if TYPE_CHECKING:
    from caudal.data import TableSchema

_POOL, _HELD_OUT = 10, 11  # what noise is drawn for, beside the purposes in `seeds`


@dataclass(frozen=True)
class Distillation:
    """What a student learns from. Every field is a flag of `caudal distill`.

    Raises:
        InputError: a value is out of its range.
    """

    forward: float = 1.0
    """Weight of KL(teacher||student), the likelihood of teacher samples: misses no mode."""
    guide: float = 1.0
    """Weight of layer-by-layer guidance, where the student's layers pair up with the teacher's."""
    reverse: float = 0.1
    """Weight of KL(student||teacher) on the student's own samples: keeps them where the teacher's
    are. In closed form for pairs with Gaussian conditionals, where it stands alone."""
    path: bool = False
    """Hold log q's own weights in that, so that the gradient vanishes where both agree; costs the
    density of the student's samples once more."""
    tail: float = 10.0
    """Log-ratios of student samples above so many nats, and of teacher samples above ten times as
    many, count by their logarithm only."""
    pool: int = 100_000
    """Samples of the teacher to learn from."""

    def __post_init__(self) -> None:
        for name in ("forward", "guide", "reverse"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"--{name} {getattr(self, name)}: must be at least 0")
        if not self.tail > 0:
            raise InputError(f"--tail {self.tail}: must be positive")
        if self.pool < 100:
            raise InputError(f"--pool {self.pool}: must be at least 100")


class DistillationLoss:
    """The weighted sum of the terms of `Distillation` that apply to a pair, for `fit`.

    Both flows are undressed and share events and contexts; the teacher is frozen.
    """

    def __init__(self, student: Flow, teacher: Flow, options: Distillation) -> None:
        self.student, self.teacher, self.options = student, teacher, options
        self.closed = has_gaussian_conditionals(student, teacher)
        paired = options.guide > 0 and not self.closed and pairs_up(student, teacher)
        self.guide = Guide(student, teacher) if paired else None
        if not (self.closed or self.guide or options.forward or options.reverse):
            raise InputError("nothing to learn from: give --forward or --reverse a weight")

    @property
    def terms(self) -> list[str]:
        """What is minimised, in words."""
        if self.closed:
            return ["KL(student||teacher), closed form of each conditional"]
        chosen = self.options
        named = (
            ("KL(teacher||student)", chosen.forward),
            ("layer-by-layer guidance", chosen.guide if self.guide else 0),
            ("KL(student||teacher)", chosen.reverse),
        )
        return [name if weight == 1 else f"{weight:g} {name}" for name, weight in named if weight]

    def __call__(self, flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Of a batch of teacher samples x and their contexts."""
        chosen, pair = self.options, self._pair(x)
        if self.closed:
            return reverse_kl(*pair, len(x), context)
        loss = x.new_zeros(())
        if chosen.forward:
            loss = loss + chosen.forward * self._forward(pair, x, context)
        if self.guide:
            loss = loss + chosen.guide * self.guide(x, context)
        if chosen.reverse:
            divergence = reverse_kl(*pair, len(x), context, path=chosen.path, tail=chosen.tail)
            loss = loss + chosen.reverse * divergence
        return loss

    def _forward(self, pair: tuple[Flow, Flow], x: Tensor, context: Tensor | None) -> Tensor:
        # A new student is far from everywhere: only outliers are to be softened.
        return forward_kl(*pair, x, context, tail=10 * self.options.tail)

    def _pair(self, x: Tensor) -> tuple[Flow, Flow]:
        """Both flows, where x is and as precise: the teacher, which is not trained, follows."""
        like = self.teacher.base.like
        if (like.device, like.dtype) != (x.device, x.dtype):
            self.teacher.to(x)
        return self.student, self.teacher

    def validate(self, flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
        """KL(teacher||student) plus KL(student||teacher) with softened tail: good both ways."""
        pair = self._pair(x)
        both = reverse_kl(*pair, len(x), context, tail=self.options.tail)
        return self._forward(pair, x, context) + both


def distill(
    student: Flow,
    teacher: Flow,
    contexts: Tensor | None = None,
    *,
    distillation: Distillation | None = None,
    training: Training | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    recipe: Recipe | None = None,
    schema: "TableSchema | None" = None,
    reporter: Reporter | None = None,
    config: dict[str, Any] | None = None,
) -> Fitted:
    """Trains a student to be its teacher, in place: `fit` with another loss.

    Args:
        student: new from its recipe, over the teacher's events and contexts. Of a table, it was
            assembled for the same schema and dressed as the teacher (`dress_as`).
        teacher: with a fast density; it is left as it is.
        contexts: rows (N, C) that a conditional teacher is asked with, drawn at random.
        distillation: what to learn from.
        training: how; `epochs` are passes over the pool of teacher samples.
        out: the run folder to leave behind; it, and what follows, as in `fit`.
        resume: as in `fit`.
        overwrite: as in `fit`.
        recipe: of the student.
        schema: of the teacher's table, if it has one.
        reporter: as in `fit`.
        config: as in `fit`.

    Raises:
        InputError: the two do not go together, or as `fit`.
        NumericalError: as `fit`.
    """
    options, training = distillation or Distillation(), training or Training()
    if options.pool < training.batch_size:
        raise InputError(f"--pool {options.pool}: fewer than one batch of {training.batch_size}")
    check_dressed_alike(student, teacher)
    bare, given = undressed(student), undressed(copy.deepcopy(teacher))
    given.requires_grad_(False).eval()
    loss = DistillationLoss(bare, given, options)
    rows = features(teacher, contexts)
    if reporter is not None:
        reporter.note(f"drawing {options.pool:,} samples of the teacher")
    fitted = fit(
        bare,
        samples(given, rows, options.pool, mix(training.seed, _POOL)),
        samples(given, rows, options.pool // 10, mix(training.seed, _HELD_OUT)),
        training=training,
        loss=loss,
        validation_loss=loss.validate,
        whole=student,
        out=out,
        resume=resume,
        overwrite=overwrite,
        recipe=recipe,
        schema=schema,
        reporter=reporter,
        config=config,
    )
    student.to(bare.base.like)  # what is not trained follows: device and precision
    return replace(fitted, flow=student.eval())
