"""What each sample is given those before it: of a teacher by its net, of a student by its noise.

A student that is a chain of inverse autoregressive flows with affine maps has, at every position,
a conditional in closed form: a mean plus a scale times its noise, functions of z_<t alone.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor

from caudal.base import Independent, Normal
from caudal.bijection import Inverse, parts_of
from caudal.bijections import Autoregressive
from caudal.elementwise import Affine, Swapped
from caudal.flow import Flow


class Conditionals(NamedTuple):
    """x_t = mean + exp(log_scale) z_t, mean and log-scale functions of z_<t; each (B, *event)."""

    x: Tensor
    mean: Tensor
    log_scale: Tensor


class Divergence(NamedTuple):
    """KL(q(x_t | z_<t) || p(x_t | x_<t)) of each position, in nats: (B, *event) each.

    It is the cross-entropy less the entropy. Where both are Gaussian, `log_ratio` is
    log(std_q / std_p), which ClariNet's regularisation keeps near zero; else None.
    """

    entropy: Tensor
    cross_entropy: Tensor
    log_ratio: Tensor | None

    @property
    def kl(self) -> Tensor:
        """Of each position."""
        return self.cross_entropy - self.entropy


def has_conditionals(student: Flow, teacher: Flow) -> bool:
    """Whether both have a conditional at every position, in the sense of this module."""
    layers = parts_of(student.bijection)
    return (
        isinstance(student.base, Independent)
        and isinstance(teacher.base, Independent)
        and isinstance(teacher.bijection, Autoregressive)
        and bool(layers)
        and all(isinstance(part, Inverse) and _is_affine(part.bijection) for part in layers)
    )


def has_gaussian_conditionals(student: Flow, teacher: Flow) -> bool:
    """Whether these are Gaussian, so that their divergence is in closed form."""
    return (
        has_conditionals(student, teacher)
        and isinstance(student.base, Normal)
        and isinstance(teacher.base, Normal)
        and _is_affine(teacher.bijection)
    )


def conditionals(student: Flow, z: Tensor, context: Tensor | None = None) -> Conditionals:
    """The student's samples of noise z, and what they are made of.

    Its flows compose: with x = z s + m so far, the next makes it x s' + m', functions of z_<t, so
    that s_tot = prod_i s_i and m_tot = sum_i m_i prod_(j > i) s_j.
    Reference: Parallel WaveNet (van den Oord et al., 2017), arXiv:1711.10433.
    """
    rows = student.embed(context)
    x, mean, log_scale = z, torch.zeros_like(z), torch.zeros_like(z)
    for part in parts_of(student.bijection):
        layer = cast(Autoregressive, cast(Inverse, part).bijection)
        params = layer.net(x, rows).to(x.dtype)
        x, log_slope = layer.elementwise.inverse(x, params)
        mean, _ = layer.elementwise.inverse(mean, params)
        log_scale = log_scale + log_slope
    return Conditionals(x, mean, log_scale)


def conditional_kl(
    student: Flow,
    teacher: Flow,
    found: Conditionals,
    context: Tensor | None = None,
    draws: int = 1,
    generator: torch.Generator | None = None,
) -> Divergence:
    """How far each of the student's conditionals is from the teacher's, one pass of the teacher.

    The entropy is exact: log s + 2 nats of a logistic, log s + log(2 pi e)/2 of a normal. The
    cross-entropy is in closed form where both are Gaussian; else it is a mean over `draws` of x_t
    given z_<t, reparameterised, the x_<t before them kept as they are.
    Reference: Parallel WaveNet (van den Oord et al., 2017), arXiv:1711.10433.
    """
    given = cast(Autoregressive, teacher.bijection)
    params = given.net(found.x, teacher.embed(context)).to(found.x.dtype)
    ours, theirs = (cast(Independent, flow.base) for flow in (student, teacher))
    entropy = ours.entropy + found.log_scale
    if has_gaussian_conditionals(student, teacher):
        mean, log_std = given.elementwise.forward(torch.zeros_like(found.x), params)
        kl = gaussian_kl(found.mean, found.log_scale, mean, log_std)
        return Divergence(entropy, entropy + kl, found.log_scale - log_std)
    cross_entropy = torch.zeros_like(found.x)
    for _ in range(draws):
        noise = ours.draw(*found.x.shape, generator=generator).to(found.x)
        x = torch.addcmul(found.mean, found.log_scale.exp(), noise)
        z, log_slope = given.elementwise.inverse(x, params)
        cross_entropy = cross_entropy - (theirs.log_density(z) + log_slope)
    return Divergence(entropy, cross_entropy / draws, None)


def gaussian_kl(mean_q: Tensor, log_std_q: Tensor, mean_p: Tensor, log_std_p: Tensor) -> Tensor:
    """KL(N(mean_q, std_q^2) || N(mean_p, std_p^2)) of each element, in nats.

    With d = log std_q - log std_p: -d + (exp(2d) - 1)/2 + (mean_p - mean_q)^2 / (2 std_p^2), which
    is finite at the smallest scales.
    Reference: ClariNet (Ping, Peng, Chen, 2018), arXiv:1807.07281.
    """
    d = log_std_q - log_std_p
    apart = (mean_p - mean_q) * (-log_std_p).exp()
    return -d + 0.5 * (2 * d).expm1() + 0.5 * apart.square()


def _is_affine(part: object) -> bool:
    if not isinstance(part, Autoregressive):
        return False
    law = part.elementwise
    return isinstance(law.elementwise if isinstance(law, Swapped) else law, Affine)
