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
COMMAND = re.compile(r"^\$ caudal ((?:train|distill) .*) --out (\S+)$", re.M)
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
    text = _found(found)
    seconds = max(1, round(trained["seconds"]))
    text += (
        f" {trained['parameters']:,} parameters, trained in about {seconds} s on one CPU thread. "
        f"One seed and few epochs: a check that it works, not a ranking of recipes."
    )
    return textwrap.fill(text, 118, break_on_hyphens=False)


def _found(found: dict[str, Any]) -> str:
    if "fidelity" in found:
        return _of_a_student(found["fidelity"])
    if "bits_per_sample" in found:
        return _of_audio(found)
    return _of_images(found) if "elements" in found else _of_a_table(found)


def _of_audio(found: dict[str, Any]) -> str:
    given = found.get("prediction_bits_per_sample")
    return (
        f"**{found['bits_per_sample']:.3f} ± {found['two_se']:.3f} bits/sample** "
        f"(a {found['kind']}, ± 2 s.e.) on the {found['rows']} test clips; a linear prediction "
        f"gives {found['gaussian_bits_per_sample']:.3f}"
        + (f", and one by the spectrum {given:.3f}." if given else ".")
    )


def _of_a_student(found: dict[str, Any]) -> str:
    copies = found["student_copies"]
    level = f"{copies['level']['mean']:+.1f}".replace("-", "−")
    naive, *_, student = found["speed"]
    ratio = student["samples_per_second"] / naive["samples_per_second"]
    return (
        f"**{found['kl_per_sample']:.3f} ± {found['kl_per_sample_two_se']:.3f} nats** a sample "
        f"from its teacher (KL, ± 2 s.e.); copies of test clips have a level of {level} dB of the "
        f"originals'. It samples {ratio:,.0f} times as fast as the teacher that is run again for "
        f"each sample."
    )


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
    commands = COMMAND.findall(page)
    if not commands or not NUMBER.search(page):
        raise SystemExit(f"{path}: no command or no number to replace")
    with contextlib.chdir(folder):
        for words, run in _of_the_number(commands):
            trained = result([*shlex.split(words), "--out", run, "--no-report", "--overwrite"])
        text = paragraph(trained, trained if "fidelity" in trained else result(["eval", run]))
    path.write_text(NUMBER.sub(lambda _: text, page, count=1), "utf-8")
    return text


def _of_the_number(commands: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The first command of a page, and where that trains a teacher the one that distils it."""
    first, *others = commands
    return [first, *(command for command in others if command[0].startswith("distill"))]


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        for recipe in sys.argv[1:] or RECIPES:
            print(f"{recipe}: {refresh(recipe, Path(temporary))}\n", flush=True)
