"""How far a student of sound is from its teacher, over whole clips."""

from collections.abc import Callable, Iterable, Sequence

import torch

from caudal.data.audio.clips import Clips
from caudal.flow import Flow
from caudal.losses import conditional_kl, conditionals
from caudal.report.gaussian import noise
from caudal.report.sound.evaluate import batch_of, ratio_two_se
from caudal.training.dressing import undressed

DRAWS = 16  # of each sample in the cross-entropy, where it is not in closed form


@torch.no_grad()
def kl_per_sample(
    student: Flow,
    teacher: Flow,
    clips: Clips,
    indices: Sequence[int],
    seed: int = 0,
    track: Callable[[Iterable[int], str, float | None], Iterable[int]] | None = None,
) -> tuple[float, float]:
    """KL(student||teacher) in nats a sample, and two standard errors of it by clips.

    For the context and the length of each clip the student draws a sample of its own: its
    divergence needs no real sound. In closed form where both are Gaussian, given the noise.
    """
    ours, theirs = undressed(student.eval()), undressed(teacher.eval())
    generator = noise(student, seed)
    totals, lengths = [], []
    for index in track(indices, "comparing", len(indices)) if track else indices:
        x, context = batch_of(clips.clip(index))
        rows = None if context is None else teacher.embed(context.to(teacher.base.like))
        z = student.base.sample(len(x), generator, x.shape[-1])
        found = conditionals(ours, z, rows)
        apart = conditional_kl(ours, theirs, found, rows, DRAWS, generator)
        totals.append(float(apart.kl.double().sum()))
        lengths.append(x.shape[-1])
    return ratio_two_se(
        torch.tensor(totals, dtype=torch.float64), torch.tensor(lengths, dtype=torch.float64)
    )
