"""The options of images: which ones, how a flow takes them, and what samples are given."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from caudal.fields import check_fields


@dataclass(frozen=True)
class ImageReading:
    """How image files are read."""

    crop: tuple[Annotated[int, Ge(1)], ...] = ()
    """Height and width, or one number, of the centre to keep of each image."""
    resize: tuple[Annotated[int, Ge(1)], ...] = ()
    """Height and width, or one number, to scale each image to, after the crop."""
    corrupt: Literal["refuse", "skip"] = "refuse"
    """Refuse images that cannot be read or have another size, or skip them."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class ImageOptions:
    """Which images to learn, and how a flow takes them."""

    data: str
    """A folder of images or of IDX files, a .npy or .npz array (N, H, W, C), a .parquet file with
    a column of images, hf:NAME, or the built-in digits."""
    context: tuple[str, ...] = ()
    """What to condition on: class (the name of the sub-folder, or the labels), and names that
    labels or metadata give."""
    labels: str | None = None
    """What file names say, such as '{kind}_{index}': names for the context."""
    metadata: str | None = None
    """A .csv or .tsv with a row for each file, whose columns are names for the context."""
    valid: str | None = None
    """Validation images, or a pattern of file names, instead of a share of the data."""
    test: str | None = None
    """Test images, or a pattern of file names, instead of a share of the data."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of training, validation and test images, for parts that the data do not have."""
    split_by: str | None = None
    """A label, such as class, or a regular expression on names: images that have it in common
    stay in one part."""
    split_seed: int = 0
    """Seed of the split, apart from that of training: runs of several seeds share one split."""
    crop: tuple[Annotated[int, Ge(1)], ...] = ()
    """Height and width, or one number, of the centre to keep of each image."""
    resize: tuple[Annotated[int, Ge(1)], ...] = ()
    """Height and width, or one number, to scale each image to, after the crop."""
    corrupt: Literal["refuse", "skip"] = "refuse"
    """Refuse images that cannot be read or have another size, or skip them."""
    bits: Annotated[int, Ge(1), Le(8)] = 8
    """Bits of each pixel to model; the lower ones are cut off."""
    pixels: Literal["unit", "centred", "logit", "white"] | None = None
    """What the flow makes of pixels x in [0, 1]: x, x - 1/2, logit(alpha + (1 - 2 alpha) x), or
    white, such logits without their covariance; if not given, the recipe chooses logit or
    white."""
    alpha: Annotated[float, Gt(0), Lt(0.5)] | None = None
    """Distance that the logit keeps from 0 and 1; chosen from the training images if not given."""
    dequantization: Literal["uniform", "variational"] = "uniform"
    """Noise between the values of pixels: uniform, or from a small flow that learns it."""
    pixel_noise: Annotated[float, Ge(0)] = 0.0
    """Standard deviation of Gaussian noise on the images that are learned, in steps of a pixel's
    value; takes pixels as they are or centred, and goes with `denoise` of samples."""
    drop_context: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of the images whose labels are withheld in each step of training, such as 0.1: the
    flow then knows images without them too, and `guidance` of samples needs it."""

    def __post_init__(self) -> None:
        check_fields(self, skip=("data", "valid", "test"))


@dataclass(frozen=True)
class ImageDrawing:
    """What the samples of images are conditioned on; without a choice each class has its turn.

    Images that are inpainted have their own.
    """

    context_file: str | None = None
    """A table of contexts, one row for each sample, over again if there are fewer."""
    given: tuple[str, ...] = ()
    """Values of the context for all images, such as class=3."""
    denoise: bool = False
    """Take off the noise that the images had in training, by one step along the slope of the
    log-density; such samples no longer follow the density."""
    inpaint: str | None = None
    """Draw the hidden part of these images given the rest, of one after the other: an image file,
    or what else holds images; for tarflow trained with `order` any."""
    mask: str | None = None
    """What `inpaint` hides: left, right, top, bottom, a picture that is white there, or a .npy
    array that is true there. Patches that are hidden in part are drawn whole."""
