"""Sizes of flows: one dial for the fields and options that make a flow larger and slower to train.

The papers' sizes are for days on accelerators. `small`, `medium` and `large` are what learns most
in about one, five and thirty minutes of two CPU cores; unless someone chooses, the kind of data
and the time choose (`Modality.size`).
"""

from collections.abc import Mapping
from typing import Any, Literal

from caudal.errors import InputError
from caudal.names import near

Size = Literal["small", "medium", "large", "paper"]
"""The names of the sizes."""

_SPLINES: Mapping[str, Mapping[str, Any]] = {
    "small": {"layers": 3, "hidden": 32, "blocks": 1, "lr": 1e-3},
    "medium": {"layers": 5, "hidden": 64},
    "large": {"layers": 8, "hidden": 128},
    "paper": {"layers": 10, "hidden": 256},
}
_MASKED: Mapping[str, Mapping[str, Any]] = {
    "small": {"layers": 3, "hidden": (32, 32)},
    "medium": {"layers": 5, "hidden": (128, 128)},
    "large": {"layers": 8, "hidden": (256, 256)},
    "paper": {"layers": 10, "hidden": (512, 512)},
}
_PLAIN = {"map": "affine", "couplings": 0}
# The rate of `medium` is the best by validation images (benchmarks/results/rates.md); `large`,
# which was not compared, took MNIST to 1.079 bits/dim in half an hour.
_TRANSFORMERS: Mapping[str, Mapping[str, Any]] = {
    "small": {"depth": 1, "width": 64, "lr": 1e-2, "optimizer": "muon"},
    "medium": {"layers": 4, "depth": 1, "width": 80, "lr": 4e-3, "optimizer": "muon"},
    "large": {"layers": 6, "depth": 1, "width": 96, "lr": 3e-3, "optimizer": "muon"},
    "paper": {"layers": 8, "depth": 8, "width": 768, "heads": 12, **_PLAIN},
}
SIZES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "nsf": _SPLINES,
    "nsf-ar": _SPLINES,
    "nsf-iaf": _SPLINES,
    "maf": _MASKED,
    "maf-mog": _MASKED,
    "iaf": _MASKED,
    "glow": {
        "small": {"layers": 4, "maps": 32, "lr": 4e-3, "optimizer": "muon"},
        "medium": {"layers": 6, "maps": 64, "lr": 4e-3, "optimizer": "muon"},
        "large": {"layers": 8, "maps": 96, "lr": 3e-3, "optimizer": "muon"},
        "paper": {"layers": 32, "maps": 512},
    },
    "tarflow": _TRANSFORMERS,
    "tarflow-iaf": _TRANSFORMERS,
    "wavenet": {
        "small": {"layers": 10, "channels": 32, "batch_size": 4, "lr": 3e-3, "ema": 0.98},
        "medium": {"layers": 20, "channels": 48, "batch_size": 4, "lr": 2e-3, "ema": 0.99},
        "large": {"layers": 20, "channels": 96},
        "paper": {"layers": 30, "channels": 256, "kernel": 3},
    },
}
"""Fields of a recipe, and options of training that go with them, by its name and the size."""

_RESIDUAL = {"blocks": 16, "maps": 512, "squeeze_first": False}
_OF_IMAGES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "nice": {
        "small": {"hidden": (512, 512)},
        "medium": {"hidden": (1000, 1000, 1000)},
        "large": {"hidden": (1000, 1000, 1000, 1000, 1000)},
        "paper": {"hidden": (1000, 1000, 1000, 1000, 1000)},
    },
    "realnvp": {
        "small": {"norm": "act", "maps": 8, "blocks": 1, "optimizer": "muon"},
        "medium": {"norm": "act", "maps": 16, "blocks": 1, "optimizer": "muon"},
        "large": {"norm": "act", "maps": 32, "blocks": 2, "optimizer": "muon"},
        "paper": {"maps": 64, "blocks": 8},
    },
    "iresnet": {
        "small": {"blocks": 2},
        "medium": {"blocks": 4},
        "large": {"blocks": 8, "maps": 64},
        "paper": _RESIDUAL,
    },
    "residual-flow": {
        "small": {"blocks": 2, "dense": 0},
        "medium": {"blocks": 4, "dense": 0},
        "large": {"blocks": 8, "maps": 64},
        "paper": _RESIDUAL,
    },
    "nsf-image": {
        "small": {"layers": 3, "maps": 24, "blocks": 1, "optimizer": "muon"},
        "medium": {"layers": 4, "maps": 48, "blocks": 2, "optimizer": "muon"},
        "large": {"layers": 6, "maps": 64, "blocks": 2, "optimizer": "muon"},
        "paper": {"layers": 7, "maps": 96, "blocks": 3, "factor_out": False},
    },
}
"""Those that only images have: of the same recipe, tables have another architecture or none."""


def sizes_of(recipe: str, kind: str) -> Mapping[str, Mapping[str, Any]]:
    """All sizes of a recipe for a kind of data, by their names; none if it has one alone."""
    own = _OF_IMAGES if kind == "images" else {}
    return own.get(recipe) or SIZES.get(recipe, {})


def size_of(recipe: str, size: str, kind: str = "") -> Mapping[str, Any]:
    """The fields of a recipe in one of its sizes, and options of training.

    Raises:
        InputError: there is no such size, or the recipe has one alone, that of its fields.
    """
    sizes = sizes_of(recipe, kind)
    if not sizes:
        known = dict.fromkeys([*SIZES, *(_OF_IMAGES if kind == "images" else ())])
        raise InputError(
            f"`size` {size}: {recipe} has no sizes, {', '.join(known)} do: set its own fields"
        )
    if size not in sizes:
        raise InputError(f"`size` {size}: {near(size, list(sizes))}")
    return sizes[size]
