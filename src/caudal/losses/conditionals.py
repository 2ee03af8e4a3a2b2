"""Conditionals of autoregressive flows: the divergence of two, and the mass of whole numbers.

The conditionals of a teacher come from its net. A student that is a chain of inverse
autoregressive flows with affine maps has conditionals in closed form too: at every position a mean
plus a scale times its noise, functions of z_<t alone.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor

from caudal.base import Independent, Normal
from caudal.bijection import Bijection, Inverse, parts_of
from caudal.bijections import Autoregressive, MuLaw, Prediction, Rescale, Standardise
from caudal.dequantization import AudioDequantization
from caudal.elementwise import Affine, Elementwise, Swapped
from caudal.flow import Flow

_INCREASING = (MuLaw, Rescale, Standardise)  # elementwise maps that keep the order
_SAME = 1e-9  # difference of two log-CDFs below which half of its digits are lost


class Conditionals(NamedTuple):
    """x_t = mean + exp(log_scale) z_t, mean and log-scale functions of z_<t; each (B, *event)."""

    x: Tensor
    mean: Tensor
    log_scale: Tensor


class Divergence(NamedTuple):
    """KL(q(x_t | z_<t) || p(x_t | x_<t)) of each position, in nats: (B, *event) each.

    It is the cross-entropy minus the entropy. If both are Gaussian, `log_ratio` is
    log(std_q / std_p), which ClariNet's regularisation keeps near zero; otherwise it is None.
    """

    entropy: Tensor
    cross_entropy: Tensor
    log_ratio: Tensor | None

    @property
    def kl(self) -> Tensor:
        """The divergence of each position."""
        return self.cross_entropy - self.entropy


def has_conditionals(student: Flow, teacher: Flow) -> bool:
    """Whether both have conditionals at every position, as this module needs them."""
    layers = parts_of(student.bijection)
    return (
        isinstance(student.base, Independent)
        and isinstance(teacher.base, Independent)
        and isinstance(teacher.bijection, Autoregressive)
        and isinstance(teacher.bijection.elementwise, Elementwise)
        and bool(layers)
        and all(isinstance(part, Inverse) and _is_affine(part.bijection) for part in layers)
    )


def has_gaussian_conditionals(student: Flow, teacher: Flow) -> bool:
    """Whether both have Gaussian conditionals, whose divergence is in closed form."""
    return (
        has_conditionals(student, teacher)
        and isinstance(student.base, Normal)
        and isinstance(teacher.base, Normal)
        and _is_affine(teacher.bijection)
    )


def conditionals(student: Flow, z: Tensor, context: Tensor | None = None) -> Conditionals:
    """The student's samples from noise z, with their means and log-scales.

    Its layers compose: from x = z s + m, the next layer makes x s' + m', where s' and m' are
    functions of z_<t, so that s_tot = prod_i s_i and m_tot = sum_i m_i prod_(j > i) s_j.
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
    samples: Conditionals,
    context: Tensor | None = None,
    draws: int = 1,
    generator: torch.Generator | None = None,
) -> Divergence:
    """KL of each of the student's conditionals from the teacher's, by one pass of the teacher.

    The entropy is exact: log s + 2 nats for a logistic, log s + log(2 pi e)/2 for a normal. The
    cross-entropy is in closed form if both are Gaussian. Otherwise it is a mean over `draws` of
    x_t given z_<t, reparameterised, while the x_<t stay as they are.
    Reference: Parallel WaveNet (van den Oord et al., 2017), arXiv:1711.10433.
    """
    layer = cast(Autoregressive, teacher.bijection)
    params = layer.net(samples.x, teacher.embed(context)).to(samples.x.dtype)
    ours, theirs = (cast(Independent, flow.base) for flow in (student, teacher))
    entropy = ours.entropy + samples.log_scale
    if has_gaussian_conditionals(student, teacher):
        mean, log_std = layer.elementwise.forward(torch.zeros_like(samples.x), params)
        kl = gaussian_kl(samples.mean, samples.log_scale, mean, log_std)
        return Divergence(entropy, entropy + kl, samples.log_scale - log_std)
    cross_entropy = torch.zeros_like(samples.x)
    for _ in range(draws):
        noise = ours.draw(*samples.x.shape, generator=generator).to(samples.x)
        x = torch.addcmul(samples.mean, samples.log_scale.exp(), noise)
        z, log_slope = layer.elementwise.inverse(x, params)
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


def is_discretizable(flow: Flow) -> bool:
    """Whether `discretized_log_prob` applies: one autoregressive layer, then fixed maps."""
    layer, *rest = parts_of(flow.bijection)
    return (
        isinstance(flow.dequantization, AudioDequantization)
        and isinstance(flow.base, Independent)
        and isinstance(layer, Autoregressive)
        and all(isinstance(part, (*_INCREASING, Prediction)) for part in rest)
    )


@torch.no_grad()
def discretized_log_prob(flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Log-probability of clips x (B, 1, T) of whole numbers, in nats, (B,): no noise, no bound.

    P(x_t | x_<t) = F(x_t + 1) - F(x_t), F the conditional's CDF given the midpoints of the steps
    before; the first and the last step are unbounded, so that all sum to one. This is a model of
    its own, the discretised mixture of logistics, and not the integral of the density that
    `log_prob` bounds; for narrow steps the two are close.
    References: PixelCNN++ (Salimans, Karpathy, Chen, Kingma, 2017), arXiv:1701.05517; Parallel
    WaveNet (van den Oord et al., 2017), arXiv:1711.10433.

    Raises:
        ValueError: `is_discretizable` is false for the flow.
    """
    if not is_discretizable(flow):
        raise ValueError("discretisation needs one autoregressive layer over dequantised sound")
    flow.lift(x)  # checks the shape
    first, *dressing = parts_of(flow.bijection)
    layer, embedded = cast(Autoregressive, first), flow.embed(context)
    steps = _Steps(x.double(), x.double() + 0.5, x.double() + 1)
    for part in reversed(dressing):
        steps = steps.through(part, embedded)
    low, middle, high = steps
    params = layer.net(middle.to(x.dtype), embedded).double()
    (z_low, _), (z, log_slope), (z_high, _) = (
        layer.elementwise.inverse(value, params) for value in (low, middle, high)
    )
    density = cast(Independent, flow.base).log_density(z)
    flat = density + log_slope + (high - low).log()
    last = cast(AudioDequantization, flow.dequantization).full_scale - 1
    z_low = z_low.masked_fill(x == -last - 1, -torch.inf)
    z_high = z_high.masked_fill(x == last, torch.inf)
    return _log_mass(flow, z_low, z_high, flat).flatten(1).sum(1)


class _Steps(NamedTuple):
    """Both ends of each step and its middle, given the middles of the steps before, (B, 1, T)."""

    low: Tensor
    middle: Tensor
    high: Tensor

    def through(self, part: Bijection, context: Tensor | None) -> "_Steps":
        """The same behind a fixed map, towards the noise."""
        if not isinstance(part, Prediction):
            return _Steps(*(part.inverse(value)[0] for value in self))
        middle, _ = part.inverse(self.middle, context)
        narrower = (-part.log_scale(self.middle, context)).exp()
        ends = (middle + (end - self.middle) * narrower for end in (self.low, self.high))
        return _Steps(next(ends), middle, next(ends))


def _log_mass(flow: Flow, low: Tensor, high: Tensor, flat: Tensor) -> Tensor:
    """log(F(high) - F(low)) of the base, computed in the tail where both keep their digits.

    Every base is symmetric: F(-z) = 1 - F(z). Where the two are equal even in that tail, the
    result is `flat`: the density at the midpoint times the width.
    """
    above = low + high > 0
    low, high = torch.where(above, -high, low), torch.where(above, -low, high)
    base = cast(Independent, flow.base)
    log_low, log_high = base.log_cdf(low), base.log_cdf(high)
    gap = log_high - log_low  # NaN if both are -inf
    return torch.where(gap > _SAME, log_high + torch.log(-torch.expm1(-gap)), flat)
