"""Distillation of sound: real clips lend the student their context and their spectra."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, cast

import torch
from annotated_types import Ge
from torch import Tensor

from caudal.bijection import Chain
from caudal.bijections import Prediction
from caudal.data.source import Source
from caudal.errors import InputError
from caudal.fields import check_fields
from caudal.flow import Flow
from caudal.losses import (
    Conditionals,
    Divergence,
    conditional_kl,
    conditionals,
    has_conditionals,
    has_gaussian_conditionals,
    spectral_loss,
)
from caudal.training.dressing import dressing_of
from caudal.training.objective import Objective
from caudal.training.options import Training
from caudal.training.rows import hold_out

_SOFT = 1e-3  # amplitude below which a batch counts as silent


@dataclass(frozen=True)
class AudioDistillation:
    """What a student of sound learns from real clips and its teacher. Every field is a flag.

    Raises:
        InputError: a value is out of its range.
    """

    kl: Annotated[float, Ge(0)] = 1.0
    """Weight of KL(student||teacher), nats a sample, on the student's own samples."""
    spectral: Annotated[float, Ge(0)] = 1.0
    """Weight of the distance of its spectra, at several resolutions, from those of the real clip
    whose context it was given: a KL alone leaves students quiet."""
    contrastive: Annotated[float, Ge(0)] = 0.0
    """Weight of KL(student||teacher with the context of another clip), taken off the rest."""
    regularization: Annotated[float, Ge(0)] = 4.0
    """Weight of the squared difference of log-scales, where both are Gaussian (ClariNet)."""
    draws: Annotated[int, Ge(1)] = 8
    """Draws of each sample in the cross-entropy, where it is not in closed form."""

    training: ClassVar[Training] = Training(
        steps=4000, batch_size=8, lr=1e-3, ema=0.995, validate_every=250, patience=0, clip=10.0
    )
    """How such a student trains by default."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.kl + self.spectral:
            raise InputError("nothing to learn from: give `kl` or `spectral` a weight")

    def objective(self, student: Flow, teacher: Flow) -> "AudioTerms":
        """The loss of a student of this teacher."""
        return AudioTerms(student, teacher, self)


class AudioTerms(Objective):
    """The terms of `AudioDistillation`, each a mean over samples, or over the clips of a batch.

    Raises:
        InputError: the two flows do not go together, or have no conditionals to compare.
    """

    words = {
        "kl": "KL(student||teacher), by position",
        "regularization": "squared difference of log-scales",
        "spectral": "spectral distance from the real clips",
        "contrastive": "KL given the context of another clip",
    }

    def __init__(
        self, student: Flow, teacher: Flow, options: AudioDistillation | None = None
    ) -> None:
        super().__init__(student, teacher)
        self.options = options = options or AudioDistillation()
        fixed = dressing_of(self.dressed)
        ends = [i + 1 for i, part in enumerate(fixed) if isinstance(part, Prediction)]
        self.inner, self.outer = (
            Chain(fixed[: max(ends, default=0)]),
            fixed[max(ends, default=0) :],
        )
        if not has_conditionals(self.student, self.teacher):
            raise InputError("audio is distilled from wavenet into parallel-wavenet, by position")
        self.gaussian = has_gaussian_conditionals(self.student, self.teacher)
        regularization = options.regularization * options.kl if self.gaussian else 0.0
        weights = {
            "kl": options.kl,
            "regularization": regularization,
            "spectral": options.spectral,
            "contrastive": -options.contrastive,
        }
        self.weights = {name: weight for name, weight in weights.items() if weight}

    @property
    def described(self) -> list[str]:
        """What is minimised, in words."""
        how = "closed form" if self.gaussian else f"{self.options.draws} draws a sample"
        return [line.replace("by position", how) for line in super().described]

    def rows(
        self, train: Source | None, valid: Source | None, training: Training
    ) -> tuple[Source, Source]:
        """The clips themselves as rows to learn from and to validate on."""
        if train is None:
            raise InputError("a student of sound learns from real clips: give them as `data`")
        return hold_out(train, training.seed) if valid is None else (train, valid)

    def terms(self, x: Tensor, context: Tensor | None) -> Mapping[str, Tensor]:
        """The terms on a batch of real clips x (B, 1, T) in whole numbers, and their contexts."""
        self.follow(x)
        with torch.no_grad():
            real = self._real(x)
            embedded = self.dressed.embed(context)
        z = self.student.base.sample(len(real), length=real.shape[-1]).to(real)
        drawn = conditionals(self.student, z, embedded)
        divergence = self._divergence(drawn, embedded)
        terms = {
            "kl": divergence.kl.mean(),
            "entropy": divergence.entropy.mean(),
            "cross_entropy": divergence.cross_entropy.mean(),
            "spectral": self._spectral(drawn, real, embedded, averaged=_is_loose(context)),
        }
        if divergence.log_ratio is not None:
            terms["regularization"] = divergence.log_ratio.square().mean()
        if "contrastive" in self.weights:
            terms["contrastive"] = self._contrast(drawn, embedded)
        return terms

    def _divergence(self, drawn: Conditionals, embedded: Tensor | None) -> Divergence:
        return conditional_kl(self.student, self.teacher, drawn, embedded, self.options.draws)

    def _contrast(self, drawn: Conditionals, embedded: Tensor | None) -> Tensor:
        """The divergence from a teacher that is given the context of the next clip of the batch.

        The last clip of a validation may be alone in its batch: then it keeps its own context.
        """
        if embedded is None or (len(embedded) < 2 and torch.is_grad_enabled()):
            raise InputError("`contrastive` needs a context, and two clips in a batch")
        other = embedded.roll(1, 0)
        return self._divergence(self._given(other, drawn, embedded), other).kl.mean()

    def _given(self, other: Tensor, drawn: Conditionals, embedded: Tensor) -> Conditionals:
        """The same clips and their conditionals, as flows with another context see them."""
        if not self.inner.parts:
            return drawn
        heard, _ = self.inner(drawn.x.double(), embedded)  # another filter may enlarge rounding
        x = self.inner.inverse(heard, other)[0].to(drawn.x)
        prediction = cast(Prediction, self.inner.parts[-1])
        ours, theirs = (prediction.log_scale(heard, c) for c in (embedded, other))
        louder = (ours - theirs).to(x)
        mean = torch.addcmul(x, drawn.mean - drawn.x, louder.exp())
        return Conditionals(x, mean, drawn.log_scale + louder)

    def _spectral(
        self, drawn: Conditionals, real: Tensor, embedded: Tensor | None, averaged: bool
    ) -> Tensor:
        """The distance of what is heard of the student from the real clips."""
        heard, _ = self.inner(drawn.x, embedded)
        # Amplitudes to a deviation of 1, as standardised clips have it.
        scale = real.square().mean().sqrt().clamp_min(_SOFT) if self.inner.parts else 1.0
        return spectral_loss(heard / scale, real / scale, averaged=averaged)

    def _real(self, x: Tensor) -> Tensor:
        """Clips in whole numbers as they come before a linear prediction, or else the student."""
        value, _ = self.dressed.lift(x)
        for part in reversed(self.outer):
            value, _ = part.inverse(value)
        return value


def _is_loose(context: Tensor | None) -> bool:
    """Whether the context does not say when a sound happens: then mean spectra are compared."""
    return context is None or context.shape[-1] == 1
