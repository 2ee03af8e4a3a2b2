"""Serves the page of a run on this machine, until it is told to end."""

import os
import socket
import webbrowser
from importlib.util import find_spec
from threading import Event
from typing import Any

from caudal.errors import InputError
from caudal.explore.subject import Subject

HOST = "127.0.0.1"
FIRST, TRIED = 7860, 100  # ports, where none is asked for
HIGHEST = 65535


class Page:
    """A page that is served by threads of its own.

    Attributes:
        address: where it is, such as http://127.0.0.1:7860.
    """

    def __init__(self, blocks: Any, address: str) -> None:
        self._blocks, self.address = blocks, address

    def __repr__(self) -> str:
        return f"Page({self.address})"

    def wait(self) -> None:
        """Returns never; Ctrl-C ends it by KeyboardInterrupt."""
        while not Event().wait(3600):
            pass

    def open(self) -> None:
        """Opens it in the user's browser."""
        webbrowser.open(self.address)

    def close(self) -> None:
        """Ends it."""
        self._blocks.close(verbose=False)


def serve(model: Any, port: int | None = None) -> Page:
    """Serves the page of a `caudal.Model` at 127.0.0.1, where this machine alone sees it.

    Args:
        model: the run.
        port: where to; a free one from 7860 on if None.

    Raises:
        InputError: the port is not free, or Gradio is missing.
    """
    ports = _ports(port)
    if find_spec("gradio") is None:
        raise InputError("the page is made by Gradio: pip install 'caudal[explore]'")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before the import: nothing leaves here
    from caudal.explore.page import build, launch

    subject = Subject(model)
    for each in ports:
        blocks = build(subject)
        try:
            launch(blocks, HOST, each)
        except OSError:  # somebody else took it meanwhile
            continue
        return Page(blocks, f"http://{HOST}:{each}")
    raise _taken(port)


def _ports(asked: int | None) -> list[int]:
    """The ports that are free: the one that is asked for, or those from `FIRST` on.

    Raises:
        InputError: there is none, or none such.
    """
    if asked is not None and not 1 <= asked <= HIGHEST:
        raise InputError(f"`port` {asked}: must be from 1 to {HIGHEST}")
    candidates = range(FIRST, FIRST + TRIED) if asked is None else [asked]
    if not (free := [port for port in candidates if _is_free(port)]):
        raise _taken(asked)
    return free


def _taken(asked: int | None) -> InputError:
    if asked is None:
        last = FIRST + TRIED - 1
        return InputError(f"no free `port` from {FIRST} to {last}: give another one")
    return InputError(f"`port` {asked}: is in use, or not yours to take; give another one")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
