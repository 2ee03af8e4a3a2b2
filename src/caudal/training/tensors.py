"""Files of safetensors: their text and their tensors."""

import json
import os
from pathlib import Path

from torch import Tensor


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a file, whatever it is called.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file, or damaged.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load

    try:
        if _is_utf8(path):
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return dict(file.metadata() or {}), tensors
        content = path.read_bytes()  # safe_open knows no other names than those in UTF-8
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return header.get("__metadata__", {}), tensors
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _is_utf8(path: Path) -> bool:
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True
