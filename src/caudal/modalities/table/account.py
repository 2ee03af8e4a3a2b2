"""Ways to draw samples that keep account of how well they went."""

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from caudal.correction import Correction
from caudal.modality import Request, Voice

ENOUGH = 1 << 20  # weights: they take 8 MiB, and more would not change what they say


class Account(ABC):
    """Answers requests for samples, and joins the diagnostics of all of them."""

    key: ClassVar[str]
    """The name of the account in JSON."""

    def __init__(self) -> None:
        self._parts: list[Any] = []

    @abstractmethod
    def __call__(self, request: Request, generator: torch.Generator) -> Tensor:
        """The samples of one request."""

    @abstractmethod
    def tell(self, voice: Voice) -> None:
        """Tells how well the draws went, and what to think of it."""

    def summary(self) -> Self:
        """This account, once all samples are drawn."""
        return self

    @cached_property
    def total(self) -> Any:
        """The diagnostics over all samples, once they are drawn."""
        return type(self._parts[0]).join(self._parts)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        result: dict[str, Any] = self.total.to_dict()
        return result


class CorrectionAccount(Account):
    """The account of draws that are corrected by Metropolis steps."""

    key = "exact"

    def _keep(self, part: Correction) -> None:
        """Keeps the diagnostics of a part; its weights only while there are not enough of them."""
        enough = sum(len(each.log_weights) for each in self._parts) >= ENOUGH
        self._parts.append(replace(part, log_weights=part.log_weights[:0]) if enough else part)
