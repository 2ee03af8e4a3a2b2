"""Configurations of the papers, by the recipe and the data that they are for."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from caudal.recipes.glow import Glow
from caudal.recipes.iresnet import IResNet
from caudal.recipes.mintnet import MintNet
from caudal.recipes.nice import NICE
from caudal.recipes.nsf_image import NSFImage
from caudal.recipes.realnvp import RealNVP
from caudal.recipes.recipe import Recipe, Shape
from caudal.recipes.residual_flow import ResidualFlow


@dataclass(frozen=True)
class Preset:
    """A recipe with what its paper trained it with on images of some data set.

    Attributes:
        recipe: with the paper's sizes.
        shape: of the images, channels, height and width.
        parameters: of the flow of such images.
        bits_per_dim: that the paper reports.
        training: options of training, by their names; those that no source tells are the usual
            ones.
        images: options of images, by their names.
        note: where it leaves the paper, or what to know.
    """

    recipe: Recipe
    shape: Shape
    parameters: int
    bits_per_dim: float
    training: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def size(self) -> str:
        """Height x width of the images, and their colours."""
        channels, height, width = self.shape
        return f"{height}x{width} {'gray' if channels == 1 else 'RGB'}"

    @property
    def options(self) -> Mapping[str, Any]:
        """Those that are of the data's kind alone."""
        return self.images

    def __str__(self) -> str:
        note = f"; {self.note}" if self.note else ""
        return (
            f"{self.size}, {self.parameters:,} parameters, {self.bits_per_dim:.2f} bits/dim in "
            f"the paper{note}"
        )


_SMALL, _MEDIUM, _LARGE = (3, 32, 32), (3, 64, 64), (3, 256, 256)

_ZCA = NICE(hidden=(2000,) * 4, whiten=True)
_NICE = {"batch_size": 200, "lr": 1e-3, "epochs": 1500, "patience": 0}
_REALNVP = {"batch_size": 64, "lr": 1e-3, "clip": 100.0, "weight_decay": 5e-5}
_LOGIT = {"pixels": "logit", "alpha": 0.05}
_DECAY = "weight decay here is AdamW's"
_CENTRED = {"pixels": "centred"}
_WARMUP = "10 epochs of warm-up"
_ADAM = "the paper's optimiser is Adamax"
_MINTNET = {"batch_size": 32, "lr": 1e-3, "patience": 0}
_IRESNET = IResNet(blocks=16, maps=512, scales=3, squeeze_first=False)
_ADAMAX = {"batch_size": 128, "lr": 3e-3, "warmup": 390, "epochs": 200}
_RESIDUAL = ResidualFlow(blocks=16, maps=512, scales=3, squeeze_first=False)
_RESIDUAL_TRAINING = {
    "batch_size": 64,
    "lr": 1e-3,
    "warmup": 1000,
    "clip": 1.0,
    "ema": 0.999,
    "epochs": 1000,
}

PRESETS: dict[str, dict[str, Preset]] = {
    "nice": {
        "mnist": Preset(NICE(), (1, 28, 28), 19_158_352, 4.36, _NICE, note="1980.50 nats"),
        "cifar10": Preset(_ZCA, _SMALL, 72_617_216, 4.48, _NICE),
        "svhn": Preset(_ZCA, _SMALL, 72_617_216, 2.60, _NICE),
    },
    "realnvp": {
        "cifar10": Preset(
            RealNVP(scales=2, maps=64, blocks=8),
            _SMALL,
            19_593_097,
            3.49,
            {**_REALNVP, "flips": True},
            _LOGIT,
            _DECAY,
        ),
        "imagenet32": Preset(
            RealNVP(scales=4, maps=32, blocks=4),
            _SMALL,
            45_782_535,
            4.28,
            _REALNVP,
            _LOGIT,
            _DECAY,
        ),
        "imagenet64": Preset(
            RealNVP(scales=5, maps=32, blocks=2),
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
            Glow(scales=3, layers=32, maps=512, coupling="gated"),
            _SMALL,
            43_954_512,
            3.35,
            {"batch_size": 512, "lr": 1e-3, "warmup": 980, "ema": 0.99},
            _CENTRED,
            _WARMUP,
        ),
        "imagenet32": Preset(
            Glow(scales=3, layers=48, maps=512, coupling="gated"),
            _SMALL,
            65_930_064,
            4.09,
            {"batch_size": 512, "lr": 1e-3, "warmup": 25_000, "ema": 0.9996},
            _CENTRED,
            _WARMUP,
        ),
        "imagenet64": Preset(
            Glow(scales=4, layers=48, maps=512, coupling="gated"),
            _MEDIUM,
            110_883_984,
            3.81,
            {"batch_size": 128, "lr": 1e-3, "warmup": 100_000, "ema": 0.9999},
            _CENTRED,
            _WARMUP,
        ),
        "celeba-hq": Preset(
            Glow(scales=6, layers=32, maps=512, coupling="additive"),
            _LARGE,
            168_589_968,
            1.03,
            {"batch_size": 40, "lr": 1e-3, "warmup": 6_750, "ema": 0.9985},
            {**_CENTRED, "bits": 5},
            f"5 bits; {_WARMUP}",
        ),
    },
    "iresnet": {
        "mnist": Preset(_IRESNET, (1, 28, 28), 15_731_248, 1.06, _ADAMAX, _CENTRED, note=_ADAM),
        "cifar10": Preset(
            _IRESNET, _SMALL, 21_931_056, 3.45, {**_ADAMAX, "flips": True}, _CENTRED, note=_ADAM
        ),
    },
    "residual-flow": {
        "mnist": Preset(
            _RESIDUAL,
            (1, 28, 28),
            16_605_400,
            0.970,
            _RESIDUAL_TRAINING,
            {"pixels": "logit", "alpha": 1e-6},
        ),
        "cifar10": Preset(
            _RESIDUAL, _SMALL, 25_161_784, 3.280, {**_RESIDUAL_TRAINING, "flips": True}, _LOGIT
        ),
        "imagenet32": Preset(
            replace(_RESIDUAL, blocks=32), _SMALL, 47_086_696, 4.010, _RESIDUAL_TRAINING, _LOGIT
        ),
    },
    "mintnet": {
        "mnist": Preset(
            MintNet(layers=20, latents=45, scales=3),
            (1, 28, 28),
            548_462,
            0.98,
            {**_MINTNET, "epochs": 600},
            {"pixels": "logit", "alpha": 1e-6},
        ),
        "cifar10": Preset(
            MintNet(layers=21, latents=85, scales=3),
            _SMALL,
            18_357_576,
            3.32,
            {**_MINTNET, "epochs": 300, "flips": True},
            _LOGIT,
        ),
        "imagenet32": Preset(
            MintNet(layers=21, latents=85, scales=3),
            _SMALL,
            18_357_576,
            4.06,
            {**_MINTNET, "steps": 350_000},
            _LOGIT,
        ),
    },
    "nsf-image": {
        "cifar10": Preset(
            NSFImage(scales=3, layers=7, maps=96, blocks=3, bins=4, dropout=0.2, factor_out=False),
            _SMALL,
            13_516_152,
            3.38,
            {"batch_size": 512, "lr": 5e-4, "steps": 200_000, "patience": 0},
            _CENTRED,
            "validated on 1% in the paper",
        ),
    },
}
"""By the name of the recipe, and of the preset."""
