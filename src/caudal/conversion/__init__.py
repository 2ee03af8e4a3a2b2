"""Flows of zuko, nflows and normflows, read as plans of ours and the weights for them.

A flow is recognised by the names of its classes and read by their attributes: no other library is
imported. A plan is plain data, so that a model file can hold it: `caudal.recipes.Converted`.
"""

from typing import Any

from caudal.conversion import nflows, normflows, zuko
from caudal.conversion.plan import Part, Plan, build, part
from caudal.conversion.source import Source
from caudal.errors import InputError

__all__ = ["Plan", "Source", "build", "chain", "read"]

_READERS = {"zuko": zuko.read, "nflows": nflows.read, "normflows": normflows.read}


def read(flow: Any) -> Source:
    """What a flow of another library is made of.

    Raises:
        InputError: it is of none of the three, or a layer has no counterpart here; says which.
    """
    for kind in type(flow).__mro__:
        library, name = kind.__module__.split(".")[0], kind.__name__
        if library in _READERS and name in _FLOWS[library]:
            return _READERS[library](flow)
    raise InputError(
        f"`flow` is a {type(flow).__module__}.{type(flow).__name__}: give a zuko.lazy.Flow, an "
        f"nflows.flows.Flow, or a normflows.NormalizingFlow or MultiscaleFlow"
    )


_FLOWS = {
    "zuko": ("Flow",),
    "nflows": ("Flow",),
    "normflows": ("NormalizingFlow", "MultiscaleFlow"),
}


def chain(source: Source) -> Part:
    """All parts as one."""
    return part("Chain", parts=source.parts)
