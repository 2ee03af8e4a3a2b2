"""`caudal push` and `caudal pull`: runs on the Hugging Face Hub."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import FlagCreatePairsOff, Positional

from caudal.cli.screen import Screen
from caudal.cli.words import parse
from caudal.model import load, pull


@dataclass(frozen=True)
class PushOptions:
    """Pushes a run to the Hugging Face Hub: the model, its card, options and scores.

    Neither data nor the state of the training is pushed, and paths lose the folders of this
    machine. It needs caudal[hub], and a token: `hf auth login`, or HF_TOKEN.
    """

    run: Positional[str]
    """Run folder."""
    name: Positional[str]
    """OWNER/NAME on the hub, which is made if it is not there."""
    private: FlagCreatePairsOff[bool] = False
    """Make a new repository private."""
    report: FlagCreatePairsOff[bool] = False
    """Push the report and its pictures, too, which show some of the data."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace a run that is there; the hub keeps its history."""
    json: FlagCreatePairsOff[bool] = False
    """Print the result as one JSON object on standard output, all else on standard error."""


@dataclass(frozen=True)
class PullOptions:
    """Pulls a run from the Hugging Face Hub into a folder, and loads it, which runs no code.

    It needs caudal[hub]; a private run needs a token, too.
    """

    name: Positional[str]
    """OWNER/NAME on the hub."""
    out: str
    """The run folder to make."""
    revision: str | None = None
    """A branch, tag or commit; by default the newest."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace a run that is there, once the new one has been loaded."""
    json: FlagCreatePairsOff[bool] = False
    """Print the result as one JSON object on standard output, all else on standard error."""


def push_run(words: list[str]) -> int:
    """Runs `caudal push`."""
    options = parse(PushOptions, words, "caudal push")
    screen = Screen(options.json)
    pushed = load(options.run).push(
        options.name,
        private=options.private,
        report=options.report,
        overwrite=options.overwrite,
    )
    screen.say(f"{pushed.url}: {', '.join(pushed.files)}")
    if not pushed.licensed:
        screen.note("the card has no license: give it one at the top of README.md, and push again")
    screen.result({"url": pushed.url, "files": list(pushed.files)})
    return 0


def pull_run(words: list[str]) -> int:
    """Runs `caudal pull`."""
    options = parse(PullOptions, words, "caudal pull")
    screen = Screen(options.json)
    model = pull(options.name, options.out, revision=options.revision, overwrite=options.overwrite)
    what = f"{model.recipe.name} of {model.what}"
    screen.say(f"{options.out}: {what}, log-density {model.flow.kind}")
    there = sorted(path.name for path in Path(options.out).iterdir())
    screen.result({"out": options.out, "recipe": model.recipe.name, "files": there})
    return 0
