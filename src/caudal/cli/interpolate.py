"""`caudal interpolate`: what lies between four images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg

from caudal import files
from caudal.cli.datasets import refuse_reading
from caudal.cli.examples import CORNERS, Examples, Four, choose, test_images
from caudal.cli.interpolate_table import table_examples, write_table_manifold
from caudal.cli.opened import OpenedRun
from caudal.cli.opened_images import class_names, image_dataset, other_images
from caudal.cli.options import ReadingOptions
from caudal.cli.output import open_picture
from caudal.cli.parse import parse
from caudal.cli.screen import Screen, number
from caudal.errors import InputError
from caudal.interpolation import manifold
from caudal.report.pixels import draw_manifold
from caudal.report.style import house_style
from caudal.training.seeds import check_seed

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure


@dataclass(frozen=True)
class InterpolateOptions:
    """Draws the manifold between four images: n by n images that the flow makes of noise between.

    The four are encoded, their noises z1 .. z4 combined as z = cos phi (cos phi' z1 + sin phi'
    z2) + sin phi (cos phi' z3 + sin phi' z4), and decoded; they come back at the corners.
    """

    run: Positional[str]
    """Run folder, or a model file, of a run on images or on the built-in digits."""
    out: str
    """Where to: .png, .jpg or .webp."""
    data: str | None = None
    """Images to choose the four from, instead of the run's own test images."""
    rows: tuple[int, ...] = ()
    """Numbers of the four, from 1: top left, top right, bottom left, bottom right; if not given,
    chance takes them, of different classes where those are known."""
    n: Annotated[int, arg(aliases=("-n",))] = 8
    """Images along each side; fewer where they are too large for the sheet."""
    seed: int = 0
    """Of which images are taken, and of the noise between the values of pixels."""
    images: ReadingOptions = ReadingOptions()
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto for a GPU if there is one."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the file in --out, if there is one."""
    json: FlagCreatePairsOff[bool] = False
    """Print what was done as one JSON object on standard output, all else on standard error."""


def run(words: list[str]) -> int:
    """Runs the command."""
    options = parse(InterpolateOptions, words, "caudal interpolate")
    check_seed(options.seed)
    if options.n < 2:
        raise InputError(f"-n {options.n}: must be at least 2")
    if len(options.rows) not in (0, 4):
        shown = " ".join(map(str, options.rows))
        raise InputError(f"--rows {shown}: give four numbers")
    screen = Screen(options.json)
    path = open_picture(options.out, options.overwrite)
    opened = OpenedRun(options.run, options.device)
    if opened.has_audio:
        raise InputError(f"{opened.name} models audio: interpolate is for images and tables")
    if not opened.has_images:
        refuse_reading(options.images, options.run)
    find = _examples if opened.has_images else table_examples
    four = choose(find(options, opened, screen), options.rows, options.seed)
    error = corner_error(opened, four, options.seed)
    taken = (four.images, four.context, options.n, options.seed)
    if opened.has_images:
        with house_style():
            save(path, draw_manifold(opened.flow, opened.images, *taken))
    else:
        write_table_manifold(path, opened, *taken)
    _tell(screen, options, four, error)
    return 0


def corner_error(opened: OpenedRun, four: Four, seed: int) -> float:
    """How far the corners are off the four images, in pixel values, at most."""
    corners = manifold(opened.flow, four.images, four.context, 2, seed).flatten(0, 1)
    return float((corners.cpu().double() - four.images.double()).abs().max())


def save(path: "Path", figure: "Figure") -> None:
    """Writes a picture in the format of its suffix, atomically."""
    kind = path.suffix[1:].casefold()
    # Without the version and the date, the same run gives the same bytes.
    metadata = {"Software": None} if kind == "png" else None
    with files.atomic(path) as temporary:
        figure.savefig(temporary, format=kind, metadata=metadata)


def _examples(options: InterpolateOptions, opened: OpenedRun, screen: Screen) -> Examples:
    schema = opened.images
    if schema.shape[0] not in (1, 3):
        raise InputError(f"{options.run} models {schema.size} images, which no picture can show")
    if options.data is None:
        dataset = image_dataset(opened, screen)
        for note in dataset.notes:
            screen.warn(note)
        return test_images(opened, dataset.test)
    rows, names, notes = other_images(opened, options.data, options.images, screen)
    for note in notes:
        screen.warn(note)
    return Examples(rows, names, class_names(schema, rows.context), "image")


def _tell(screen: Screen, options: InterpolateOptions, four: Four, error: float) -> None:
    screen.say(f"{options.out}: between four images of {options.run} (seed {options.seed})")
    screen.table(["", ""], list(zip(CORNERS, four.told, strict=True)))
    off = "as they were" if error == 0 else f"with pixel values off by up to {number(error, 0)}"
    screen.say(f"corners: the four images came back {off}")
    screen.result({"out": options.out, "images": four.told, "corner_error": error})
