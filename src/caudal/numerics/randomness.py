"""Random numbers of a job of its own, so that several jobs run side by side in threads.

PyTorch has one global generator for each device, which all threads share. A job that seeds it
makes the numbers of the others repeat, and is disturbed by them. Within `own_randomness` the draws
of this thread come from generators of its own instead, and the global ones are not touched.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from caudal.numerics.sharing import drawn
from caudal.scope import scoped

_Generators = dict[str, torch.Generator]
_OWN: ContextVar[_Generators | None] = ContextVar("own", default=None)
_LENDING = Lock()


@contextmanager
def own_randomness(device: torch.device | str = "cpu", seed: int = 0) -> Iterator[None]:
    """Within this context, draws of caudal on the CPU and on `device` have their own generators.

    Code that knows nothing of them, PyTorch's initial weights among it, needs `redirected`.
    """
    kinds = {"cpu": torch.device("cpu"), torch.device(device).type: torch.device(device)}
    generators = {kind: torch.Generator(where) for kind, where in kinds.items()}
    with scoped(_OWN, generators):
        seed_own(seed)
        yield


def seed_own(seed: int) -> None:
    """Seeds the generators of the innermost `own_randomness`.

    Raises:
        RuntimeError: there is none.
    """
    generators = _OWN.get()
    if generators is None:
        raise RuntimeError("only the generators within `own_randomness` are seeded")
    for generator in generators.values():
        generator.manual_seed(seed)


def own_generator(device: torch.device | str = "cpu") -> torch.Generator | None:
    """The generator of this thread for a device; None outside of `own_randomness`."""
    if torch.compiler.is_compiling():
        return None
    generators = _OWN.get()
    return None if generators is None else generators.get(torch.device(device).type)


def is_exporting() -> bool:
    """Whether a graph is being exported, which may not branch on values or on the batch's size."""
    return getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)()


@contextmanager
def repeatable() -> Iterator[None]:
    """Within this context, draws are those that follow it, which come once more after it."""
    generators = _OWN.get() or {}
    states = {kind: generator.get_state() for kind, generator in generators.items()}
    try:
        yield
    finally:
        for kind, state in states.items():
            generators[kind].set_state(state)


def repeating() -> Callable[[], AbstractContextManager[None]]:
    """Makes contexts that all draw what the first one draws: what would be drawn now.

    The first one draws as usual; the others put back what was at hand before them.
    """
    states: dict[str, Tensor] = {}

    @contextmanager
    def context() -> Iterator[None]:
        generators = _OWN.get() or {}
        before = {kind: generator.get_state() for kind, generator in generators.items()}
        if not states:
            states.update(before)
            yield
            return
        for kind, state in states.items():
            generators[kind].set_state(state)
        try:
            yield
        finally:
            for kind, state in before.items():
                generators[kind].set_state(state)

    return context


@contextmanager
def _lent(generator: torch.Generator) -> Iterator[None]:
    """Within this context, the global generator of a device draws what `generator` would.

    It is for functions that know no other one, in C++ or in their parts. One thread at a time is
    within; one that is not caudal's, and draws from the global generator meanwhile, disturbs it.
    """
    device = generator.device
    shared: Any = torch.random if device.type == "cpu" else torch.get_device_module(device)
    # Without own generators a `redirected` around this one does not lend it again.
    with _LENDING, scoped(_OWN, None):
        before = shared.get_rng_state()
        shared.set_rng_state(generator.get_state())
        try:
            yield
        finally:
            generator.set_state(shared.get_rng_state())
            shared.set_rng_state(before)


class redirected(TorchFunctionMode):  # noqa: N801
    """Within this context, PyTorch's own random functions draw from the own generators, too.

    It slows each function of PyTorch by some microseconds: it is for code that is not caudal's.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _KNOWN or (func in _DROPPING and not _drops(args, kwargs)):
            return func(*args, **kwargs)
        values = (*args, *kwargs.values())
        device = next((a.device for a in values if isinstance(a, Tensor)), kwargs.get("device"))
        generator = own_generator(device or torch.get_default_device())
        if generator is None or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        if func in _DRAWING or func in _DROPPING:
            with _lent(generator):
                return func(*args, **kwargs)
        if func in _REPLACED:
            return _REPLACED[func](generator, *args, **_without_generator(kwargs))
        return func(*args, **{**kwargs, "generator": generator})


def _without_generator(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name != "generator"}


_RANDOM = {
    torch._sample_dirichlet,
    torch._standard_gamma,
    torch.binomial,
    torch.randint,
    torch.randperm,
    torch.normal,
    torch.bernoulli,
    torch.multinomial,
    torch.poisson,
    Tensor.bernoulli,
    Tensor.bernoulli_,
    Tensor.cauchy_,
    Tensor.exponential_,
    Tensor.geometric_,
    Tensor.log_normal_,
    Tensor.multinomial,
    Tensor.normal_,
    Tensor.random_,
    Tensor.uniform_,
    nn.init.kaiming_normal_,
    nn.init.kaiming_uniform_,
    nn.init.normal_,
    nn.init.orthogonal_,
    nn.init.trunc_normal_,
    nn.init.uniform_,
    nn.init.xavier_normal_,
    nn.init.xavier_uniform_,
}
"""Functions that take a generator."""


def _like(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The twin of `torch.rand_like` and others, which take no generator."""

    def drawn_like(generator: torch.Generator, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        options = {"dtype": x.dtype, "device": x.device, **kwargs}
        options.pop("memory_format", None)
        return drawn(lambda shape: draw(*args, shape, generator=generator, **options), x.shape)

    return drawn_like


def _dropout(
    generator: torch.Generator,
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> Tensor:
    """The same numbers as `F.dropout` draws on a CPU."""
    if not training or not p:
        return input

    def kept_of(shape: Sequence[int]) -> Tensor:
        same = tuple(shape) == input.shape
        kept = torch.empty_like(input) if same else _empty_as(input, shape)
        return kept.bernoulli_(1 - p, generator=generator)

    kept = drawn(kept_of, input.shape).div_(1 - p)
    return input.mul_(kept) if inplace else input * kept


def dropout(x: Tensor, share: float, training: bool) -> Tensor:
    """`F.dropout`, which draws from the own generator where there is one."""
    generator = own_generator(x.device)
    if generator is None:
        return F.dropout(x, share, training)
    return _dropout(generator, x, share, training)


def _empty_as(x: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor of another shape, in the memory order of x, in which it is filled."""
    images = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    order = torch.channels_last if images else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=x.dtype, device=x.device, memory_format=order)


def _sized(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`torch.rand` or `torch.randn`, of which a process has its share."""

    def drawn_of(generator: torch.Generator, *size: Any, **options: Any) -> Tensor:
        size = options.pop("size", size[0] if len(size) == 1 else size)
        shape = tuple(map(int, size if isinstance(size, Sequence) else (size,)))
        return drawn(lambda shape: draw(shape, generator=generator, **options), shape)

    return drawn_of


_REPLACED = {
    torch.rand: _sized(torch.rand),
    torch.randn: _sized(torch.randn),
    torch.rand_like: _like(torch.rand),
    torch.randn_like: _like(torch.randn),
    torch.randint_like: _like(torch.randint),
    F.dropout: _dropout,
}
"""Functions whose draws may be shared between processes, and what stands in for them."""

_DRAWING = {F.gumbel_softmax, F.rrelu, torch.pca_lowrank, torch.svd_lowrank}
"""Functions whose parts draw."""

_DROPPING = {
    F.alpha_dropout,
    F.dropout1d,
    F.dropout2d,
    F.dropout3d,
    F.feature_alpha_dropout,
    F.multi_head_attention_forward,
    F.scaled_dot_product_attention,
    torch.alpha_dropout,
    torch.dropout,
    torch.feature_alpha_dropout,
    torch.feature_dropout,
    torch.gru,
    torch.lstm,
    torch.native_dropout,
    torch.rnn_relu,
    torch.rnn_tanh,
}
"""Functions whose parts draw where a share is dropped, which is the one float that they take."""

_KNOWN = {*_RANDOM, *_REPLACED, *_DRAWING, *_DROPPING}


def _drops(args: Any, kwargs: Any) -> bool:
    """Whether a share is dropped: attention without dropout, say, need not wait for others."""
    values = (*args, *kwargs.values())
    return kwargs.get("training", True) and any(isinstance(v, float) and v for v in values)
