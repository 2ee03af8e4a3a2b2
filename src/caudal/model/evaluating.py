"""The score of test data beside baselines, and what else an evaluation compares."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from caudal import files
from caudal.fields import check_value
from caudal.model import card
from caudal.model.rest import Extent
from caudal.model.settings import name_of
from caudal.report import Evaluation, Recognition, load_baseline, recognise
from caudal.report import evaluate as evaluate_flow
from caudal.training.options import Count
from caudal.training.seeds import check_seed
from caudal.training.threads import uncrowded
from caudal.training.together import is_writer

if TYPE_CHECKING:
    from caudal.model.model import Model

BASELINE = "gaussian.safetensors"
"""The file of the baseline in a run folder."""


@uncrowded()
def evaluate(
    model: "Model",
    data: Any = None,
    *,
    limit: int | None = None,
    seed: int = 0,
    draws: int = 1,
    samples: int | None = None,
    copies: int | None = None,
    recognised: int | None = None,
    **reading: Any,
) -> Evaluation:
    """The mean score of test data, with its error, beside the baseline's.

    Samples of a table are compared with its test rows, too (`Evaluation.scoreboard`).

    The result goes to eval.json in the run folder, unless `data` or `limit` make it one of
    other rows.

    Args:
        data: other data to evaluate, instead of the run's own test part.
        limit: how many items to take at most, from all over the data, always the same ones.
        seed: of the noise that fills steps and gaps, and of estimates.
        draws: of that noise for each item.
        samples: how many samples of a table are compared with as many test rows at most; 0 for
            none, 2,000 if None.
        copies: how many clips of sound are copied from their spectra at most; 16 if None.
        recognised: for how many images or clips at most to compare the likelihoods given each
            label (`Evaluation.recognitions`); 500 or 100 if None.
        reading: options of how other data are read, as of `caudal eval`.

    Raises:
        InputError: the data cannot be opened, or an argument is out of its range.
        NumericalError: a log-density is not a number.
    """
    check_value("limit", limit, Count | None)
    check_value("draws", draws, Count)
    for name, value in (("samples", samples), ("copies", copies), ("recognised", recognised)):
        check_value(name, value, Annotated[int, Ge(0)] | None)
    check_seed(seed)
    source, split = _to_evaluate(model, data, reading)
    extent = Extent(limit=limit, samples=samples, copies=copies, recognised=recognised)
    result = _evaluated(model, source, extent, split, data is None, seed, draws)
    if data is not None:
        return replace(result, split=None, data=split)
    _keep(model, result, limit is None)
    return result


def evaluate_within(model: "Model", extent: Extent) -> Evaluation:
    """The evaluation on the run's own test part after training, as far as there is time for it."""
    result = _evaluated(model, model.dataset.test, extent, "test", True, 0, 1)
    _keep(model, result, extent.limit is None)
    return result


def _keep(model: "Model", result: Evaluation, whole: bool) -> None:
    """Keeps an evaluation in memory, and that of the whole test part in the run folder."""
    model.evaluation = result
    if whole and model.folder is not None and is_writer():
        text = json.dumps(result.to_dict(), indent=2, ensure_ascii=False)
        files.sweep(model.folder)  # what an evaluation left that was killed
        files.write_text(model.folder / "eval.json", text + "\n")
        card.write_card(model)


def _evaluated(
    model: "Model",
    source: Any,
    extent: Extent,
    split: str,
    is_own: bool,
    seed: int,
    draws: int,
) -> Evaluation:
    """The evaluation of a source; `is_own` if it is the run's own test part.

    Processes that are together share the scoring, and only the first one compares the rest.
    """
    limit = extent.limit
    if model.is_slow_to_score:
        model.voice.note(
            f"{model.recipe.name} scores one sample at a time, which takes long: `limit` takes "
            f"fewer {model.schema.many}"
        )
    result = evaluate_flow(
        model.flow,
        source,
        _baseline(model, fit=is_own or model._dataset is not None),
        model.schema,
        split=split,
        limit=limit,
        seed=seed,
        draws=draws,
        track=model.voice.track,
        beginning=_beginning(model),
    )
    labelled = _recognise(model, source, limit, extent.recognised, seed)
    result = replace(result, recognitions=labelled)
    if not is_writer():
        return result
    if (beside := judge(model, extent.fits)) is not None:
        result = replace(result, target=beside.judge(source, limit, seed))
    if is_own:
        result = replace(result, scoreboard=_scoreboard(model, extent.samples, seed))
    most = min((n for n in (limit, extent.copies) if n is not None), default=None)
    copied = model.kind.copy(model.flow, source, model.schema, most, model.voice)
    return replace(result, copies=copied)


def judge(model: "Model", fits: int | None = None) -> Any:
    """What judges the predictions of a target; models beside the flow are fitted once.

    `fits` limits how many fits of trees there are; None is all of them. A model without a target
    has no judge, and gives None.
    """
    if model.kind.target is None:
        return None
    if model._fitted_judge is None:
        train = None if model._dataset is None else model._dataset.train
        asked = model.flow, train, model.schema, model.voice.track, fits
        fitted = model.kind.target.fit(*asked)
        if train is None:
            return fitted
        model._fitted_judge = fitted
    return model._fitted_judge


def _to_evaluate(model: "Model", data: Any, reading: Mapping[str, Any]) -> tuple[Any, str]:
    if data is None:
        model.options(model.kind.reading, reading)
        return model.dataset_or(f"give other {model.schema.many} with `data`").test, "test"
    items = model.open_all(data, reading)
    return items.source, name_of(data)


def _baseline(model: "Model", fit: bool) -> Any:
    """The baseline that the run left behind; else, if `fit`, one fitted to its data."""
    path = None if model.folder is None else model.folder / BASELINE
    if path is not None and path.exists():
        return load_baseline(path, model.schema.kind, model.flow, model.schema)
    return model.kind.baseline.fit(model.flow, model.dataset.train, model.schema) if fit else None


def _beginning(model: "Model") -> Any:
    """The second baseline of data whose training rows are at hand; it is fitted once."""
    if model.kind.beginning is None or model._dataset is None:
        return None
    if model._fitted_beginning is None:
        asked = model.flow, model.dataset.train, model.schema
        model._fitted_beginning = model.kind.beginning.fit(*asked)
    return model._fitted_beginning


def _scoreboard(model: "Model", samples: int | None, seed: int) -> Any:
    """How samples compare with test rows, where the kind of data has such measures."""
    if model.kind.scoreboard is None or samples == 0:
        return None
    beginning = _beginning(model)
    flow = None if beginning is None else beginning.flow
    return model.kind.scoreboard(model.flow, model.dataset, flow, samples, seed)


def _recognise(
    model: "Model", source: Any, limit: int | None, recognised: int | None, seed: int
) -> tuple[Recognition, ...]:
    """How often the likelihood is highest given an item's own label, where data have labels."""
    usual = model.kind.classified if recognised is None else recognised
    if not model.kind.classified or model.is_slow_to_score:
        return ()
    most = usual if limit is None else min(limit, usual)
    return recognise(model.flow, source, model.schema, most, seed, model.voice.track)
