"""What stands in the place of data where a flow learns from a density: its columns, its chains."""

import inspect
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

from caudal.annealing import Annealed
from caudal.data.dataset import Dataset
from caudal.data.source import Source
from caudal.data.tensors import TensorSchema, numbered
from caudal.errors import InputError
from caudal.names import near
from caudal.targets import TARGETS, Target

PREFIX = "density:"
"""What a name of a density begins with, where the name of a file could stand."""


@dataclass(frozen=True)
class DensitySchema(TensorSchema):
    """The columns x1 ... xD of a density that is known up to its constant.

    Attributes:
        density: its name, such as "funnel", or "module:name".
    """

    kind: ClassVar[str] = "density"

    density: str = ""

    @property
    def what(self) -> str:
        return f"the density {self.density}"

    @classmethod
    def named(cls, name: str, features: int) -> "DensitySchema":
        """The schema of a density of that name over so many columns of real numbers."""
        return cls(numbered(features, first=1), density=name)


@dataclass(frozen=True)
class DensityDataset(Dataset[DensitySchema, Source]):
    """Chains of a density in the place of data: those to learn from, held-out ones, and a test.

    Attributes:
        target: the density.
        annealed: how the chains came to it.
    """

    target: Target | None = None
    annealed: Annealed | None = None


def find_target(name: str) -> Target:
    """The target of a name in `TARGETS`, or of `module:name`.

    The latter is a Target, its class, or a function that makes one, in a module that can be
    imported, also from the present folder.

    Raises:
        InputError: there is none, or it is something else.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        if name not in TARGETS:
            raise InputError(
                f"no density '{name}' (one of your own is density:module:name); "
                f"{near(name, list(TARGETS))}"
            )
        return TARGETS[name]()
    target = _imported(name, module, attribute)
    if _takes_rows(target):
        raise InputError(
            f"{name} is a function of x, and it is not known of how many columns: say so by "
            f"posterior = caudal.targets.Named('{attribute}', {attribute}, features=3) in "
            f"{module}, and give density:{module}:posterior"
        )
    made = target() if callable(target) and not isinstance(target, Target) else target
    if not isinstance(made, Target):
        raise InputError(
            f"{name}: must be a caudal.targets.Target, its class, or a function without "
            f"arguments that makes one, got {type(made).__name__}"
        )
    return made


def _imported(name: str, module: str, attribute: str) -> Any:
    sys.path.insert(0, "")  # the command line has not the present folder in it
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise InputError(f"{name}: no module {error.name}; is it in this folder?") from None
    except AttributeError:
        raise InputError(f"{name}: module {module} has no '{attribute}'") from None
    finally:
        sys.path.remove("")


def _takes_rows(found: Any) -> bool:
    """Whether it is a function with an argument that must be given, such as x."""
    if not callable(found) or isinstance(found, Target):
        return False
    return any(
        p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for p in inspect.signature(found).parameters.values()
    )
