"""Distillation of sound: real clips lend the student their context and their spectra."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from caudal.bijections import LinearPrediction
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
        nearest = dressing_of(self.dressed)[:1]
        self.prediction = next((p for p in nearest if isinstance(p, LinearPrediction)), None)
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
            real = self._standard(x)
            embedded = self.dressed.embed(context)
        z = self.student.base.sample(len(real), length=real.shape[-1]).to(real)
        drawn = conditionals(self.student, z, embedded)
        divergence = self._divergence(drawn, embedded)
        terms = {
            "kl": divergence.kl.mean(),
            "entropy": divergence.entropy.mean(),
            "cross_entropy": divergence.cross_entropy.mean(),
            "spectral": spectral_loss(
                self._heard(drawn.x, embedded), real, averaged=_is_loose(context)
            ),
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
        """The same sounds and their conditionals, as flows with another context see them."""
        if self.prediction is None:
            return drawn
        heard = self._heard(drawn.x.double(), embedded)  # a foreign filter may enlarge rounding
        x = self.prediction.inverse(heard, other)[0].to(drawn.x)
        ours, theirs = (self.prediction.log_scale(c, x.shape[-1]) for c in (embedded, other))
        louder = (ours - theirs).to(x)
        mean = torch.addcmul(x, drawn.mean - drawn.x, louder.exp())
        return Conditionals(x, mean, drawn.log_scale + louder)

    def _heard(self, x: Tensor, embedded: Tensor | None) -> Tensor:
        """The sound, of deviation about 1, that a clip of an undressed flow stands for."""
        return x if self.prediction is None else self.prediction(x, embedded)[0]

    def _standard(self, x: Tensor) -> Tensor:
        """Sound in whole numbers as one of deviation about 1."""
        value, _ = self.dressed.lift(x)
        for part in reversed(dressing_of(self.dressed)):
            if part is not self.prediction:
                value, _ = part.inverse(value)
        return value


def _is_loose(context: Tensor | None) -> bool:
    """Whether the context does not say when a sound happens: then mean spectra are compared."""
    return context is None or context.shape[-1] == 1
