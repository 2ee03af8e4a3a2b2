"""Changes to files by chance: bits, ends, and values in place of others."""

import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path

import yaml

ODD = [
    None,
    -1,
    0,
    1,
    3,
    10**9,
    10**30,
    0.5,
    float("nan"),
    float("inf"),
    -1e300,
    "",
    "x",
    "\x1b[2J",
]
ODD += [[], {}, [None], [[1]], {"name": 1}, True, "a" * 5000, "é", "nsf", "inf"]

Change = Callable[[random.Random, Path], None]


def flip(dice: random.Random, file: Path) -> None:
    """Flips up to 8 bits, half of the time near the start, where headers are."""
    content = bytearray(file.read_bytes())
    end = len(content) if dice.random() < 0.5 else min(len(content), 400)
    for _ in range(dice.randint(1, 8)):
        content[dice.randrange(end)] ^= 1 << dice.randrange(8)
    file.write_bytes(content)


def cut(dice: random.Random, file: Path) -> None:
    """Cuts the end off, or puts bytes after it."""
    content = file.read_bytes()
    more = dice.randbytes(dice.randint(1, 40)) if dice.random() < 0.2 else b""
    file.write_bytes(content[: dice.randrange(len(content))] + more)


def odd_json(dice: random.Random, file: Path) -> None:
    """Replaces a value in a JSON file."""
    file.write_text(json.dumps(with_odd(dice, json.loads(file.read_text()))))


def odd_line(dice: random.Random, file: Path) -> None:
    """Replaces a value in one line of JSON of many."""
    lines = file.read_text().splitlines()
    place = dice.randrange(len(lines))
    lines[place] = json.dumps(with_odd(dice, json.loads(lines[place])))
    file.write_text("\n".join(lines))


def odd_yaml(dice: random.Random, file: Path) -> None:
    """Replaces a value in a YAML file."""
    file.write_text(yaml.safe_dump(with_odd(dice, yaml.safe_load(file.read_text()))))


def odd_metadata(dice: random.Random, file: Path) -> None:
    """Replaces a value in the metadata of a safetensors file, or the shape or type of a tensor."""
    content = file.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    kept = header.get("__metadata__", {})
    if "caudal" in kept and dice.random() < 0.8:
        kept["caudal"] = json.dumps(with_odd(dice, json.loads(kept["caudal"])))
    else:
        header = with_odd(dice, header)
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


def odd_cell(dice: random.Random, file: Path) -> None:
    """Replaces a cell of a CSV file, or moves its commas."""
    lines = file.read_text().splitlines()
    place = dice.randrange(len(lines))
    cells = lines[place].split(",")
    cells[dice.randrange(len(cells))] = str(dice.choice(ODD))
    if dice.random() < 0.2:
        cells.insert(dice.randrange(len(cells)), '"')
    lines[place] = ",".join(cells)
    file.write_text("\n".join(lines))


def with_odd(dice: random.Random, tree: object) -> object:
    """The tree with an odd value in place of one of its values, or with a value left out."""
    paths = list(_paths(tree))
    if not paths:
        return dice.choice(ODD)
    *way, last = dice.choice(paths)
    place = tree
    for step in way:
        place = place[step]  # type: ignore[index]
    if isinstance(place, dict) and dice.random() < 0.15:
        del place[last]
    else:
        place[last] = dice.choice(ODD)  # type: ignore[index]
    return tree


def _paths(tree: object, way: tuple = ()):
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)  # type: ignore[arg-type]
    for key, value in items:
        yield (*way, key)
        if isinstance(value, dict | list):
            yield from _paths(value, (*way, key))


def heard(read: int, child: int) -> tuple[str, int]:
    """What a forked child writes into a pipe until it ends, and its status."""
    said = b""
    while part := os.read(read, 65536):
        said += part
    os.close(read)
    _, status = os.waitpid(child, 0)
    return said.decode(errors="replace"), status
