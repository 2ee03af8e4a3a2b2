"""How a flow makes data of noise, part by part: its events after each of them."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from caudal.bijection import stages
from caudal.bijections import Flip, Permutation
from caudal.flow import Flow
from caudal.report.items import noise
from caudal.report.page import Picture
from caudal.report.style import QUIET, house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = 1500
RINGS, AROUND = (0.5, 1.0, 1.5, 2.0, 2.5), 121  # circles in the noise, and points of each
MOVES, MOVE, REST = 5, 80, 600  # pictures from part to part, milliseconds of each and of a stop
SIZE, COLOURS = 4.4, 64  # inches, and colours of an animation
TURN = ("#33658a", "#4fa89a", "#dba92b", "#e4752b", "#8a3b6b", "#33658a")  # around the noise
RELABELS = (Flip, Permutation)


class Stage(NamedTuple):
    """Events (N, *event) after a part of a flow, and the name of the part."""

    name: str
    events: Tensor


@torch.no_grad()
def stages_of(flow: Flow, z: Tensor, context: Tensor | None = None) -> list[Stage]:
    """The noise, and what is made of it after each elementary bijection, the last as data.

    Parts that only change the order of elements are told with the part before them.
    """
    flow.eval()
    context = None if context is None or flow.embedding is None else flow.embedding(context)
    found = [Stage("noise", z)]
    for part, events in stages(flow.bijection, z, context):
        name = type(part).__name__
        if isinstance(part, RELABELS) and len(found) > 1:
            found[-1] = Stage(f"{found[-1].name}, {name}", events)
        else:
            found.append(Stage(name, events))
    return found


def noise_in_turn(flow: Flow, schema: Any, n: int, seed: int) -> tuple[Tensor, Tensor | None]:
    """Noise of n items, and the context that each is given: the values of its labels in turn."""
    z = flow.base.sample(n, noise(flow, seed))
    if not schema.context:
        return z, None
    return z, (torch.arange(n)[:, None] % torch.tensor(schema.levels_of_context)).to(z)


# --- the plane -----------------------------------------------------------------------------------


class Plane(NamedTuple):
    """Points of the plane, the rings of their noise, and the names of the stages they go through.

    Attributes:
        points: (stages, POINTS, 2).
        rings: (stages, RINGS, AROUND, 2).
        turns: of each point in the noise, from 0 to 1 around the origin (POINTS,).
        names: of the stages.
    """

    points: np.ndarray
    rings: np.ndarray
    turns: np.ndarray
    names: list[str]


def plane_of(flow: Flow, seed: int) -> Plane:
    """Where a flow of two columns takes noise, and the rings of equal density in it."""
    z = flow.base.sample(POINTS, noise(flow, seed))
    angle = torch.linspace(0, 2 * torch.pi, AROUND)
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    rings = torch.cat([radius * circle for radius in RINGS]).to(z)
    found = stages_of(flow, torch.cat([z, rings]))
    events = torch.stack([stage.events for stage in found]).double().cpu().numpy()
    turns = np.arctan2(*z.double().cpu().numpy().T) / (2 * np.pi) + 0.5
    shape = (len(found), len(RINGS), AROUND, 2)
    return Plane(
        events[:, :POINTS], events[:, POINTS:].reshape(shape), turns, [s.name for s in found]
    )


class PlanePicture:
    """Draws points of the plane as they are after any share of the parts.

    Args:
        plane: the points.
        names: of the columns.
    """

    def __init__(self, plane: Plane, names: Sequence[str]) -> None:
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.figure import Figure

        self.plane, self.names = plane, names
        # Panels are not fitted to the words beside them, or the frame would jump in a film.
        self.figure = Figure((SIZE, SIZE))
        self.figure.subplots_adjust(0.13, 0.12, 0.98, 0.93)
        axes = self.axes = self.figure.subplots()
        turn = LinearSegmentedColormap.from_list("turn", TURN)
        look: Any = {"cmap": turn, "vmin": 0, "vmax": 1, "s": 7, "linewidths": 0}
        x, y = plane.points[0].T
        self.dots = axes.scatter(x, y, c=plane.turns, **look)
        lines = (axes.plot(*ring.T, color=QUIET, linewidth=0.7)[0] for ring in plane.rings[0])
        self.lines = list(lines)

    def draw(self, at: float) -> "Figure":
        """The picture after `at` parts; between two of them points move along straight lines."""
        low = min(int(at), len(self.plane.names) - 1)
        high, share = min(low + 1, len(self.plane.names) - 1), at - low
        points, rings, frame = (
            (1 - share) * values[low] + share * values[high]
            for values in (self.plane.points, self.plane.rings, self._frames)
        )
        self.dots.set_offsets(points)
        for line, ring in zip(self.lines, rings, strict=True):
            line.set_data(*ring.T)
        self.axes.set_xlim(frame[0])
        self.axes.set_ylim(frame[1])
        self.axes.set_title(self._title(at), loc="left")
        last = at >= len(self.plane.names) - 1
        self.axes.set_xlabel(self.names[0] if last else " ")
        self.axes.set_ylabel(self.names[1] if last else " ")
        return self.figure

    def film(self) -> bytes:
        """An animated PNG from the noise to the data, with a stop at each part."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from PIL import Image

        canvas, shown, times = FigureCanvasAgg(self.figure), [], []
        self.axes.set_axis_off()  # numbers take half of the time, and could not be read
        last = len(self.plane.names) - 1
        for step in range(MOVES * last + 1):
            self.draw(step / MOVES)
            canvas.draw()
            shown.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
            times.append(REST if step % MOVES == 0 else MOVE)
        times[0] = times[-1] = 3 * REST
        palette = shown[-1].quantize(COLOURS)
        palette.putpalette(_with_white(palette.getpalette()))
        packed = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in shown]
        buffer = io.BytesIO()
        rest: Any = {"append_images": packed[1:], "duration": times, "loop": 0}
        packed[0].save(buffer, format="png", save_all=True, **rest)
        return buffer.getvalue()

    @property
    def _frames(self) -> np.ndarray:
        """The frame of each stage (stages, 2, 2), which holds nearly all of its points."""
        low, high = np.quantile(self.plane.points, [0.003, 0.997], axis=1)
        margin = 0.12 * (high - low)
        return np.stack([low - margin, high + margin], axis=2)

    def _title(self, at: float) -> str:
        last = len(self.plane.names) - 1
        if at <= 0:
            return "noise"
        done = min(int(np.ceil(at - 1e-9)), last)
        end = ": data" if at >= last else ""
        return f"part {done} of {last}, {self.plane.names[done]}{end}"


def _with_white(palette: Sequence[int] | None) -> list[int]:
    """A palette whose lightest colour is that of paper."""
    colours = np.array(palette or (255,) * 3).reshape(-1, 3)
    colours[colours.sum(1).argmax()] = 255
    whole: list[int] = colours.ravel().tolist()
    return whole


def film_of(flow: Flow, names: Sequence[str], seed: int) -> bytes:
    """The animation of a flow of two columns, drawn in the house style."""
    with house_style():
        return PlanePicture(plane_of(flow, seed), names).film()


def animation(png: bytes) -> Picture:
    """An animation as a block of a page."""
    return Picture("layers", "From noise to data", "", png)
