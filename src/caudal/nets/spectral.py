"""Linear maps of bounded 2-norm, by an estimate of it that follows the weights."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.nets.conv import channels_last, dense

_MATRIX_ITERATIONS, _IMAGE_ITERATIONS = 2, 5
"""Power iterations of a training pass: the direction a convolution stretches most changes faster.

Adam at 1e-3 leaves sigma 0.01% and 1.3% short on average, 0.04% and 6% at worst, early on. They
take 4% and 1% of the time of a step with its log-det (64 rows; layers of 128, 32 maps of 28 x 28).
"""
_KRYLOV = 16
"""Dimensions of the Krylov spaces in which `tighten` searches."""


class Spectral(nn.Module, ABC):
    """A linear map x -> W' x + bias, W' = W / max(1, sigma / coefficient), sigma = |W v|, |v| = 1.

    The buffer `direction` is v, the vector that W stretches most, so sigma approaches W's 2-norm
    from below. Each training pass improves v by power iteration, v <- W^T W v, as W learns: a
    change of state, like that of batch normalisation. Evaluation leaves v unchanged; `tighten`
    brings sigma to a tolerance. The gradient of sigma holds v fixed: d sigma / d W = u v^T,
    u = W v / sigma.
    Reference: Invertible residual networks (Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, 2019),
    arXiv:1811.00995.
    """

    direction: Tensor
    bias: Tensor

    def __init__(self, like: nn.Linear | nn.Conv2d, coefficient: float, *event: int) -> None:
        super().__init__()
        if not coefficient > 0:
            raise ValueError(f"`coefficient` must be positive, got {coefficient}")
        self.weight, self.bias = like.weight, cast(nn.Parameter, like.bias)
        self.coefficient = coefficient
        self.register_buffer("direction", _unit(torch.randn(event)))
        self.tighten()

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, coefficient={self.coefficient}"

    @abstractmethod
    def run(self, x: Tensor, weight: Tensor, biased: bool = True) -> Tensor:
        """The map with an `effective` weight: (B, *inputs) to (B, *outputs)."""

    @abstractmethod
    def stretch(self, v: Tensor) -> Tensor:
        """W v, without bias or batch."""

    @abstractmethod
    def transposed(self, u: Tensor) -> Tensor:
        """W^T u, without batch."""

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, self.effective())

    def effective(self) -> Tensor:
        """W' with its gradient; in training after a few power iterations."""
        with _in_full(self.weight):
            # A copy: the next training pass may change v before this one's gradient is taken.
            v = self._iterated() if self.training else self.direction.clone()
            sigma = torch.linalg.vector_norm(self.stretch(v))
        return self.weight / (sigma / self.coefficient).clamp(min=1)

    @torch.no_grad()
    def norm(self) -> float:
        """The 2-norm of W' as estimated by v: min(sigma, coefficient)."""
        return min(self._sigma().item(), self.coefficient)

    @torch.no_grad()
    def tighten(self, tolerance: float = 1e-3) -> None:
        """Brings sigma to the norm of W from any v, so that |W'| is within 1% of the coefficient.

        Lanczos: v becomes the best vector in the space spanned by b, S b, S^2 b, ..., S = W^T W or
        W W^T. Each space begins from the best vector of the one before, until sigma grows by less
        than the share `tolerance`. The first begins from v plus noise, in case v is orthogonal to
        the vector that W stretches most.
        """
        with _in_full(self.weight):
            seeded = torch.Generator("cpu").manual_seed(0)
            noise = torch.randn(self.direction.shape, generator=seeded, device="cpu")
            self.direction.copy_(_unit(2 * self.direction + _unit(noise).to(self.direction)))
            before, sigma = 0.0, self._improve()
            while sigma > (1 + tolerance) * before:
                before, sigma = sigma, self._improve()

    def _improve(self) -> float:
        """Replaces v by the best vector of a Krylov space, and returns the new sigma."""
        v, u = self.direction, self.stretch(self.direction)
        if v.numel() <= u.numel():
            best = _largest(lambda b: self.transposed(self.stretch(b)), v)
        else:  # the space of outputs is smaller
            best = self.transposed(_largest(lambda b: self.stretch(self.transposed(b)), u))
        self.direction.copy_(_unit(best, otherwise=v))
        return self._sigma().item()

    @torch.no_grad()
    def _iterated(self) -> Tensor:
        """V after a few power iterations, which are kept."""
        v = self.direction
        for _ in range((_MATRIX_ITERATIONS if v.ndim == 1 else _IMAGE_ITERATIONS) - 1):
            v = self.transposed(self.stretch(v))
            v = v / v.norm()  # a v that is not finite is caught at the end
        v = _unit(self.transposed(self.stretch(v)), otherwise=self.direction)
        self.direction.copy_(v)
        return v

    def _sigma(self) -> Tensor:
        with _in_full(self.weight):
            return torch.linalg.vector_norm(self.stretch(self.direction))


class SpectralLinear(Spectral):
    """A fully connected layer, (B, inputs) to (B, outputs), of 2-norm at most `coefficient`."""

    def __init__(self, inputs: int, outputs: int, coefficient: float) -> None:
        super().__init__(nn.Linear(inputs, outputs), coefficient, inputs)

    def run(self, x: Tensor, weight: Tensor, biased: bool = True) -> Tensor:
        return F.linear(x, weight, self.bias if biased else None)

    def stretch(self, v: Tensor) -> Tensor:
        return self.weight @ v

    def transposed(self, u: Tensor) -> Tensor:
        return self.weight.t() @ u


class SpectralConv2d(Spectral):
    """A convolution (B, inputs, H, W) to (B, outputs, H, W), padded by zeros, `size` odd.

    The norm is that of the map of whole images of `shape` (H, W), which is up to `size` times
    that of the kernel as a matrix; v is an image. For `size` 1 the two norms are equal, and v is
    a pixel.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, shape: tuple[int, int], coefficient: float
    ) -> None:
        if size % 2 == 0:
            raise ValueError(f"`size` must be odd, so that a kernel has a centre, got {size}")
        conv = channels_last(nn.Conv2d(inputs, outputs, size))
        super().__init__(conv, coefficient, inputs, *(shape if size > 1 else ()))

    def run(self, x: Tensor, weight: Tensor, biased: bool = True) -> Tensor:
        bias = self.bias if biased else None
        return F.conv2d(dense(x), dense(weight), bias, padding=weight.shape[-1] // 2)

    def stretch(self, v: Tensor) -> Tensor:
        if v.ndim == 1:
            return self.weight[..., 0, 0] @ v
        return F.conv2d(v[None], self.weight, padding=self.weight.shape[-1] // 2)[0]

    def transposed(self, u: Tensor) -> Tensor:
        if u.ndim == 1:
            return self.weight[..., 0, 0].t() @ u
        padding = self.weight.shape[-1] // 2
        return F.conv_transpose2d(u[None], self.weight, padding=padding)[0]


def _largest(symmetric: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """The unit vector b in span(start, S start, ...) that maximises b^T S b."""
    count = min(_KRYLOV, start.numel())
    basis = start.new_zeros(count, start.numel())
    products = start.new_zeros(count, count)
    vector = start.flatten()
    for i in range(count):
        vector = basis[i] = _unit(vector)
        vector = symmetric(vector.view_as(start)).flatten()
        products[:, i] = basis @ vector
        once = vector - basis.t() @ (basis @ vector)
        vector = once - basis.t() @ (basis @ once)  # a second time, to remove rounding errors
        if not vector.norm() > once.norm() / 2:  # nothing but rounding is left
            break
    best = torch.linalg.eigh(products[: i + 1, : i + 1], UPLO="U").eigenvectors[:, -1]
    return (best @ basis[: i + 1]).view_as(start)


def _unit(vector: Tensor, otherwise: Tensor | None = None) -> Tensor:
    """The vector at length one; `otherwise`, or itself, if its length is zero or not finite."""
    length = vector.norm()
    stays = vector if otherwise is None else otherwise
    return torch.where((length > 0) & (length < torch.inf), vector / length, stays)


def _in_full(weight: Tensor) -> torch.autocast:
    """Norms are computed in the weights' own precision, whatever that of the passes."""
    return torch.autocast(weight.device.type, enabled=False)
