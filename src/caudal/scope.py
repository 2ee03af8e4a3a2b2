"""Settings that hold within a `with` statement, for the thread that is in it alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Value = TypeVar("Value")


@contextmanager
def scoped(variable: ContextVar[Value], value: Value) -> Iterator[None]:
    """Within this context the variable has the value; after it, what it had before.

    Other threads, and jobs that this one has not started, do not see it.
    """
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
