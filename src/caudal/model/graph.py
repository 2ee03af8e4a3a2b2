"""Functions that ONNX lacks, by operations that it has, to the precision of float32."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_ROOT = math.sqrt(0.5)
_STEPS = 32  # of Newton, for conditions up to a thousand


def log_ndtr(x: Tensor) -> Tensor:
    """Log Phi(x), by Chebyshev's fit of log erfc with a relative error of 1e-7 on the whole line.

    Reference: Numerical recipes in C (Press et al., 1992), section 6.2.
    """
    t = _ROOT * x.abs()
    u = 2 / (2 + t)
    tail = u.log() - t * t + _polynomial(u, _ERFC) - math.log(2)
    return torch.where(x < 0, tail, torch.log1p(-tail.exp()))


def erfcx(x: Tensor) -> Tensor:
    """exp(x^2) erfc(x), by the same fit."""
    u = 2 / (2 + x.abs())
    right = u * _polynomial(u, _ERFC).exp()
    return torch.where(x < 0, 2 * x.square().exp() - right, right)


def ndtri(p: Tensor) -> Tensor:
    """The quantile of the standard normal: algorithm AS 241, PPND7.

    Reference: Wichura, The percentage points of the normal distribution, 1988.
    """
    q = p - 0.5
    centre = 0.180625 - q * q
    near = q * _polynomial(centre, _A) / _polynomial(centre, _B)
    r = (-torch.minimum(p, 1 - p).clamp(min=1e-38).log()).clamp(min=0).sqrt()
    middle = _polynomial(r - 1.6, _C) / _polynomial(r - 1.6, _D)
    far = _polynomial(r - 5, _E) / _polynomial(r - 5, _F)
    tail = torch.where(r <= 5, middle, far)
    result = torch.where(q.abs() <= 0.425, near, torch.where(q < 0, -tail, tail))
    ends = torch.where(p <= 0, -torch.inf, torch.where(p >= 1, torch.inf, result))
    return ends.to(p.dtype)


def erfinv(y: Tensor) -> Tensor:
    """The inverse of the error function."""
    return _ROOT * ndtri(0.5 * (y + 1))


def searchsorted(
    edges: Tensor,
    values: Tensor,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """How many edges (*, K) lie before each of the values (*, N)."""
    row, value = edges.unsqueeze(-2), values.unsqueeze(-1)
    before = row <= value if right or side == "right" else row < value
    return before.sum(-1)


def solve_triangular(
    factor: Tensor, target: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """The X of factor X = target (*, D, N), row by row; of X factor = target if not `left`."""
    if not left:
        return solve_triangular(
            factor.mT, target.mT, upper=not upper, unitriangular=unitriangular
        ).mT
    size = factor.shape[-1]
    rows: list[Tensor] = [target[..., :1, :]] * size
    for i in reversed(range(size)) if upper else range(size):
        value = target[..., i : i + 1, :]
        for j in range(i + 1, size) if upper else range(i):
            value = value - factor[..., i : i + 1, j : j + 1] * rows[j]
        rows[i] = value if unitriangular else value / factor[..., i : i + 1, i : i + 1]
    return torch.cat(rows, -2)


def slogdet(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log|det A| of I + J, J a contraction: by elimination, whose pivots are then positive."""
    total, left = torch.zeros_like(matrix[..., 0, 0]), matrix
    for _ in range(matrix.shape[-1]):
        pivot = left[..., :1, :1]
        total = total + pivot[..., 0, 0].abs().log()
        left = left[..., 1:, 1:] - left[..., 1:, :1] * left[..., :1, 1:] / pivot
    return torch.ones_like(total), total, matrix, torch.zeros_like(total)


def inv(matrix: Tensor) -> Tensor:
    """The inverse of A (*, D, D), by Newton's iteration X <- X (2 I - A X) from a multiple of A^T.

    For a condition of k it takes about 2 log2(k) + log2(D) steps.
    """
    size = matrix.abs().sum(-1).amax(-1) * matrix.abs().sum(-2).amax(-1)
    x = matrix.mT / size[..., None, None]
    for _ in range(_STEPS):
        x = 2 * x - x @ (matrix @ x)
    return x


def copysign(size: Tensor, sign: Tensor) -> Tensor:
    """|size|, negative where `sign` is; a zero counts as positive."""
    return torch.where(sign < 0, -size.abs(), size.abs())


def nextafter(x: Tensor, towards: Tensor) -> Tensor:
    """A float next to x, on the side of `towards`: one or two units in the last place away.

    Below 1e-38 in size it steps past the floats that are not normal, over 0 too, and at infinity
    it is NaN: the ends of steps and of circles are neither.
    """
    kind = torch.finfo(x.dtype)
    return x + (towards - x).sign() * (x.abs() * kind.eps).clamp(min=kind.tiny)


def _polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """c_0 + c_1 x + c_2 x^2 + ..."""
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


_ERFC = (
    -1.26551223,
    1.00002368,
    0.37409196,
    0.09678418,
    -0.18628806,
    0.27886807,
    -1.13520398,
    1.48851587,
    -0.82215223,
    0.17087277,
)
_A = (3.3871327179, 50.434271938, 159.29113202, 59.109374720)
_B = (1.0, 17.895169469, 78.757757664, 67.187563600)
_C = (1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103)
_D = (1.0, 0.73700164250, 0.12021132975)
_E = (6.6579051150, 3.0812263860, 0.42868294337, 0.017337203997)
_F = (1.0, 0.24197894225, 0.012258202635)

REPLACED: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.searchsorted.Tensor: searchsorted,
    torch.ops.aten._linalg_slogdet.default: slogdet,
    torch.ops.aten.linalg_solve_triangular.default: solve_triangular,
    torch.ops.aten.linalg_inv.default: inv,
    torch.ops.aten.special_log_ndtr.default: log_ndtr,
    torch.ops.aten.special_ndtri.default: ndtri,
    torch.ops.aten.special_erfcx.default: erfcx,
    torch.ops.aten.copysign.Tensor: copysign,
    torch.ops.aten.nextafter.default: nextafter,
    torch.ops.aten.erfinv.default: erfinv,
    torch.ops.aten.special_erfinv.default: erfinv,
}
"""The operations of PyTorch that ONNX lacks, or whose tails it loses, and their replacements."""
