"""Dispatches a command line to its command, and turns errors into exit codes."""

import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from types import FrameType
from typing import NamedTuple, TextIO

from caudal.errors import InputError, NumericalError, as_flags, printable
from caudal.version import __version__

USAGE, FAILED, INTERRUPTED, CLOSED_PIPE = 2, 1, 130, 141
_SHOWN = 400  # characters of a name
_NO_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory")


class Terminated(KeyboardInterrupt):
    """SIGTERM where nothing is saved: it ends a command as Ctrl-C does, with its own exit code."""

    exit_code = 143


class Command(NamedTuple):
    """A command: the words that follow its name, a summary in one line, and its function."""

    form: str
    summary: str
    where: str


COMMANDS = {
    "train": Command(
        "[RECIPE] --data DATA", "fit a flow to a table, images or audio; leaves a run", "train:run"
    ),
    "eval": Command("RUN", "test log-likelihood of a run, beside a Gaussian", "using:evaluate"),
    "score": Command(
        "RUN --data DATA --out FILE", "rows, images or clips with their log-density", "using:score"
    ),
    "predict": Command(
        "RUN --data DATA --out FILE", "rows with what is expected of a target", "using:predict"
    ),
    "sample": Command(
        "RUN -n ROWS --out FILE",
        "new rows, as the data's are, new images or clips",
        "using:sample",
    ),
    "impute": Command(
        "RUN --data DATA --out FILE", "a table with its missing cells filled", "using:impute"
    ),
    "interpolate": Command(
        "RUN --out PICTURE", "what lies between four images", "using:interpolate"
    ),
    "distill": Command(
        "TEACHER --out FOLDER", "train a fast-sampling student of a run's flow", "distill:run"
    ),
    "export": Command(
        "RUN --out FILE.onnx", "the density of a run, and its samples, for ONNX", "export:run"
    ),
    "push": Command(
        "RUN OWNER/NAME", "a run to the Hugging Face Hub, as a model card", "hub:push_run"
    ),
    "pull": Command("OWNER/NAME --out FOLDER", "a run from there", "hub:pull_run"),
    "explore": Command(
        "RUN", "a page over a run in the browser, to look at and to play with", "explore:run"
    ),
    "recipes": Command(
        "", "the flows there are, their papers, and what each is good for", "recipes:run"
    ),
    "demo": Command(
        "", "train, evaluate and sample on real digits, offline, in minutes", "demo:run"
    ),
}
"""Each command is a function of a module of `caudal.cli`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line; returns its exit code: 0, 1 failed, 2 bad input, 130 interrupted.

    Args:
        argv: the words after `caudal`; by default those of the process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words or os.environ.get("CAUDAL_DEBUG", "") not in ("", "0")
    words = [word for word in words if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        _spell_out(stream)
    try:
        with _terminable():
            code = _dispatch(words)
        sys.stdout.flush()  # here, where a closed pipe is handled
        return code
    except SystemExit as end:  # --help has been printed
        return end.code if isinstance(end.code, int) else 0
    except BrokenPipeError:
        return _close_quietly()
    except (InputError, NumericalError, OSError, KeyboardInterrupt) as error:
        if debug:
            raise
        return _explain(error)
    except (MemoryError, RuntimeError) as error:  # torch has no class of its own for the CPU's
        if debug or not (isinstance(error, MemoryError) or _NO_MEMORY.search(str(error))):
            raise
        return _explain(error)


def _spell_out(stream: TextIO) -> None:
    r"""Lets a stream write what its encoding lacks: where that is ASCII, é becomes \xe9."""
    if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")


@contextmanager
def _terminable() -> Iterator[None]:
    """Within, SIGTERM raises `Terminated`; in any thread but the main one this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if words else USAGE
    if words[0] in ("-V", "--version"):
        print(f"caudal {__version__}")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        from caudal.names import near

        raise InputError(f"no command '{name}'; {near(name, list(COMMANDS))}")
    module, _, function = COMMANDS[name].where.partition(":")
    run: Callable[[list[str]], int] = getattr(import_module(f"caudal.cli.{module}"), function)
    return run(rest)


def overview() -> str:
    """The text of `caudal --help`."""
    width = max(len(f"{name} {c.form}") for name, c in COMMANDS.items())
    lines = [
        "usage: caudal COMMAND ...",
        "",
        "Normalizing flows on your own tables, images and audio: exact densities, fast samples.",
        "",
        *(f"  {f'{name} {c.form}':<{width}}  {c.summary}" for name, c in COMMANDS.items()),
        "",
        "caudal COMMAND --help tells the options; caudal train RECIPE --help those of a recipe.",
        "caudal --version tells the version. Start with: caudal demo",
    ]
    return "\n".join(lines)


def _explain(error: BaseException) -> int:
    """Prints one line about the error, and returns the exit code."""
    text = printable(" ".join(_text(error).split()))
    # What all processes of a run end with, the first one says.
    quiet = _follows() and isinstance(error, KeyboardInterrupt | NumericalError)
    if isinstance(error, KeyboardInterrupt):
        line, code = f"\ncaudal: {text or 'interrupted'}", getattr(error, "exit_code", INTERRUPTED)
    else:
        line = f"caudal: error: {text or type(error).__name__}"
        too_long = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
        code = USAGE if isinstance(error, InputError) or too_long else FAILED
    if not quiet:
        print(line, file=sys.stderr)
    return int(code)


def _follows() -> bool:
    """Whether this is not the first process of a run; `leads` says it too, but with torch."""
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return any(os.environ.get(name, "0") != "0" for name in names)


def _text(error: BaseException) -> str:
    """What there is to say: of an error of the system the reason that it gives, and the file."""
    if isinstance(error, MemoryError | RuntimeError):
        return as_flags(
            "there is not enough memory: lower `batch_size`, take fewer rows, or a smaller flow"
        )
    if not isinstance(error, OSError) or error.errno is None:  # or not of the system
        return as_flags(str(error))
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return reason
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    return f"{_shortened(str(name))}: {reason}"


def _shortened(name: str) -> str:
    """A name of a file, of which a line shows so much."""
    return name if len(name) <= _SHOWN else f"{name[: _SHOWN // 2]}...{name[-_SHOWN // 2 :]}"


def _close_quietly() -> int:
    # The reader is gone (`caudal ... | head`): whatever Python flushes at exit is discarded.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return CLOSED_PIPE
