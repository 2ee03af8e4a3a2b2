"""What the modalities do not do yet."""

from typing import Any, ClassVar

from caudal.modality import Modality


class Pending(Modality):
    """A modality that trains, but does not open data."""

    options: ClassVar[type] = object
    reading: ClassVar[type] = object
    drawing: ClassVar[type] = object

    def recognises(self, data: Any) -> bool:
        raise NotImplementedError

    def open(self, options: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def open_all(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError
