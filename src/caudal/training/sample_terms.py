"""Distillation from samples: the student learns from a pool of its teacher's own samples."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from caudal.data.source import Rows, Source, as_often
from caudal.errors import InputError
from caudal.fields import check_fields
from caudal.flow import Flow
from caudal.losses import Terms, forward_kl, has_gaussian_conditionals, reverse_kl
from caudal.losses.guidance import Guide, pairs_up
from caudal.training.objective import Objective
from caudal.training.options import Training
from caudal.training.processes import as_launched
from caudal.training.rows import sample_rows
from caudal.training.seeds import HELD_OUT, POOL, mix

_POOL = 100_000  # samples of a teacher, at most
_POOL_NUMBERS = 1 << 24  # numbers in all samples together, at most, unless events are vectors
_FEW = 256  # samples, at least: they give a new student its statistics, and a tenth validates it
_DRAWING, _PROBE = 0.25, 0.01  # shares of the minutes: for draws, and to measure their pace
_CONTEXTS = 100_000  # training rows, at most, that lend samples of the teacher their context


@dataclass(frozen=True)
class Distillation:
    """What a student learns from samples of its teacher. Every field is a flag.

    Raises:
        InputError: a value is out of its range.
    """

    forward: Annotated[float, Ge(0)] = 1.0
    """Weight of KL(teacher||student), the likelihood of teacher samples: misses no mode."""
    guide: Annotated[float, Ge(0)] = 1.0
    """Weight of layer-by-layer guidance, where the student's layers pair up with the teacher's."""
    reverse: Annotated[float, Ge(0)] = 0.1
    """Weight of KL(student||teacher) on the student's own samples: keeps them where the teacher's
    are. For pairs with Gaussian conditionals it is in closed form, and the only term."""
    path: bool = False
    """Hold the weights of log q itself constant in the reverse term, so that the gradient vanishes
    where both agree; costs the density of the student's samples once more."""
    tail: Annotated[float, Gt(0)] = 10.0
    """Log-ratios of student samples above so many nats, and of teacher samples above ten times as
    many, count by their logarithm only."""
    pool: Annotated[int, Ge(100)] | None = None
    """Samples of the teacher to learn from. By default as many as all steps take, at most 100,000
    (of large images as many as hold 16 million numbers), and of a job of some minutes no more
    than are drawn in a quarter of them."""

    training: ClassVar[Training] = Training(
        steps=5000, batch_size=256, lr=2e-3, validate_every=500, patience=0
    )
    """How such a student trains by default."""

    def __post_init__(self) -> None:
        check_fields(self)

    def objective(self, student: Flow, teacher: Flow) -> "DivergenceTerms":
        """The loss of a student of this teacher."""
        return DivergenceTerms(student, teacher, self)


class DivergenceTerms(Objective):
    """The terms of `Distillation` that apply to a pair: forward, guide and reverse, or closed.

    Each is a mean over a batch of teacher samples, or over as many samples of the student. The
    best weights are selected by the divergences both ways.

    Raises:
        InputError: the two flows do not go together, or no term applies to them.
    """

    words = {
        "closed": "KL(student||teacher), closed form of each conditional",
        "forward": "KL(teacher||student)",
        "guide": "layer-by-layer guidance",
        "reverse": "KL(student||teacher)",
    }

    def __init__(self, student: Flow, teacher: Flow, options: Distillation | None = None) -> None:
        super().__init__(student, teacher)
        self.options = options = options or Distillation()
        self.closed = has_gaussian_conditionals(self.student, self.teacher)
        paired = options.guide > 0 and not self.closed and pairs_up(self.student, self.teacher)
        self.guide = Guide(self.student, self.teacher) if paired else None
        self.weights = {"closed": 1.0} if self.closed else self._weights()
        if not self.weights:
            raise InputError("nothing to learn from: give `forward` or `reverse` a weight")
        self.validation = _BothWays(self)

    def _weights(self) -> dict[str, float]:
        options = self.options
        guide = options.guide if self.guide else 0.0
        weights = {"forward": options.forward, "guide": guide, "reverse": options.reverse}
        return {name: weight for name, weight in weights.items() if weight}

    @property
    def largest_pool(self) -> int:
        """The most samples of the teacher that are drawn, unless more are asked for."""
        shape = self.dressed.event_shape
        return min(_POOL, _POOL_NUMBERS // math.prod(shape)) if len(shape) > 1 else _POOL

    def pool_size(self, training: Training, train: Source | None = None) -> int:
        """How many samples of the teacher there are to learn from; a tenth as many validate.

        They are no more than training sees, and no more than the teacher draws in a quarter of
        its minutes. Several processes, which must draw the same pool, do not look at the clock.

        Args:
            training: has the steps, or the minutes.
            train: rows whose contexts are given to a conditional teacher.

        Raises:
            InputError: as `rows`.
        """
        if self.options.pool is not None:
            return self.options.pool
        most = self.largest_pool
        if training.steps is not None:
            most = min(most, max(_FEW, training.steps * training.batch_size))
        if training.minutes is None or as_launched(training).processes > 1:
            return most
        embedded, seconds = _embedded(self.dressed, train), 60 * training.minutes
        pace = _pace(lambda n: _samples(self.teacher, embedded, n, training.seed), most, seconds)
        return min(most, max(_FEW, int(_DRAWING * seconds * pace * 10 / 11)))

    def rows(
        self,
        train: Source | None = None,
        valid: Source | None = None,
        training: Training | None = None,
    ) -> tuple[Rows, Rows]:
        """Samples of the teacher to learn from, and a tenth as many to validate on.

        Args:
            train: rows whose contexts are given to a conditional teacher, each at random.
            valid: is not used.
            training: has the seed of the samples.

        Raises:
            InputError: the contexts cannot be used, or all samples overflow.
        """
        training = training or self.options.training
        n = self.pool_size(training, train)
        embedded = _embedded(self.dressed, train)
        learned, held_out = (
            _samples(self.teacher, embedded, size, mix(training.seed, purpose))
            for purpose, size in ((POOL, n), (HELD_OUT, n // 10))
        )
        return learned, held_out

    def terms(self, x: Tensor, context: Tensor | None) -> Mapping[str, Tensor]:
        """The terms on a batch of teacher samples x and their contexts."""
        self.follow(x)
        pair, options = (self.student, self.teacher), self.options
        if self.closed:
            return {"closed": reverse_kl(*pair, len(x), context)}
        terms = {}
        if "forward" in self.weights:
            terms["forward"] = self.forward(x, context)
        if self.guide:
            terms["guide"] = self.guide(x, context)
        if "reverse" in self.weights:
            path, tail = options.path, options.tail
            terms["reverse"] = reverse_kl(*pair, len(x), context, path=path, tail=tail)
        return terms

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """KL(teacher||student) on teacher samples x.

        A new student is far from everywhere, so only extreme log-ratios are softened.
        """
        tail = 10 * self.options.tail
        return forward_kl(self.student, self.teacher, x, context, tail=tail)


class _BothWays(Terms):
    """KL(teacher||student) plus KL(student||teacher) with softened tail: good both ways."""

    def __init__(self, objective: DivergenceTerms) -> None:
        self.objective = objective
        self.reverse = "closed" if objective.closed else "reverse"
        self.weights = {"forward": 1.0, self.reverse: 1.0}
        self.latest = {}

    def terms(self, x: Tensor, context: Tensor | None) -> Mapping[str, Tensor]:
        """Both divergences on a batch of teacher samples x and their contexts."""
        objective = self.objective
        objective.follow(x)
        pair, tail = (objective.student, objective.teacher), objective.options.tail
        reverse = reverse_kl(*pair, len(x), context, tail=tail)  # draws before `forward` does
        return {"forward": objective.forward(x, context), self.reverse: reverse}


@torch.no_grad()
def _embedded(teacher: Flow, rows: Source | None) -> Tensor | None:
    """Contexts of rows, as the undressed flows take them; None for a teacher that takes none.

    Raises:
        InputError: there are none, they are not finite, or the teacher takes none.
    """
    if teacher.context_shape is None:
        if isinstance(rows, Rows) and rows.context is not None:
            raise InputError("the teacher takes no contexts: give rows without")
        return None
    contexts = None if rows is None else sample_rows(as_often(rows), _CONTEXTS, seed=0).context
    if contexts is None:
        raise InputError("the teacher is conditional: give contexts, as `data=(x, context)`")
    if not torch.isfinite(contexts).all():
        raise InputError("contexts have a NaN or infinite value: leave such rows out")
    return teacher.embed(contexts.to(teacher.base.like))


@torch.no_grad()
def _samples(teacher: Flow, contexts: Tensor | None, n: int, seed: int) -> Rows:
    """N samples, with contexts drawn with replacement; samples that overflow are left out.

    Raises:
        InputError: all of them overflow.
    """
    device = teacher.base.like.device
    generator = torch.Generator(device).manual_seed(seed)
    if contexts is not None:
        index = torch.randint(len(contexts), (n,), generator=generator, device=device)
        contexts = contexts[index]
    x = teacher.sample(n, contexts, generator=generator)
    fine = torch.isfinite(x).flatten(1).all(1)
    if not fine.any():
        raise InputError("every sample of the teacher overflows: it cannot teach")
    return Rows(x[fine], None if contexts is None else contexts[fine])


def _pace(draw: Callable[[int], object], most: int, seconds: float) -> float:
    """How many samples a second are drawn: in ever larger lots, the first of which compiles."""
    n = 8
    while True:
        start = time.monotonic()
        draw(n)
        took = time.monotonic() - start
        if n >= most or (n > 8 and took > _PROBE * seconds):
            return n / took
        n = min(4 * n, most)
