"""The look of all pictures: two colours, small axes, and nothing that is not data."""

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os.path import commonprefix
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DATA = "#33658a"
SAMPLES = "#e4752b"
INK = "#24292f"
QUIET = "#8b949e"
DENSITY = "Blues"
DIFFERENCE = "RdBu_r"
LAYOUT: Any = "constrained"  # which makes room for names and numbers beside the panels
WIDTH = 9.6  # inches, at 120 dots an inch: the width of the report's page
RC: Any = {
    "figure.dpi": 120,
    "savefig.dpi": 120,
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#c4cad1",
    "axes.linewidth": 0.8,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 7),
    "xtick.color": "#57606a",
    "ytick.color": "#57606a",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.titlesize": 11,
    "text.parse_math": False,
}
# Fonts for what DejaVu lacks: Chinese, Japanese and Korean; the last ones have some of everything.
ALSO = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Noto Sans SC",
    "Noto Sans JP",
    "Noto Sans KR",
    "Source Han Sans SC",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Arial Unicode MS",
    "Unifont",
)


_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def house_style() -> Iterator[None]:
    """Within it, matplotlib draws in our look; the user's own settings stay untouched outside.

    Only one thread is within it at a time, as the settings of matplotlib are those of the process.
    """
    import matplotlib

    with (
        _ONE_AT_A_TIME,
        matplotlib.rc_context({**RC, "font.family": _families()}),
        warnings.catch_warnings(),
    ):
        # A box in the picture shows the same, where it matters.
        warnings.filterwarnings("ignore", r"Glyph .* missing from")
        yield


def _families() -> list[str]:
    """Our font, then installed ones for letters it lacks; a missing font would be logged."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in ALSO if name in installed)]


def new_figure(width: float, height: float) -> "Figure":
    """A figure of that size in inches, which needs no screen and no pyplot."""
    from matplotlib.figure import Figure

    return Figure((width, height), layout=LAYOUT)


def grid(count: int, across: int, height: float = 1.5) -> tuple["Figure", list["Axes"]]:
    """Axes for `count` panels, `across` in a row, each `height` inches high."""
    across = min(across, count)
    rows = -(-count // across)
    figure = new_figure(WIDTH * max(across, 2) / max(across, 4), height * rows + 0.5)
    axes: list[Any] = list(figure.subplots(rows, across, squeeze=False).flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def legend(figure: "Figure", *, data: str = "data", samples: str = "samples") -> None:
    """Puts the key to the two colours above the panels."""
    from matplotlib.patches import Patch

    keys = [Patch(color=DATA, alpha=0.55, label=data), Patch(color=SAMPLES, label=samples)]
    figure.legend(handles=keys, loc="outside upper right", ncols=2)


def bare(axes: "Axes") -> None:
    """Removes ticks and frame, for pictures within panels."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def shorten(text: str, most: int = 18) -> str:
    """A label in one line that fits under a panel."""
    if len(lines := text.splitlines()) > 1:
        text = " ".join(line.strip() for line in lines)
    return text if len(text) <= most else text[: most - 1] + "…"


def shorten_all(texts: Sequence[str], most: int) -> list[str]:
    """Short labels; those that would look alike lose their common beginning, not their end."""
    cut = [shorten(text, most) for text in texts]
    alike = commonprefix([t for t, c in zip(texts, cut, strict=True) if cut.count(c) > 1])
    return [
        c if not alike or cut.count(c) == 1 else shorten("…" + t.removeprefix(alike), most)
        for t, c in zip(texts, cut, strict=True)
    ]
