"""Runs the command line: `python -m caudal` is `caudal`."""

import sys

from caudal.cli import main

if __name__ == "__main__":
    sys.exit(main())
