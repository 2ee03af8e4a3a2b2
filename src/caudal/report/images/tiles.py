"""Images as tiles on a sheet, enlarged by a whole number."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from caudal.report.style import INK, QUIET, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

PAGE = 1120  # dots: as wide as the page of the report shows without resampling
DOTS = 120  # an inch
GAP = 2  # between tiles
APART = 28  # between panels
LARGEST = 200  # side of a tile; larger images are averaged down
LEAST, SMALL = 48, 84  # small tiles are enlarged to LEAST, and to SMALL if they fit
STAGES = 12  # parts of a flow that are shown side by side
TITLE, LABEL, LETTER, BROAD = 26, 18, 7.5, 9.5  # heights of lines, widths of their letters


@dataclass(frozen=True)
class Panel:
    """Tiles in rows and columns, with what is written around them.

    Attributes:
        tiles: uint8 (rows, columns, H, W, 1 or 3 channels).
        title: above.
        colour: of the title.
        rows: a label left of each row, or none.
        columns: a label above each column, or none.
        shown: (rows, columns), False where the paper stays empty; by default all are shown.
    """

    tiles: np.ndarray
    title: str = ""
    colour: str = INK
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    shown: np.ndarray | None = None

    @property
    def margin(self) -> int:
        """Width of the labels at the left."""
        return round(LETTER * max(map(len, self.rows))) + 10 if self.rows else 0


def draw_panels(panels: Sequence[Panel], largest: int = SMALL) -> "Figure":
    """Panels side by side, enlarged by a whole number until they fill the page or `largest`."""
    from matplotlib.figure import Figure

    panels = [_shortened(_reduced(panel)) for panel in panels]
    scale = _scale(panels, largest)
    sheets = [_sheet(panel, scale) for panel in panels]
    width = sum(p.margin + s.shape[1] for p, s in zip(panels, sheets, strict=True))
    width += APART * (len(panels) - 1)
    top = TITLE * any(p.title for p in panels) + LABEL * any(p.columns for p in panels)
    height = top + max(len(sheet) for sheet in sheets)
    # Half a dot more, so that the size in inches does not round down to a dot less.
    figure = Figure(((width + 0.5) / DOTS, (height + 0.5) / DOTS), dpi=DOTS)
    left = 0
    for panel, sheet in zip(panels, sheets, strict=True):
        left += panel.margin
        figure.figimage(sheet, left, height - top - len(sheet), origin="upper")
        _write(figure, panel, sheet, (left, top), (width, height))
        left += sheet.shape[1] + APART
    return figure


def draw_greys(found: Sequence[tuple[str, "Tensor"]], ends: Sequence[str] = ("data",)) -> "Figure":
    """Events (N, H, W, C) after evenly chosen parts of a flow, each part on a scale of its own.

    The last ones are shown in any case, and are called `ends`.
    """
    last = len(found) - len(ends)
    chosen = np.unique(np.linspace(0, last, STAGES + 1 - len(ends)).round().astype(int))
    columns = []
    for index in (*chosen, *range(last + 1, len(found))):
        values = found[index][1].double().cpu().numpy()
        low, high = np.nanquantile(values, [0.01, 0.99])
        shades = 255 * ((values - low) / max(high - low, 1e-9)).clip(0, 1)
        columns.append(np.nan_to_num(shades).round().astype(np.uint8))
    names = ["noise", *(f"part {i}" for i in chosen[1:-1]), *ends]
    return draw_panels([Panel(np.stack(columns, axis=1), columns=names)])


def across(width: int, most: int, panels: int = 1, labels: int = 0) -> int:
    """How many tiles, at most `most`, of images so wide fit side by side into one panel.

    Small images are counted as enlarged until they can be seen.
    """
    tile = width // -(-width // LARGEST)
    tile *= -(-LEAST // tile)
    room = (PAGE - labels - APART * (panels - 1)) // panels
    return max(1, min(most, (room + GAP) // (tile + GAP)))


def grid_of(images: np.ndarray, columns: int) -> np.ndarray:
    """Images (N, H, W, C) in reading order (rows, columns, H, W, C), without a ragged end."""
    columns = min(columns, len(images))
    rows = len(images) // columns
    return images[: rows * columns].reshape(rows, columns, *images.shape[1:])


def row_of(images: np.ndarray) -> np.ndarray:
    """One image (H, W', 3) of images (N, H, W, C) side by side with paper between them."""
    return _sheet(_reduced(Panel(images[None])), 1)


def split_row(row: np.ndarray, count: int) -> np.ndarray:
    """The images (count, H, W, 3) of a row that `row_of` made."""
    step = (row.shape[1] + GAP) // count
    return np.stack([row[:, step * i : step * (i + 1) - GAP] for i in range(count)])


def _scale(panels: Sequence[Panel], most: int) -> int:
    margins = sum(p.margin for p in panels) + APART * (len(panels) - 1)
    gaps = sum(GAP * (p.tiles.shape[1] - 1) for p in panels)
    pixels = sum(p.tiles.shape[1] * p.tiles.shape[3] for p in panels)
    largest = max(max(p.tiles.shape[2:4]) for p in panels)
    return max(1, min((PAGE - margins - gaps) // pixels, -(-most // largest)))


def _sheet(panel: Panel, scale: int) -> np.ndarray:
    """One image (H, W, 3) of all tiles, with paper between them."""
    tiles = panel.tiles.repeat(scale, 2).repeat(scale, 3)
    rows, columns, height, width, channels = tiles.shape
    sheet = np.full((rows, height + GAP, columns, width + GAP, 3), 255, np.uint8)
    colours = tiles if channels == 3 else tiles[..., :1]
    paper = np.ones((rows, columns), bool) if panel.shown is None else panel.shown
    colours = np.where(paper[:, :, None, None, None], colours, 255)
    sheet[:, :height, :, :width] = colours.transpose(0, 2, 1, 3, 4)
    whole = sheet.reshape(rows * (height + GAP), columns * (width + GAP), 3)
    return whole[:-GAP, :-GAP]


def _reduced(panel: Panel) -> Panel:
    """A panel whose large tiles are averaged down, with one or three channels."""
    tiles = panel.tiles
    if tiles.shape[-1] not in (1, 3):
        tiles = tiles[..., :3] if tiles.shape[-1] == 4 else tiles.mean(-1, keepdims=True)
    by = -(-max(tiles.shape[2:4]) // LARGEST)
    if by > 1:
        rows, columns, height, width, channels = tiles.shape
        height, width = height // by, width // by
        tiles = tiles[:, :, : height * by, : width * by]
        tiles = tiles.reshape(rows, columns, height, by, width, by, channels).mean((3, 5))
    return replace(panel, tiles=tiles.astype(np.uint8))


def _shortened(panel: Panel) -> Panel:
    return replace(panel, rows=[shorten(row, 16) for row in panel.rows])


def _write(
    figure: "Figure",
    panel: Panel,
    sheet: np.ndarray,
    corner: tuple[int, int],
    size: tuple[int, int],
) -> None:
    """Writes title and labels around a sheet with that top left corner, in dots from the top."""
    (left, top), (width, height) = corner, size

    def put(x: float, y: float, text: str, **look: object) -> None:
        figure.text(x / width, 1 - y / height, text, **look)  # type: ignore[arg-type]

    small = {"fontsize": 8, "color": QUIET}
    if panel.title:
        half = BROAD * len(panel.title) / 2  # a title wider than its panel stays on the paper
        middle = min(max(left + sheet.shape[1] / 2, half), max(width - half, width / 2))
        put(middle, TITLE / 2 - 2, panel.title, color=panel.colour, ha="center", va="center")
    down, wide = (
        _middles(n, length)
        for n, length in zip(panel.tiles.shape[:2], sheet.shape[:2], strict=True)
    )
    for y, label in zip(down, panel.rows, strict=False):
        put(left - 8, top + y, label, ha="right", va="center", **small)
    for x, label in zip(wide, panel.columns, strict=False):
        put(left + x, top - LABEL / 2, label, ha="center", va="center", **small)


def _middles(count: int, length: int) -> list[float]:
    """The centres of so many tiles in a sheet of that length."""
    tile = (length + GAP) / count
    return [tile * i + (tile - GAP) / 2 for i in range(count)]
