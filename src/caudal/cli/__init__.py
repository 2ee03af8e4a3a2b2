"""The command line: `caudal COMMAND ...`, one file a command."""

from caudal.cli.entry import main

__all__ = ["main"]
