"""How far a student is from its teacher: Kullback-Leibler divergences, from samples of either."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call

from caudal.flow import Flow
from caudal.losses.conditionals import conditional_kl, conditionals, has_gaussian_conditionals


def forward_kl(
    student: Flow,
    teacher: Flow,
    x: Tensor,
    context: Tensor | None = None,
    *,
    tail: float = math.inf,
) -> Tensor:
    """KL(teacher || student) = E_p[log p(x) - log q(x)], x samples of the teacher: a scalar, nats.

    Its gradient is that of the student's likelihood of the teacher's samples: it misses no mode,
    and says nothing of student samples where the teacher has none. Log-ratios above
    `tail` are softened as in `reverse_kl`; rows whose density overflows are left out.
    """

    def log_ratios(x: Tensor, context: Tensor | None) -> Tensor:
        with torch.no_grad():
            log_p = _log_prob(teacher, x, context)
        return log_p - student.log_prob(x, context)

    return _softened(_of_finite_rows(log_ratios, x, context), tail).mean()


def reverse_kl(
    student: Flow,
    teacher: Flow,
    n: int,
    context: Tensor | None = None,
    *,
    path: bool = False,
    tail: float = math.inf,
) -> Tensor:
    """KL(student || teacher) = E_q[log q(x) - log p(x)], from n reparameterised student samples.

    A scalar, in nats: probability density distillation. Gradients reach the student through the
    teacher's input; freeze the teacher's weights. In expectation all of these are the same:

    - a teacher of one affine autoregressive layer and a student that is a chain of inverse ones:
      both conditionals are Gaussian, and the divergence of each position is in closed form;
    - `path`: log q's own weights are held, so that the gradient vanishes where student and teacher
      agree ("sticking the landing"). Costs the student's density of its samples once more;
    - else the plain reparameterised estimate.

    Log-ratios r above `tail` count as tail (1 + log(r / tail)): a few samples in the void, where a
    teacher's log-density may be -1e20, would drown all others. Those that overflow are left out.
    References: Parallel WaveNet (van den Oord et al., 2017), arXiv:1711.10433; ClariNet (Ping,
    Peng, Chen, 2018), arXiv:1807.07281; Roeder, Wu, Duvenaud (2017), arXiv:1703.09194.
    """
    if has_gaussian_conditionals(student, teacher):
        return _conditional_kl(student, teacher, n, context).mean()

    def log_ratios(z: Tensor, context: Tensor | None) -> Tensor:
        x, log_det = student.bijection.forward(z, student.embed(context))
        log_q = student.base.log_prob(z) - log_det
        if path:
            held = {name: weight.detach() for name, weight in student.named_parameters()}
            log_q = functional_call(student, held, (x, context))
        if x.requires_grad:
            x.register_hook(_finite)
        return log_q - _log_prob(teacher, x, context)

    z = student.base.sample(n)
    return _softened(_of_finite_rows(log_ratios, z, context), tail).mean()


def _conditional_kl(student: Flow, teacher: Flow, n: int, context: Tensor | None) -> Tensor:
    """Sums over positions of the closed form, given n draws of z: (n,)."""
    found = conditionals(student, student.base.sample(n), context)
    return conditional_kl(student, teacher, found, context).kl.flatten(1).sum(1)


def _log_prob(teacher: Flow, x: Tensor, context: Tensor | None) -> Tensor:
    """The teacher's log-density; where it is an estimate, drawn anew at each call.

    From the same draws again and again a student would learn their errors.
    """
    if not teacher.estimated:
        return teacher.log_prob(x, context)
    generator = torch.Generator(x.device).manual_seed(int(torch.randint(1 << 62, ())))
    return teacher.log_prob(x, context, generator)


def _of_finite_rows(
    log_ratios: Callable[[Tensor, Tensor | None], Tensor], rows: Tensor, context: Tensor | None
) -> Tensor:
    """The log-ratios of rows where they are finite; the others' gradients would be NaN for all."""
    found = log_ratios(rows, context)
    fine = torch.isfinite(found)
    if fine.all() or not fine.any():
        return found
    return log_ratios(rows[fine], None if context is None else context[fine])


def _softened(ratio: Tensor, tail: float) -> Tensor:
    if math.isinf(tail):
        return ratio
    beyond = ratio.clamp(min=tail)
    return torch.where(ratio > tail, tail * (1 + (beyond / tail).log()), ratio)


def _finite(gradient: Tensor) -> Tensor:
    """A gradient that overflows says nothing, and must not spoil those of other rows."""
    return torch.nan_to_num(gradient, 0.0, 0.0, 0.0)
