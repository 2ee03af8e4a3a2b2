"""The likelihood, the divergences between flows, and losses of several terms."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call

from caudal.broadcasting import per_row
from caudal.flow import Flow
from caudal.losses.conditionals import conditional_kl, conditionals, has_gaussian_conditionals
from caudal.numerics import own_generator
from caudal.targets import log_density_of, refuse_outside


def nll(flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Mean negative log-likelihood of a batch in nats; for dequantised data, that of its bound."""
    return _nll_rows(flow, x, context).mean()


def nll_per_element(flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
    """`nll` divided by the elements of an event: for sound, whose crops can have any length."""
    return nll(flow, x, context) / _elements(flow, x)


def _nll_rows(flow: Flow, x: Tensor, context: Tensor | None) -> Tensor:
    return -flow.log_prob(x, context)


def _nll_per_element_rows(flow: Flow, x: Tensor, context: Tensor | None) -> Tensor:
    return _nll_rows(flow, x, context) / _elements(flow, x)


def _elements(flow: Flow, x: Tensor) -> int:
    """The elements of an event, whose length may be free."""
    return math.prod(x.shape[x.ndim - len(flow.event_shape) :])


def rows_of(loss: Callable[..., Tensor]) -> Callable[..., Tensor] | None:
    """The function of the rows' losses (B,) of which `loss` is the mean, if it is known."""
    if loss is nll:
        return _nll_rows
    return _nll_per_element_rows if loss is nll_per_element else None


def bits_per_dim(log_prob: float, elements: int) -> float:
    """Bits per element: -log_prob / (elements ln 2), for log_prob in nats of a whole event."""
    return -log_prob / (elements * math.log(2))


class Terms(ABC):
    """A weighted sum of terms; `fit` logs each of them.

    Attributes:
        weights: the weights of the terms in the sum; other terms are only logged.
        latest: the terms of the last call, detached.
        validation: the loss that selects the best weights, if it is another one.
    """

    weights: Mapping[str, float]
    latest: Mapping[str, Tensor]
    validation: "Terms | None" = None

    @abstractmethod
    def terms(self, x: Tensor, context: Tensor | None) -> Mapping[str, Tensor]:
        """The terms of a batch, scalars, by name."""

    def state_dict(self) -> dict[str, Tensor]:
        """What the loss itself has come to by now, for resuming; most losses have no state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027
        """Restores a `state_dict`."""

    def __call__(self, flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
        terms = self.terms(x, context)
        self.latest = {name: value.detach() for name, value in terms.items()}
        total = x.new_zeros(())
        for name, weight in self.weights.items():
            total = total + weight * terms[name]
        return total


Target = Flow | Callable[..., Tensor]
"""A flow, or a function that gives log-densities (B,) of x (B, *event), or of x and context."""


def forward_kl(
    student: Flow,
    teacher: Target,
    x: Tensor,
    context: Tensor | None = None,
    *,
    tail: float = math.inf,
) -> Tensor:
    """KL(teacher || student) = E_p[log p(x) - log q(x)], x samples of the teacher: a scalar, nats.

    Its gradient is that of the student's likelihood of the teacher's samples: the student misses
    no mode, but nothing keeps its samples away from where the teacher has none. Log-ratios above
    `tail` are softened as in `reverse_kl`; rows whose density overflows are left out.
    """

    def log_ratios(x: Tensor, context: Tensor | None) -> Tensor:
        with torch.no_grad():
            log_p = _log_prob(teacher, x, context)
        return log_p - student.log_prob(x, context)

    return softened(_of_finite_rows(log_ratios, *student.rows(x, context)), tail).mean()


def reverse_kl(
    student: Flow,
    teacher: Target,
    n: int,
    context: Tensor | None = None,
    *,
    path: bool = False,
    tail: float = math.inf,
) -> Tensor:
    """KL(student || teacher) = E_q[log q(x) - log p(x)], from n reparameterised student samples.

    A scalar, in nats: probability density distillation. The teacher may be any function that gives
    log-densities, such as an unnormalised energy with opposite sign; it is called with x, and with
    the context if there is one. The result is then off by its log Z. Gradients reach the student
    through the teacher's input; freeze the teacher's weights. All of these have the same
    expectation:

    - for a teacher of one affine autoregressive layer and a student that is a chain of inverse
      ones, the closed form: both conditionals are Gaussian at each position;
    - with `path`, an estimate that holds the weights inside log q fixed, so that the gradient
      vanishes where student and teacher agree ("sticking the landing"). It computes the student's
      density of its samples once more;
    - otherwise the plain reparameterised estimate.

    Log-ratios r above `tail` count as tail (1 + log(r / tail)): a few samples far from the data,
    where a teacher's log-density can be -1e20, would dominate all others. Samples whose ratio
    overflows are left out, if the teacher is a flow.

    Raises:
        InputError: the teacher is a function that does not give one log-density for each row.
        NumericalError: it is a function that gives NaN or an infinite number; says of which row.
    References: Parallel WaveNet (van den Oord et al., 2017), arXiv:1711.10433; ClariNet (Ping,
    Peng, Chen, 2018), arXiv:1807.07281; Roeder, Wu, Duvenaud (2017), arXiv:1703.09194; Vaitl et
    al. (2022), arXiv:2207.08219.
    """
    context = per_row(context, (n,), student.context_shape)
    if isinstance(teacher, Flow) and has_gaussian_conditionals(student, teacher):
        return _conditional_kl(student, teacher, n, context).mean()

    def log_ratios(z: Tensor, context: Tensor | None) -> Tensor:
        x, log_q = pushed(student, z, context, path=path)
        if x.requires_grad:
            x.register_hook(_finite)
        return log_q - _log_prob(teacher, x, context)

    z = student.base.sample(n)
    return softened(_of_finite_rows(log_ratios, z, context), tail).mean()


def pushed(
    flow: Flow, z: Tensor, context: Tensor | None = None, *, path: bool = False
) -> tuple[Tensor, Tensor]:
    """Samples x (N, *event) that a flow makes of noise z, and log q(x) in nats, (N,).

    Both are reparameterised. With `path` the weights inside log q are held fixed, so that its
    gradient goes through x alone.
    """
    x, log_det = flow.bijection(z, flow.embed(context))
    if not path:
        return x, flow.base.log_prob(z) - log_det
    held = {name: weight.detach() for name, weight in flow.named_parameters()}
    return x, functional_call(flow, held, (x, context))


def _conditional_kl(student: Flow, teacher: Flow, n: int, context: Tensor | None) -> Tensor:
    """Sums over positions of the closed form, for n draws of z: (n,)."""
    samples = conditionals(student, student.base.sample(n), context)
    return conditional_kl(student, teacher, samples, context).kl.flatten(1).sum(1)


def _log_prob(teacher: Target, x: Tensor, context: Tensor | None) -> Tensor:
    """The teacher's log-density; if it is an estimate, with new random numbers at each call.

    With the same numbers each time a student would learn their errors.
    """
    if not isinstance(teacher, Flow):
        log_prob = log_density_of(
            teacher if context is None else partial(_given, teacher, context), x
        )
        refuse_outside(log_prob, x)
        return log_prob
    if not teacher.estimated:
        return teacher.log_prob(x, context)
    seed = int(torch.randint(1 << 62, (), generator=own_generator()))
    generator = torch.Generator(x.device).manual_seed(seed)
    return teacher.log_prob(x, context, generator)


def _given(density: Callable[..., Tensor], context: Tensor, x: Tensor) -> Tensor:
    return density(x, context)


def _of_finite_rows(
    log_ratios: Callable[[Tensor, Tensor | None], Tensor], rows: Tensor, context: Tensor | None
) -> Tensor:
    """Log-ratios of the rows where they are finite: one other row would make all gradients NaN."""
    ratios = log_ratios(rows, context)
    fine = torch.isfinite(ratios)
    if fine.all() or not fine.any():
        return ratios
    return log_ratios(rows[fine], None if context is None else context[fine])


def softened(ratio: Tensor, tail: float) -> Tensor:
    """Log-ratios r, of which those above `tail` count as tail (1 + log(r / tail))."""
    if math.isinf(tail):
        return ratio
    beyond = ratio.clamp(min=tail)
    return torch.where(ratio > tail, tail * (1 + (beyond / tail).log()), ratio)


def _finite(gradient: Tensor) -> Tensor:
    """Zeroes a gradient that overflows, which would spoil those of other rows."""
    return torch.nan_to_num(gradient, 0.0, 0.0, 0.0)
