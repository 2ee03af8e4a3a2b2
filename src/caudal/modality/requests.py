"""What is asked of a modality: samples, and examples to choose from."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor


class Request(NamedTuple):
    """What one call of `Flow.sample` is asked for.

    Attributes:
        n: how many samples.
        context: of each of them, (n, *context), or None.
        length: of each, for data of any length.
        name: of the sample, where it has one.
        start: the number of the first of them, from 0.
        given: values of modelled columns that each of them has, (n, D), NaN where there is none;
            None if nothing is given.
        gain: for sound, what each sample is multiplied by.
    """

    n: int
    context: Tensor | None = None
    length: int | None = None
    name: str = ""
    start: int = 0
    given: Tensor | None = None
    gain: float = 1.0


class Requests(NamedTuple):
    """The requests of one job.

    Attributes:
        each: the requests.
        samples: how many samples they ask for together.
        calls: how many requests there are.
        schema: of the samples, where that is not the model's own: contexts may have categories
            that training has not seen.
    """

    each: Iterable[Request]
    samples: int
    calls: int
    schema: Any = None


class Examples(NamedTuple):
    """Items to choose from: a source, what each is called, and its class if that is known."""

    rows: Any
    names: list[str]
    labels: list[Any] | None
    where: str


@dataclass(frozen=True)
class Nothing:
    """No options."""
