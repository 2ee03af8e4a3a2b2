"""Scales and shifts from data to noise, as other libraries have them, for converted flows."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.elementwise.affine import soft_bound
from caudal.elementwise.protocol import Elementwise, Scalar

SCALES = ("exp", "softplus", "sigmoid", "inverse-sigmoid")
"""How a positive scale comes from a net's raw output, in the order that compiled loops know."""


@dataclass(frozen=True)
class ScaledShift(Elementwise):
    """z = x s + t, parameters (t, raw), with one of four positive scales s of raw.

    exp: log s = raw / (1 + |raw| / bound), or raw itself if the bound is 0 (zuko, normflows);
    softplus: s = softplus(raw) + floor (nflows);
    sigmoid: s = sigmoid(raw + 2) + floor (nflows, normflows);
    inverse-sigmoid: s = 1 / sigmoid(raw + 2) (normflows).
    With zero parameters only exp is the identity: a converted flow starts where it was left.
    """

    scale: Literal["exp", "softplus", "sigmoid", "inverse-sigmoid"] = "exp"
    bound: float = 0.0
    floor: float = 0.0
    n_params = 2

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"`scale` must be one of {', '.join(SCALES)}, got {self.scale!r}")

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        t, raw = params.unbind(1)
        log_scale = self._log_scale(raw)
        return (z - t) * (-log_scale).exp(), -log_scale

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        t, raw = params.unbind(1)
        log_scale = self._log_scale(raw)
        return torch.addcmul(t, x, log_scale.exp()), log_scale

    @property
    def scalar(self) -> Scalar:
        return Scalar("scaled", (SCALES.index(self.scale), self.bound, self.floor))

    def _log_scale(self, raw: Tensor) -> Tensor:
        if self.scale == "exp":
            return soft_bound(raw, self.bound) if self.bound else raw
        if self.scale == "inverse-sigmoid":
            return F.softplus(-raw - 2)
        if self.scale == "softplus":
            return (F.softplus(raw) + self.floor).log()
        return (torch.sigmoid(raw + 2) + self.floor).log()
