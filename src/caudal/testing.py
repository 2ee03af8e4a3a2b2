"""The laws of flows as checks, for bijections, elementwise maps and flows of a user's own.

Each check works on copies in float64, with weights moved away from where parts start, for a new
part is often the identity and so tells nothing. It returns nothing, or raises `LawError`.
"""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from caudal.base import Base
from caudal.bijection import Bijection, Inverse, estimated_parts, walk
from caudal.bijections import Autoregressive
from caudal.elementwise import Elementwise
from caudal.flow import Flow

Part = TypeVar("Part", bound=nn.Module)
_ROWS = 4
_MOVED = 0.3  # standard deviation by which weights are moved
_EXACT, _CLOSE, _SINGLE = 1e-6, 1e-4, 1e-2  # differences allowed, relative to the size of numbers
_STEP = 1e-6  # step of finite differences
_DRAWS = 20_000


class LawError(AssertionError):
    """A part breaks a law; the message says which, by how much, and what to look at."""


def check_bijection(
    bijection: Bijection,
    event_shape: Sequence[int],
    context: Tensor | None = None,
    *,
    seed: int = 0,
) -> None:
    """Checks the laws of a bijection, at noise from a standard normal.

    - Both directions give a tensor of the event's shape and a log-det (B,), in the input's dtype.
    - x = f(z) leads back to z, and the two log-dets cancel, in float64 and, more loosely, float32.
    - log_det = log|det J|, J the Jacobian by autograd; not where the log-det is an estimate.
    - Rows do not depend on each other, and a pass changes no state.
    - The net of an `Autoregressive` part sees only the positions before its own.
    - Gradients with respect to input and weights are those of finite differences.

    Args:
        bijection: it is left as it is.
        event_shape: the shape of one event; small ones do, since the Jacobian is taken whole.
        context: rows (B, *context), if it takes a context.
        seed: of the noise, and of the weights.

    Raises:
        LawError: the first law that does not hold.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = _ROWS if context is None else len(context)
    z = torch.randn(rows, *event_shape, generator=generator, dtype=torch.float64)
    part = moved(bijection, seed)
    _check(part, z, None if context is None else context.double())


def check_flow(flow: Flow, context: Tensor | None = None, *, seed: int = 0) -> None:
    """Checks the laws of a flow: those of its bijection, at noise from its base, and those below.

    - The base draws (n, *event), the same for the same generator, and has a mass of 1.
    - log_prob(x) = log p(z) + log_det, `sample_with_log_prob` gives the log_prob of its samples,
      and `decode` undoes `encode`.

    A flow with dequantisation is checked as its continuous density.

    Args:
        flow: it is left as it is; its event may have no free length.
        context: rows (B, *context_shape), for a conditional flow; at random if None.
        seed: of the noise, and of the weights.

    Raises:
        LawError: the first law that does not hold.
    """
    flow = moved(flow.continuous(), seed)
    generator = torch.Generator().manual_seed(seed)
    if context is not None:
        context = context.double()
    elif flow.context_shape is not None:
        shape = _ROWS, *flow.context_shape
        context = torch.randn(*shape, generator=generator, dtype=torch.float64)
    rows = _ROWS if context is None else len(context)
    _check_base(flow.base, rows, seed)
    with torch.no_grad():
        z = flow.base.sample(rows, generator)
        embedded = flow.embed(context)
    _check(flow.bijection, z, embedded)
    with torch.no_grad():
        x, log_prob = flow.sample_with_log_prob(rows, context, generator=generator)
        _same(flow.log_prob(x, context), log_prob, "`sample_with_log_prob` gives log_prob", _CLOSE)
        z = flow.encode(x, context)
        _same(flow.decode(z, context), x, "`decode` undoes `encode`", _CLOSE)


def check_elementwise(elementwise: Elementwise, *, seed: int = 0) -> None:
    """Checks the laws of an elementwise map, at values from about -3 to 3, parameters at random.

    - Both directions give values and log-slopes of the input's shape; the slopes are positive, and
      are those by autograd; one direction undoes the other.
    - With parameters of zero the map is the identity.

    Raises:
        LawError: the first law that does not hold.
    """
    generator = torch.Generator().manual_seed(seed)
    values = torch.linspace(-2.87, 3.21, 13, dtype=torch.float64).repeat(_ROWS, 1)
    shape = _ROWS, elementwise.n_params, 13
    params = torch.randn(*shape, generator=generator, dtype=torch.float64)
    for name, there, back in _directions(elementwise.forward, elementwise.inverse):
        point = values.clone().requires_grad_()
        moved_to, log_slope = there(point, params)
        _shapes(moved_to, log_slope, values, values.shape, name)
        (slope,) = torch.autograd.grad(moved_to.sum(), point)
        if not (slope > 0).all():
            raise LawError(f"`{name}` must increase, and has a slope of {float(slope.min()):.3g}")
        _same(log_slope, slope.log(), f"the log-slope of `{name}` is that by autograd")
        _same(back(moved_to, params)[0], values, f"`{name}` is undone", _CLOSE)
        same, none = there(values, torch.zeros_like(params))
        _same(same, values, f"`{name}` with parameters of zero is the identity")
        _same(none, torch.zeros_like(values), f"`{name}` has log-slopes of zero there")


@torch.no_grad()
def moved(part: Part, seed: int = 0) -> Part:
    """A copy in float64 and evaluation mode, its weights moved a little at random."""
    return move(deepcopy(part).double().eval(), seed)


@torch.no_grad()
def move(part: Part, seed: int = 0) -> Part:
    """The same module, its weights moved a little at random, the same in each precision."""
    generator = torch.Generator().manual_seed(seed)
    for weight in part.parameters():
        if weight.is_floating_point():
            scale = _MOVED / math.sqrt(max(1, weight[0].numel() if weight.ndim > 1 else 9))
            step = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.add_((scale * step).to(weight))
    return part


def _check(part: Bijection, z: Tensor, context: Tensor | None) -> None:
    before = {name: value.clone() for name, value in part.state_dict().items()}
    with torch.no_grad():
        x, _ = part(z, context)
    for name, there, back in _directions(part.forward, part.inverse):
        value = z if name == "forward" else x
        with torch.no_grad():
            _check_pass(name, there, back, value, context, _EXACT)
            _check_rows(name, there, value, context)
        if not estimated_parts(part):
            _check_log_det(name, there, value, context)
        _check_gradient(name, there, part, value, context)
    for key, value in part.state_dict().items():
        if not torch.equal(value, before[key]):
            raise LawError(f"a pass changes `{key}`: only `caudal.initialize` may set a state")
    _check_causal(part, x.detach(), context)
    with torch.no_grad():
        single = deepcopy(part).float()
        rows = None if context is None else context.float()
        for name, there, back in _directions(single.forward, single.inverse):
            value = (z if name == "forward" else x).float()
            _check_pass(name, there, back, value, rows, _SINGLE)


Pass = Callable[..., tuple[Tensor, Tensor]]


def _directions(forward: Pass, inverse: Pass) -> list[tuple[str, Pass, Pass]]:
    return [("forward", forward, inverse), ("inverse", inverse, forward)]


def _check_pass(
    name: str, there: Pass, back: Pass, value: Tensor, context: Tensor | None, within: float
) -> None:
    output, log_det = there(value, context)
    _shapes(output, log_det, value, value.shape[:1], name)
    again, log_det_back = back(output, context)
    other = "inverse" if name == "forward" else "forward"
    precision = str(value.dtype).removeprefix("torch.")
    _same(again, value, f"`{other}` undoes `{name}` in {precision}", within)
    _same(-log_det_back, log_det, f"the log-dets of both directions cancel in {precision}", within)


def _check_rows(name: str, there: Pass, value: Tensor, context: Tensor | None) -> None:
    whole, log_det = there(value, context)
    for row in range(len(value)):
        one = slice(row, row + 1)
        alone, log_det_alone = there(value[one], None if context is None else context[one])
        _same(alone, whole[one], f"a row of `{name}` does not depend on the others")
        _same(log_det_alone, log_det[one], f"a log-det of `{name}` does not depend on other rows")


def _check_log_det(name: str, there: Pass, value: Tensor, context: Tensor | None) -> None:
    with torch.no_grad():
        log_det = there(value, context)[1]
    for row in range(min(2, len(value))):
        one = None if context is None else context[row : row + 1]
        jacobian = torch.autograd.functional.jacobian(
            lambda v, one=one: there(v[None], one)[0][0], value[row]
        )
        square = jacobian.reshape(value[row].numel(), -1)
        _same(
            torch.linalg.slogdet(square).logabsdet,
            log_det[row],
            f"the log-det of `{name}` is log|det J|, J by autograd,",
            _CLOSE,
        )


def _check_gradient(
    name: str, there: Pass, part: nn.Module, value: Tensor, context: Tensor | None
) -> None:
    """Compares the gradient of a random sum of the results with a finite difference of it."""
    generator = torch.Generator().manual_seed(1)
    like: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
    point = value.clone().requires_grad_()
    inputs = [point, *(p for p in part.parameters() if p.requires_grad)]
    starts = [i.detach().clone() for i in inputs]
    steps = [torch.randn(i.shape, **like) for i in inputs]
    weights = torch.randn(value.shape, **like)

    def total() -> Tensor:
        output, log_det = there(point, context)
        return (output * weights).sum() + log_det.sum()

    def moved_by(size: float) -> Tensor:
        for each, start, step in zip(inputs, starts, steps, strict=True):
            each.data.copy_(start + size * step)
        return total().detach()

    loss = total()
    if not loss.requires_grad:
        raise LawError(f"`{name}` gives results without a gradient")
    slopes = torch.autograd.grad(loss, inputs, allow_unused=True)
    pairs = zip(slopes, steps, strict=True)
    slope = sum((g * step).sum() for g, step in pairs if g is not None)
    difference = (moved_by(_STEP) - moved_by(-_STEP)) / (2 * _STEP)
    moved_by(0.0)
    _same(
        torch.as_tensor(slope), difference, f"gradients of `{name}` are finite differences", 1e-3
    )


def _check_causal(bijection: Bijection, x: Tensor, context: Tensor | None) -> None:
    """Checks the nets of autoregressive parts, each at the values that reach it."""
    for name, part, value, given in walk(bijection, x, context):
        inner = part.bijection if isinstance(part, Inverse) else part
        if not isinstance(inner, Autoregressive):
            continue
        one = None if given is None else given[:1]
        jacobian = torch.autograd.functional.jacobian(
            lambda v, net=inner.net, one=one: net(v[None], one)[0], value[0]
        )
        size = value[0].numel()
        seen = jacobian.reshape(-1, size, size).abs().amax(0).triu(0)
        if (seen > 0).any():
            position, later = (int(i) for i in seen.nonzero()[0])
            raise LawError(
                f"the net of {name} is not causal: its parameters at position {position} depend "
                f"on position {later}"
            )


def _check_base(base: Base, rows: int, seed: int) -> None:
    with torch.no_grad():
        z, again = (base.sample(rows, torch.Generator().manual_seed(seed)) for _ in range(2))
        if not torch.equal(z, again):
            raise LawError("the base must draw the same noise for the same generator")
        _shapes(z, base.log_prob(z), z.new_empty(rows, *base.event_shape), z.shape[:1], "the base")
        drawn = base.sample(_DRAWS, torch.Generator().manual_seed(seed)).flatten(1)
        # The mass by importance sampling, from a box of uniform noise around the draws.
        low, high = drawn.amin(0), drawn.amax(0)
        if drawn.shape[1] > 2:
            return
        spread = (high - low) * 1.2
        start = (low + high) / 2 - spread / 2
        generator = torch.Generator().manual_seed(seed)
        at = start + spread * torch.rand(drawn.shape, generator=generator, dtype=torch.float64)
        density = base.log_prob(at.reshape(_DRAWS, *base.event_shape)).exp() * spread.prod()
        mass, error = float(density.mean()), float(density.std()) / math.sqrt(_DRAWS)
    if abs(mass - 1) > 5 * error + 0.02:
        raise LawError(f"the base must have a mass of 1, and has {mass:.3g} +- {error:.1g}")


def _shapes(
    output: Tensor, log_det: Tensor, value: Tensor, of_log_det: Sequence[int], name: str
) -> None:
    for what, tensor, shape in (("output", output, value.shape), ("log", log_det, of_log_det)):
        what = "result" if what == "output" else "log-det"
        if tuple(tensor.shape) != tuple(shape):
            raise LawError(
                f"the {what} of `{name}` must have shape {tuple(shape)}, got {tuple(tensor.shape)}"
            )
        if tensor.dtype != value.dtype:
            raise LawError(f"the {what} of `{name}` must be {value.dtype}, got {tensor.dtype}")


def _same(found: Tensor, expected: Tensor, law: str, within: float = _EXACT) -> None:
    if not torch.isfinite(found).all():
        raise LawError(f"{law}: there are values that are not finite")
    apart = ((found - expected).abs() / (1 + expected.abs())).max()
    if apart > within:
        raise LawError(f"{law}: the difference is {float(apart):.3g}, more than {within:g}")
