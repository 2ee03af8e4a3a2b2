"""Runs the command of each page in docs/papers, and writes the number it gives into the page.

OMP_NUM_THREADS=1 python benchmarks/papers.py [RECIPE ...]
"""

import contextlib
import io
import json
import re
import shlex
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import torch

from caudal.cli import main
from caudal.recipes import RECIPES

PAPERS = Path(__file__).parent.parent / "docs" / "papers"
COMMAND = re.compile(r"^\$ caudal (train .*) --out \S+$", re.M)
NUMBER = re.compile(r"^\*\*[−\d].*?not\sa\sranking\sof\srecipes\.$", re.M | re.S)


def result(words: list[str]) -> dict[str, Any]:
    """What a command line prints with --json."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = main([*words, "--json"])
    if code:
        raise SystemExit(f"caudal {shlex.join(words)} ended with {code}")
    return json.loads(out.getvalue())


def paragraph(trained: dict[str, Any], found: dict[str, Any]) -> str:
    """The number of a page, and what it is."""
    text = _of_images(found) if "elements" in found else _of_a_table(found)
    seconds = max(1, round(trained["seconds"]))
    text += (
        f" {trained['parameters']:,} parameters, trained in about {seconds} s on one CPU thread. "
        f"One seed and few epochs: a check that it works, not a ranking of recipes."
    )
    return textwrap.fill(text, 118, break_on_hyphens=False)


def _of_images(found: dict[str, Any]) -> str:
    return (
        f"**{found['bits_per_dim']:.3f} ± {found['two_se']:.3f} bits/dim** "
        f"(a {found['kind']}, ± 2 s.e.) on the {found['rows']} test images; one Gaussian gives "
        f"{found['gaussian_bits_per_dim']:.3f}."
    )


def _of_a_table(found: dict[str, Any]) -> str:
    nats = {k: f"{v:.2f}".replace("-", "−") for k, v in found.items() if isinstance(v, float)}
    return (
        f"**{nats['log_prob']} ± {nats['two_se']} nats** a row (a {found['kind']}, ± 2 s.e.) on "
        f"the {found['rows']} test rows: {found['bits_per_dim']:.3f} bits a pixel. One Gaussian "
        f"gives {nats['gaussian_log_prob']}; row by row the flow is {nats['gain']} ± "
        f"{nats['gain_two_se']} above it."
    )


def refresh(name: str, folder: Path) -> str:
    """Runs the command of one page and puts its number in; gives the new paragraph."""
    path = PAPERS / f"{name}.md"
    page = path.read_text("utf-8")
    command = COMMAND.search(page)
    if command is None or not NUMBER.search(page):
        raise SystemExit(f"{path}: no command or no number to replace")
    run = str(folder / name)
    trained = result([*shlex.split(command[1]), "--out", run, "--no-report"])
    text = paragraph(trained, result(["eval", run]))
    path.write_text(NUMBER.sub(lambda _: text, page, count=1), "utf-8")
    return text


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        for recipe in sys.argv[1:] or RECIPES:
            print(f"{recipe}: {refresh(recipe, Path(temporary))}\n", flush=True)
