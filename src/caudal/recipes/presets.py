"""Configurations of the papers, by the recipe and the data that they are for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from caudal.errors import InputError
from caudal.names import near


@dataclass(frozen=True)
class Preset:
    """What a paper trained its flow with on some data; plain data, by the names of options.

    Attributes:
        fields: fields of the recipe that differ from its defaults.
        size: size of the data, in words.
        parameters: number of parameters of the flow for such data.
        bits_per_dim: what the paper reports, if it reports a likelihood.
        training: options of training; where no source names them, the usual ones.
        options: options of the data.
        note: differences to the paper, or what else to know.
    """

    fields: Mapping[str, Any]
    size: str
    parameters: int
    bits_per_dim: float | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def values(self) -> dict[str, Any]:
        """All options by their names, to be used as defaults."""
        return {**self.fields, **self.training, **self.options}

    def __str__(self) -> str:
        bits = f"{self.bits_per_dim:.2f} bits/dim in the paper" if self.bits_per_dim else ""
        facts = (self.size, f"{self.parameters:,} parameters", bits)
        return ", ".join(filter(None, facts)) + (f"; {self.note}" if self.note else "")


_MNIST, _SMALL, _MEDIUM, _LARGE = "28x28 gray", "32x32 RGB", "64x64 RGB", "256x256 RGB"

_ZCA = {"hidden": (2000,) * 4, "whiten": True}
_TFD = {"hidden": (5000,) * 4, "prior": "normal", "whiten": True}
_UNIT = {"pixels": "unit"}
_NICE = {"batch_size": 200, "lr": 1e-3, "epochs": 1500, "patience": 0}
_REALNVP = {"batch_size": 64, "lr": 1e-3, "clip": 100.0, "weight_decay": 5e-5}
_LOGIT = {"pixels": "logit", "alpha": 0.05}
_SHARP_LOGIT = {"pixels": "logit", "alpha": 1e-6}
_DECAY = "weight decay here is AdamW's"
_CENTRED = {"pixels": "centred"}
_WARMUP = "10 epochs of warm-up"
_ADAM = "the paper's optimiser is Adamax"
_GLOW = {"scales": 3, "layers": 48, "maps": 512, "coupling": "gated"}
_SPLINES, _POWER = {"layers": 10, "hidden": 256}, "6 columns"
_SPLINES_TRAINING = {"batch_size": 512, "lr": 5e-4, "steps": 400_000, "patience": 0}
_MINTNET = {"layers": 21, "latents": 85, "scales": 3}
_MINTNET_TRAINING = {"batch_size": 32, "lr": 1e-3, "patience": 0}
_RESIDUAL = {"blocks": 16, "maps": 512, "scales": 3, "squeeze_first": False}
_IRESNET_TRAINING = {"batch_size": 128, "lr": 3e-3, "warmup": 390, "epochs": 200}
_RESIDUAL_TRAINING = {
    "batch_size": 64,
    "lr": 1e-3,
    "warmup": 1000,
    "clip": 1.0,
    "ema": 0.999,
    "epochs": 1000,
}
_PLAIN = {"map": "affine", "couplings": 0}
"""What moves the pixels of a patch in the paper of tarflow."""
_TARFLOW = {"batch_size": 256, "lr": 1e-4, "clip": 5.0, "weight_decay": 1e-4, "epochs": 100}
_OURS = "not of the paper: a size for one accelerator"
_LONG = {"steps": 1_000_000, "patience": 0, "validate_every": 10_000, "ema": 0.9999}

PRESETS: Mapping[str, Mapping[str, Preset]] = {
    "nice": {
        "mnist": Preset({}, _MNIST, 19_158_352, 4.36, _NICE, _UNIT, "1980.50 nats"),
        "cifar10": Preset(_ZCA, _SMALL, 72_617_216, 4.48, _NICE, _UNIT),
        "svhn": Preset(_ZCA, _SMALL, 72_617_216, 2.60, _NICE, _UNIT),
        "tfd": Preset(_TFD, "48x48 gray", 346_166_912, None, _NICE, _UNIT, "5514.71 nats"),
    },
    "realnvp": {
        "cifar10": Preset(
            {"scales": 2, "maps": 64, "blocks": 8},
            _SMALL,
            19_593_097,
            3.49,
            {**_REALNVP, "flips": True},
            _LOGIT,
            _DECAY,
        ),
        "imagenet32": Preset(
            {"scales": 4, "maps": 32, "blocks": 4},
            _SMALL,
            45_782_535,
            4.28,
            _REALNVP,
            _LOGIT,
            _DECAY,
        ),
        "imagenet64": Preset(
            {"scales": 5, "maps": 32, "blocks": 2},
            _MEDIUM,
            94_442_287,
            3.98,
            _REALNVP,
            _LOGIT,
            _DECAY,
        ),
    },
    "glow": {
        "cifar10": Preset(
            {**_GLOW, "layers": 32},
            _SMALL,
            43_954_512,
            3.35,
            {"batch_size": 512, "lr": 1e-3, "warmup": 980, "ema": 0.99},
            _CENTRED,
            _WARMUP,
        ),
        "imagenet32": Preset(
            _GLOW,
            _SMALL,
            65_930_064,
            4.09,
            {"batch_size": 512, "lr": 1e-3, "warmup": 25_000, "ema": 0.9996},
            _CENTRED,
            _WARMUP,
        ),
        "imagenet64": Preset(
            {**_GLOW, "scales": 4},
            _MEDIUM,
            110_883_984,
            3.81,
            {"batch_size": 128, "lr": 1e-3, "warmup": 100_000, "ema": 0.9999},
            _CENTRED,
            _WARMUP,
        ),
        "celeba-hq": Preset(
            {"scales": 6, "layers": 32, "maps": 512, "coupling": "additive"},
            _LARGE,
            168_589_968,
            1.03,
            {"batch_size": 40, "lr": 1e-3, "warmup": 6_750, "ema": 0.9985},
            {**_CENTRED, "bits": 5},
            f"5 bits; {_WARMUP}",
        ),
    },
    "iresnet": {
        "mnist": Preset(_RESIDUAL, _MNIST, 15_731_248, 1.06, _IRESNET_TRAINING, _CENTRED, _ADAM),
        "cifar10": Preset(
            _RESIDUAL,
            _SMALL,
            21_931_056,
            3.45,
            {**_IRESNET_TRAINING, "flips": True},
            _CENTRED,
            _ADAM,
        ),
    },
    "residual-flow": {
        "mnist": Preset(_RESIDUAL, _MNIST, 16_605_400, 0.970, _RESIDUAL_TRAINING, _SHARP_LOGIT),
        "cifar10": Preset(
            _RESIDUAL, _SMALL, 25_161_784, 3.280, {**_RESIDUAL_TRAINING, "flips": True}, _LOGIT
        ),
        "imagenet32": Preset(
            {**_RESIDUAL, "blocks": 32}, _SMALL, 47_086_696, 4.010, _RESIDUAL_TRAINING, _LOGIT
        ),
    },
    "mintnet": {
        "mnist": Preset(
            {"layers": 20, "latents": 45, "scales": 3},
            _MNIST,
            548_462,
            0.98,
            {**_MINTNET_TRAINING, "epochs": 600},
            _SHARP_LOGIT,
        ),
        "cifar10": Preset(
            _MINTNET,
            _SMALL,
            18_357_576,
            3.32,
            {**_MINTNET_TRAINING, "epochs": 300, "flips": True},
            _LOGIT,
        ),
        "imagenet32": Preset(
            _MINTNET, _SMALL, 18_357_576, 4.06, {**_MINTNET_TRAINING, "steps": 350_000}, _LOGIT
        ),
    },
    "nsf": {"power": Preset(_SPLINES, _POWER, 2_820_174, training=_SPLINES_TRAINING)},
    "nsf-ar": {"power": Preset(_SPLINES, _POWER, 3_005_184, training=_SPLINES_TRAINING)},
    "nsf-image": {
        "cifar10": Preset(
            {
                "scales": 3,
                "layers": 7,
                "maps": 96,
                "blocks": 3,
                "bins": 4,
                "dropout": 0.2,
                "factor_out": False,
            },
            _SMALL,
            13_516_152,
            3.38,
            {"batch_size": 512, "lr": 5e-4, "steps": 200_000, "patience": 0},
            _CENTRED,
            "validated on 1% in the paper",
        ),
    },
    "tarflow": {
        "mnist": Preset(
            {"layers": 4, "depth": 4, "width": 128, "heads": 2, "patch": 4, **_PLAIN},
            _MNIST,
            3_226_016,
            None,
            {**_TARFLOW, "lr": 1e-3},
            note=_OURS,
        ),
        "cifar10": Preset(
            {"layers": 8, "depth": 4, "width": 256, "heads": 4, "patch": 2, **_PLAIN},
            _SMALL,
            25_885_008,
            None,
            {**_TARFLOW, "lr": 5e-4, "flips": True},
            _CENTRED,
            _OURS,
        ),
        "imagenet64": Preset(
            {"layers": 8, "depth": 8, "width": 768, "heads": 12, "patch": 2, **_PLAIN},
            _MEDIUM,
            460_185_936,
            2.99,
            _TARFLOW,
            _CENTRED,
        ),
    },
    "wavenet": {
        "parallel-wavenet": Preset(
            {"layers": 30, "kernel": 3, "channels": 256, "law": "logistics", "hop": 120},
            "24 kHz, 80 bands",
            20_810_270,
            training={**_LONG, "batch_size": 32},
            options={"rate": 24_000, "mels": 80, "window": 1024, "seconds": 0.32},
            note="the teacher of arXiv:1711.10433, given a spectrum instead of linguistic "
            "features; its stream has 512 channels",
        ),
        "clarinet": Preset(
            {"layers": 20, "kernel": 2, "channels": 128, "floor": -9.0, "hop": 256},
            "22.05 kHz, 80 bands",
            3_187_458,
            training={**_LONG, "batch_size": 8, "lr": 1e-3},
            options={"rate": 22_050, "mels": 80, "window": 1024, "seconds": 0.7},
            note="the teacher of arXiv:1807.07281, by its public code; no source names the steps",
        ),
    },
}
"""By the name of the recipe, and of the preset."""


def find_preset(recipe: str, name: str) -> Preset:
    """The preset of that name.

    Raises:
        InputError: the recipe has none of that name.
    """
    known = PRESETS.get(recipe, {})
    if not known:
        raise InputError(f"`preset` {name}: {recipe} has no presets, {', '.join(PRESETS)} do")
    if name not in known:
        raise InputError(
            f"`preset` {name}: {recipe} has none of that name; {near(name, [*known])}"
        )
    return known[name]
