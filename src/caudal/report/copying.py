"""What an evaluation says of copies, which some kinds of data have beside scores."""

from abc import ABC, abstractmethod
from typing import Any

from caudal.report.distilled import ScreenTable


class Copying(ABC):
    """How like the items a flow's copies of them are, beside copies that learn nothing."""

    @property
    @abstractmethod
    def verdict(self) -> list[str]:
        """Where the flow is below what learns nothing, a line each."""

    @abstractmethod
    def table(self) -> ScreenTable:
        """All measures side by side."""

    @abstractmethod
    def sentences(self) -> list[str]:
        """What the measures say, and what they lack."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
