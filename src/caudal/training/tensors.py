"""Files of safetensors: their text and their tensors, one after the other."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from caudal import files
from caudal.errors import InputError
from caudal.training.shares import gathered

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
}
"""What the format calls the types of numbers."""
Hashes = dict[str, str]
"""SHA-256 of the type, the shape and the numbers of tensors, by their names."""


def write_tensors(
    path: Path | None, tensors: Mapping[str, Tensor], texts: Callable[[Hashes], dict[str, str]]
) -> None:
    """Writes tensors to one file, atomically, and holds no more than one of them at a time.

    Those that are shared out over processes are gathered, for which all processes must come here.

    Args:
        path: the file; None in a process that writes nothing.
        tensors: by name.
        texts: gives the metadata, which may depend on the hashes of the tensors, their length not.

    Raises:
        InputError: the numbers of a tensor are of a type that the format does not know.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise InputError(
                f"{name} has numbers of {tensor.dtype}, a type that files of safetensors do not "
                f"know: give it another one, or leave it out with `persistent=False`"
            )
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))  # aligned so
    hashes = dict.fromkeys(order, "0" * 64)
    if path is None:
        for name in order:
            gathered(tensors[name])
        return
    with files.atomic(path) as temporary, temporary.open("wb") as file:
        file.write(_header(order, tensors, texts(hashes)))
        for name in order:
            tensor = gathered(tensors[name]).detach().cpu().contiguous()
            content = tensor.reshape(-1).view(torch.uint8).numpy().data
            hashes[name] = _hash(tensor)
            file.write(content)
        file.seek(0)
        file.write(_header(order, tensors, texts(hashes)))


def hashes_of(tensors: Mapping[str, Tensor]) -> Hashes:
    """The hashes that `write_tensors` gives."""
    return {name: _hash(tensor) for name, tensor in tensors.items()}


def _hash(tensor: Tensor) -> str:
    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _header(order: list[str], tensors: Mapping[str, Tensor], texts: dict[str, str]) -> bytes:
    """The length of the header, and the header: names, types, shapes and places of the tensors."""
    entries: dict[str, object] = {"__metadata__": texts}
    start = 0
    for name in order:
        tensor = tensors[name]
        end = start + tensor.numel() * tensor.dtype.itemsize
        shape = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape)}
        entries[name] = {**shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


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
