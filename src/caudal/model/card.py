"""The card of a run: a README.md that says what is in the folder, with metadata in the hub's form.

What its reader adds stays when it is written again: keys at the top, such as the license, and all
text below the last line.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import yaml

from caudal import files
from caudal.report.numbers import count
from caudal.version import __version__

if TYPE_CHECKING:
    from caudal.model.model import Model
    from caudal.report import Evaluation

CARD = "README.md"
ANYWHERE = "OWNER/NAME"
"""What stands in a card for its name on the hub, until it has one."""
_OWN = "<!-- What you write below this line stays when caudal writes the card again. -->"
_BY_TAGS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What the reader of YAML lets through, such as of `!!bool x`."""
_FRONT = re.compile(r"\A---\n(.*?)^---\n", re.M | re.S)
_USER = re.compile(r"(?<=://)[^/@]*@|\?.*")
CONTENTS = {
    "model.safetensors": "weights, recipe and schema: loads by itself, and runs no code",
    "config.yaml": "every option; repeats the run",
    "columns.yaml": "what each column was taken for",
    "eval.json": "the scores",
    "compare.json": "how it compares to its teacher",
    "metrics.jsonl": "the training curve",
    "gaussian.safetensors": "the baseline",
    "alarm.json": "the lowest log-densities of validation rows, for `--alarm`",
    "report.html": "the report, in one file",
    "pictures": "its pictures",
}


def write_card(model: "Model") -> Path:
    """Writes README.md into the folder of a run; keeps what its reader has added."""
    assert model.folder is not None
    path = model.folder / CARD
    before = path.read_text("utf-8", errors="replace") if path.exists() else ""
    files.write_text(path, merged(card_of(model), before))
    return path


def merged(card: str, before: str) -> str:
    """A new card with the keys and the text that were added to the one before."""
    _, mark, own = before.partition(_OWN)
    if not mark:
        return card
    fresh, kept = metadata_of(card), metadata_of(before)
    front = {**{k: v for k, v in kept.items() if k not in fresh}, **fresh}
    return f"{_matter(front)}{_FRONT.sub('', card).lstrip()}{own[1:]}"


def card_of(model: "Model") -> str:
    """The text of the card of a model."""
    tags = ["normalizing-flows", "density-estimation", _kind(model), model.recipe.name]
    metadata: dict[str, Any] = {"library_name": "caudal", "tags": ["caudal", *tags]}
    name = "run" if model.folder is None else model.folder.resolve().name
    evaluation = model.evaluation
    if evaluation is not None:
        metadata |= {"model-index": [{"name": name, "results": [_results(model, evaluation)]}]}
    parts = [f"# {name}", _what(model), *_scores(model), _use(model), *_inside(model), _LIMITS]
    return _matter(metadata) + "\n\n".join(parts) + f"\n\n{_OWN}\n"


def portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without the folders of this machine, and without passwords of URLs."""
    return {name: _portable(value) for name, value in config.items()}


def _portable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return portable(value)
    if isinstance(value, list | tuple):
        return [_portable(each) for each in value]
    if not isinstance(value, str):
        return value
    if "://" in value:
        return _USER.sub("", value)
    return PurePath(value).name if os.path.isabs(value) else value


def _matter(metadata: Mapping[str, Any]) -> str:
    text = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n\n"


def metadata_of(card: str) -> dict[str, Any]:
    """The metadata of a card; none if a reader has made it unreadable."""
    match = _FRONT.match(card)
    try:
        content = yaml.safe_load(match[1]) if match else None
    except (yaml.YAMLError, *_BY_TAGS):
        content = None
    return content if isinstance(content, dict) else {}


def _results(model: "Model", evaluation: "Evaluation") -> dict[str, Any]:
    data = _data(model)
    unit = evaluation.unit
    scores = [
        (f"{unit.name}, flow", evaluation.score),
        (f"{unit.name}, {evaluation.baseline_name}", evaluation.baseline),
        (f"{unit.name}, {evaluation.beginning_name}", evaluation.beginning),
    ]
    metrics = [
        {"type": unit.key, "name": name, "value": float(value)}
        for name, value in scores
        if value is not None and math.isfinite(value)
    ]
    return {
        "task": {"type": "density-estimation", "name": "Density estimation"},
        "dataset": {"name": data, "type": data},
        "metrics": metrics,
    }


def _data(model: "Model") -> str:
    """What the model learned from, by a name without its folders."""
    source = model.config.get("data")
    return PurePath(str(_portable(source))).name if source else "data of a Python program"


def _kind(model: "Model") -> str:
    return "tensors" if model._schema is None else model.kind.name


def _many(model: "Model") -> str:
    """What many of its items are called."""
    return "rows" if model._schema is None else model.schema.many


def _what(model: "Model") -> str:
    recipe, flow = model.recipe, model.flow
    arxiv = re.search(r"arXiv:(\S+?)[.,]?$", recipe.paper)
    paper = f"[{recipe.paper}](https://arxiv.org/abs/{arxiv[1]})" if arxiv else recipe.paper
    parameters = sum(p.numel() for p in flow.parameters())
    based = f" ({paper})" if paper else ""
    return (
        f"A normalizing flow of {model.what}: it gives new {_many(model)} their "
        f"log-density ({flow.kind}), and draws new ones. The recipe is `{recipe.name}`{based}, "
        f"with {count(parameters, 'parameter', 'parameters')}, trained on {_data(model)} by "
        f"caudal {__version__}."
    )


def _scores(model: "Model") -> Iterator[str]:
    if model.evaluation is not None:
        head, rows, _ = model.evaluation.table()
        lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
        title = model.evaluation.title
        yield f"## Scores\n\n{title[0].upper()}{title[1:]}:"
        yield "\n".join(lines)
        yield "\n".join(model.evaluation.sentences())
    if model.distilled is not None:
        yield "## Beside its teacher\n\n" + "\n".join(
            f"- {line}" for line in model.distilled.verdict
        )


def _use(model: "Model") -> str:
    many = _many(model)
    return f"""## Use

```sh
pip install 'caudal[hub]'
caudal pull {ANYWHERE} --out run
```

```python
import caudal

model = caudal.load("run")
model.sample(5)  # new {many}
model.log_prob(model.sample(5))  # nats; your own {many} likewise
```"""


def _inside(model: "Model") -> Iterator[str]:
    folder = model.folder
    there = {} if folder is None else {n: t for n, t in CONTENTS.items() if (folder / n).exists()}
    if there:
        lines = ["| file | what it is |", "| --- | --- |"]
        yield "## What is inside\n\n" + "\n".join(
            [*lines, *(f"| `{name}` | {text} |" for name, text in there.items())]
        )


_LIMITS = """## Limits

The schema in the model file names columns, categories and the ends of values that were seen.
Samples are not anonymous: a large flow can come close to its training data. A low density is no
proof that something is wrong."""
