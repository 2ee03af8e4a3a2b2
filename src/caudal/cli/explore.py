"""`caudal explore`: a local page over a run, to look at and to play with."""

from dataclasses import dataclass

from tyro.conf import Positional

from caudal.cli.screen import Screen
from caudal.cli.words import parse
from caudal.model import load


@dataclass(frozen=True)
class ExploreOptions:
    """Serves a page over a run on this machine: samples, noise, what lies between, own scores.

    It has tabs for what the run can show: new samples, from noise to data part by part, the noise
    of an item, the manifold between four, data beside samples, the score of a row or file of your
    own, copies of sound, and a student beside its teacher. It is at 127.0.0.1, where this machine
    alone sees it, and needs no network. Ctrl-C ends it. It needs caudal[explore].
    """

    run: Positional[str]
    """Run folder, or a model file."""
    port: int | None = None
    """Where the page is served; a free port from 7860 on if not given."""
    browser: bool = True
    """Open the page in the browser."""
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto for a GPU if there is one."""


def run(words: list[str]) -> int:
    """Runs the command."""
    options = parse(ExploreOptions, words, "caudal explore")
    screen = Screen()
    model = load(options.run, device=options.device, voice=screen)
    page = model.explore(port=options.port, browser=options.browser)
    screen.say(f"{options.run} is at {page.address}; Ctrl-C ends it")
    try:
        page.wait()
    except KeyboardInterrupt as end:
        page.close()
        if type(end) is not KeyboardInterrupt:  # SIGTERM has an exit code of its own
            raise
        screen.say(f"\n{page.address} is closed")
    return 0
