"""What a student of sound learns from, term by term."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses import (
    Conditionals,
    Terms,
    conditional_kl,
    conditionals,
    has_conditionals,
    has_gaussian_conditionals,
    spectral_loss,
)
from caudal.training.dressing import dressing_of, undressed


@dataclass(frozen=True)
class AudioDistillation:
    """What a student of sound learns from. Every field is a flag of `caudal distill`.

    Raises:
        InputError: a value is out of its range.
    """

    kl: float = 1.0
    """Weight of KL(student||teacher), nats a sample, on the student's own samples."""
    spectral: float = 1.0
    """Weight of the distance of its spectra, at several resolutions, from those of the real clip
    whose context it was given: a KL alone leaves students quiet."""
    contrastive: float = 0.0
    """Weight of KL(student||teacher with the context of another clip), taken off the rest."""
    regularization: float = 4.0
    """Weight of the squared difference of log-scales, where both are Gaussian (ClariNet)."""
    draws: int = 8
    """Draws of each sample in the cross-entropy, where it is not in closed form."""

    def __post_init__(self) -> None:
        for name in ("kl", "spectral", "contrastive", "regularization"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"--{name} {getattr(self, name)}: must be at least 0")
        if not self.kl + self.spectral:
            raise InputError("nothing to learn from: give --kl or --spectral a weight")
        if self.draws < 1:
            raise InputError(f"--draws {self.draws}: must be at least 1")


class AudioDistillationLoss(Terms):
    """The terms of `AudioDistillation`, each a mean over samples, or over clips of a batch.

    Both flows share events and contexts, and are dressed alike; the teacher is frozen, and its
    gradients reach the student through what the teacher hears.

    Raises:
        InputError: the pair has no conditionals to compare.
    """

    def __init__(self, student: Flow, teacher: Flow, options: AudioDistillation) -> None:
        self.dressed, self.options = teacher, options
        self.student, self.teacher = undressed(student), undressed(teacher)
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
        self.latest = {}

    @property
    def described(self) -> list[str]:
        """What is minimised, in words."""
        how = "closed form" if self.gaussian else f"{self.options.draws} draws a sample"
        words = {
            "kl": f"KL(student||teacher), {how}",
            "regularization": "squared difference of log-scales",
            "spectral": "spectral distance from the real clips",
            "contrastive": "KL given the context of another clip",
        }
        return [words[n] if w == 1 else f"{w:g} {words[n]}" for n, w in self.weights.items()]

    def terms(self, x: Tensor, context: Tensor | None) -> Mapping[str, Tensor]:
        """Of a batch of real clips x (B, 1, T) in whole numbers, and their context."""
        self._follow(x)
        with torch.no_grad():
            real = self._undress(x)
            rows = self.dressed.embed(context)
        z = self.student.base.sample(len(real), length=real.shape[-1]).to(real)
        found = conditionals(self.student, z, rows)
        apart = conditional_kl(self.student, self.teacher, found, rows, self.options.draws)
        terms = {
            "kl": apart.kl.mean(),
            "entropy": apart.entropy.mean(),
            "cross_entropy": apart.cross_entropy.mean(),
            "spectral": spectral_loss(found.x, real, averaged=self._is_loose(context)),
        }
        if apart.log_ratio is not None:
            terms["regularization"] = apart.log_ratio.square().mean()
        if "contrastive" in self.weights:
            terms["contrastive"] = self._contrast(found, rows)
        return terms

    def _follow(self, x: Tensor) -> None:
        """Moves the teacher, which is not trained, to where x is, in its precision."""
        like = self.dressed.base.like
        if (like.device, like.dtype) != (x.device, x.dtype):
            self.dressed.to(x)

    def _contrast(self, found: Conditionals, rows: Tensor | None) -> Tensor:
        """The divergence from a teacher that is told of the next clip of the batch.

        The last clip of a validation may be alone in its batch: then it is told of that itself.
        """
        if rows is None or (len(rows) < 2 and torch.is_grad_enabled()):
            raise InputError("--contrastive needs a context, and two clips in a batch")
        other = rows.roll(1, 0)
        return conditional_kl(
            self.student, self.teacher, found, other, self.options.draws
        ).kl.mean()

    def _undress(self, x: Tensor) -> Tensor:
        """Whole numbers as the undressed flows have them, of deviation about 1."""
        value, _ = self.dressed.lift(x)
        for part in reversed(dressing_of(self.dressed)):
            value, _ = part.inverse(value)
        return value

    @staticmethod
    def _is_loose(context: Tensor | None) -> bool:
        """Whether nothing says when a sound happens: then spectra compare by their means."""
        return context is None or context.shape[-1] == 1
