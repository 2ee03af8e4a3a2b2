"""Runs on the Hugging Face Hub: what is pushed is a model and its card; what is pulled loads."""

import glob
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from caudal import files
from caudal.errors import InputError, one_line
from caudal.files import path_of, read_yaml
from caudal.model.card import ANYWHERE, CARD, card_of, metadata_of, portable
from caudal.training.run import Run
from caudal.version import __version__

if TYPE_CHECKING:
    from caudal.model.model import Model

ALWAYS = (
    "model.safetensors",
    "config.yaml",
    "columns.yaml",
    "metrics.jsonl",
    "eval.json",
    "compare.json",
    "gaussian.safetensors",
    "alarm.json",
)
"""What is pushed beside the card: neither data nor the state of the training."""
SHOWS_DATA = ("report.html", "pictures")
"""What shows some of the data, and is pushed where that is asked for."""


@dataclass(frozen=True)
class Pushed:
    """Where a run is now, the files that were pushed, and whether its card has a license."""

    url: str
    files: tuple[str, ...]
    licensed: bool


def push(
    model: "Model",
    name: str,
    *,
    private: bool = False,
    report: bool = False,
    overwrite: bool = False,
) -> Pushed:
    """Pushes the run folder of a model to the Hugging Face Hub.

    Pushed are the card, the model, its options without the folders of this machine, its curve and
    its scores; never the data, nor the state of the training. It needs caudal[hub] and a token.

    Args:
        name: OWNER/NAME of the repository, which is made if it is not there.
        private: makes a new repository private.
        report: pushes the report and its pictures, too, which show some of the data.
        overwrite: replaces the files of a run that is there; the hub keeps those before.

    Raises:
        InputError: the model has no folder, there is no token or no such owner, or a run is there.
        OSError: the hub cannot be reached, or fails.
    """
    hub = _hub()
    content = contents(model, name, report=report)
    with _told(name):
        if hub.get_token() is None:
            raise InputError("no token of the hub: `hf auth login` keeps one, or set HF_TOKEN")
        api = hub.HfApi(endpoint=_endpoint())
        url = api.create_repo(name, private=private or None, exist_ok=True)
        taken = sorted(set(content) & set(api.list_repo_files(name)))
        if taken and not overwrite:
            raise InputError(
                f"{name} holds a run already ({taken[0]}): `overwrite=True` replaces it, and the "
                f"hub keeps its history; or give another name"
            )
        operations = [hub.CommitOperationAdd(where, what) for where, what in content.items()]
        api.create_commit(name, operations, commit_message=f"A run of caudal {__version__}")
    licensed = "license" in metadata_of(content[CARD].decode())
    return Pushed(str(url), tuple(content), licensed)


def contents(model: "Model", name: str = ANYWHERE, *, report: bool = False) -> dict[str, bytes]:
    """The files that `push` sends, by their names.

    Raises:
        InputError: the model has no folder, or a file in it is damaged.
    """
    folder = model.folder
    if folder is None:
        raise InputError(f"{model.name} is no run folder: save the model first, into a folder")
    card = folder / CARD
    with _damage(card):
        text = card.read_text("utf-8") if card.exists() else card_of(model)
        metadata_of(text)
    content = {CARD: text.replace(ANYWHERE, name).encode()}
    for path in map(folder.joinpath, (*ALWAYS, *(SHOWS_DATA if report else ()))):
        for file in sorted(path.rglob("*.png")) if path.is_dir() else [path]:
            if file.is_file() and not file.is_symlink():
                inside = file.relative_to(folder).as_posix()
                with _damage(file):
                    content[inside] = _without_folders(file, model.config)
    return content


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turns a complaint about a file of a run into one line."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, AttributeError, LookupError, RecursionError, TypeError) as error:
        by_eval = path.name in ("eval.json", CARD)
        way = "remove it, and `caudal eval` makes it anew" if by_eval else "pull or train it anew"
        raise InputError(f"{path}: damaged ({one_line(error, 100)}): {way}") from None


def _without_folders(path: Path, config: Mapping[str, Any]) -> bytes:
    """The bytes of a file; of options, scores and the report without folders of this machine."""
    if path.suffix == ".yaml":
        content = portable(read_yaml(path))
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()
    if path.suffix == ".json":
        content = portable(json.loads(path.read_text("utf-8")))
        return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
    if path.suffix == ".html":
        return _page_without_folders(path, config).encode()
    return path.read_bytes()


def _page_without_folders(path: Path, config: Mapping[str, Any]) -> str:
    """A report in which files and URLs of the options, and the run, have no more than a name."""
    page = _OUT.sub(r"\1", path.read_text("utf-8"))
    names = {text: str(portable({"": text})[""]) for text in _texts(config)}
    short = {escape(text): escape(name) for text, name in names.items() if name != text}
    words = "|".join(map(re.escape, short)) or r"(?!)"
    pattern = rf'src="data:[^"]*"|(?<![\w<])(?:{words})(?:(?!\w)|(?<!\w))'
    return re.sub(pattern, lambda match: short.get(match[0], match[0]), page)


_OUT = re.compile(r"( --out (?:&#39;)?)/[^<]*/")  # the last word of the command of a report


def _texts(value: Any) -> Iterator[str]:
    """All texts in options, the longest first, as one may hold another."""
    if isinstance(value, Mapping):
        value = list(value.values())
    parts = [t for v in value for t in _texts(v)] if isinstance(value, list | tuple) else []
    yield from sorted([value] if isinstance(value, str) else parts, key=len, reverse=True)


def pull(
    name: str,
    out: str | Path,
    *,
    revision: str | None = None,
    overwrite: bool = False,
    device: str = "cpu",
) -> "Model":
    """The model of a run on the Hugging Face Hub, whose files come into the folder `out`.

    Only files of a run are taken, and none of them runs code. It needs caudal[hub].

    Args:
        name: OWNER/NAME of the repository.
        out: the run folder to make.
        revision: a branch, tag or commit; by default the newest.
        overwrite: replaces a run in `out`, once the new one has been loaded.
        device: of the model, as for `caudal.load`.

    Raises:
        InputError: there is no such repository or revision, it holds no run, or `out` is taken.
        OSError: the hub cannot be reached, or fails.
    """
    from caudal.model.model import load

    hub = _hub()
    run = Run(path_of(out), overwrite=overwrite)
    run.check_folder(goes_on=False)
    temporary = run.path.with_name(f".{os.getpid()}.{run.path.name}")
    files.sweep(run.path.parent, f".[0-9]*.{glob.escape(run.path.name)}")
    try:
        with _told(name, revision):
            wanted = [CARD, *ALWAYS, SHOWS_DATA[0], f"{SHOWS_DATA[1]}/*.png"]
            hub.snapshot_download(
                name,
                revision=revision,
                local_dir=temporary,
                allow_patterns=wanted,
                endpoint=_endpoint(),
            )
        shutil.rmtree(temporary / ".cache", ignore_errors=True)  # of the hub's own package
        if not (temporary / ALWAYS[0]).is_file():
            raise InputError(f"{name} is no run of caudal: it has no {ALWAYS[0]}")
        load(temporary)
        run.begin()
        take_place(temporary, run.path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return load(run.path, device=device)


def take_place(pulled: Path, folder: Path) -> None:
    """Moves the files of a run to their folder; until all are there it is no run."""
    for path in pulled.rglob("*"):
        if path.is_file():
            files.flush(path)
    if not folder.exists():
        os.replace(pulled, folder)
        return
    for path in sorted(pulled.iterdir(), key=lambda path: path.name == ALWAYS[0]):
        os.replace(path, folder / path.name)


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.utils
    except ImportError as error:
        raise InputError("the hub needs a package: pip install 'caudal[hub]'") from error
    huggingface_hub.utils.disable_progress_bars()
    return huggingface_hub


@contextmanager
def _told(name: str, revision: str | None = None) -> Iterator[None]:
    """Within, what the hub's package raises becomes one line of ours."""
    from huggingface_hub import errors as e

    try:
        yield
    except InputError:
        raise
    except e.RevisionNotFoundError as error:
        raise InputError(f"{name} has no revision '{revision}'") from error
    except e.RepositoryNotFoundError as error:
        raise InputError(
            f"the hub has no {name}, or it is private, and there is no token that may see it"
        ) from error
    except e.HFValidationError as error:
        raise InputError(f"'{name}' is no name on the hub: it must be OWNER/NAME") from error
    except e.HfHubHTTPError as error:
        code = error.response.status_code
        if code in (401, 403):
            raise InputError(f"{name}: the token of the hub may not do this ({code})") from error
        raise OSError(f"{name}: the hub failed: {one_line(error, 200)}") from error
    except (e.HTTPError, e.LocalEntryNotFoundError, e.OfflineModeIsEnabled) as error:
        raise ConnectionError(
            f"the hub cannot be reached ({one_line(error, 100)}): try again with a network"
        ) from error
