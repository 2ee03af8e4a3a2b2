"""From data to a model: open, build, fit, evaluate, report."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from caudal.data import container_of
from caudal.errors import InputError
from caudal.losses import nll_per_element
from caudal.modality import Voice, assemble
from caudal.model import choices
from caudal.model import settings as options_of_run
from caudal.model.config import of_resumed, wherever_read, without_beside
from caudal.model.finishing import finish
from caudal.model.model import Model
from caudal.model.rest import Rest
from caudal.model.settings import Settings
from caudal.numerics import own_randomness, redirected
from caudal.recipes import Recipe
from caudal.report import folder_of
from caudal.report.logged import check_log, logged
from caudal.training.fit import fit
from caudal.training.progress import Notes
from caudal.training.run import Run, check_out
from caudal.training.threads import uncrowded
from caudal.training.together import agreed, together


def train(
    recipe: str | Recipe | type[Recipe] | Any = options_of_run.AUTO,
    data: Any = None,
    *,
    preset: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    from_best: bool = False,
    overwrite: bool = False,
    log: str | None = None,
    voice: Voice | None = None,
    **options: Any,
) -> Model:
    """Trains a flow on data; gives the model, which speaks in the user's own rows.

    It does what `caudal train` does, and the same options give the same numbers: keywords are the
    fields of the recipe, of `Training`, and of the options of the kind of data (for a table
    `context`, `columns`, `types`, `missing`, ...). Unless `epochs` or `steps` say otherwise, the
    whole takes at most `minutes`, which are 5, and the flow has the `size` that goes with them:
    "small", "medium", "large", or "paper".

    Args:
        recipe: a name such as "nsf", a Recipe, or its class; "auto" is the usual one for the kind
            of data, and may be left out: caudal.train(data).
        data: a path or a built-in name; a pandas, polars or pyarrow table; an array, which is a
            table if it is (N, D) and images if it is uint8 (N, H, W) or (N, H, W, C); clips, as a
            list of (amplitudes, rate).
        preset: the name of a paper's configuration of the recipe; options override it.
        out: the run folder to leave behind, with numbers, pictures and a page; None keeps the
            model in memory.
        resume: whether to go on with the run in `out`, with the options in its config.yaml.
        from_best: whether to go on with it from its best model, with a new optimiser, as after
            training diverged.
        overwrite: whether the run in `out` is replaced.
        log: a dashboard that is told as well, "tensorboard" or "trackio"; it needs `out`.
        voice: tells notes and progress; silent if None.
        options: as above; `report=False` leaves the page out.

    Raises:
        InputError: the data, an option or the folder cannot be used.
        NumericalError: a loss or a gradient was not finite.
        Interrupted: Ctrl-C or SIGTERM; the state is saved in `out`.
    """
    begun = time.monotonic()
    recipe, data = _in_place(recipe, data)
    if not choices.is_there(data):
        raise InputError('`data` is missing: caudal.train("auto", data)')
    check_out(out, resume=resume, from_best=from_best, overwrite=overwrite)
    check_log(log, out)
    auto = recipe == options_of_run.AUTO
    if auto:
        goes_on = resume or from_best
        recipe = _in_run(out) if goes_on else choices.usual_recipe(data, options)
    kind = choices.recognise(data, choices.kind_of_recipe(recipe))
    name = recipe if isinstance(recipe, str) else recipe.name
    if preset is not None and isinstance(recipe, Recipe):
        raise InputError(
            f"`preset` {preset} sets the fields of the recipe, and so does an instance of "
            f"{type(recipe).__name__}: give {name!r} with the preset, or leave the preset out"
        )
    options_of_run.check_one_size(options.get("size"), preset)
    options = {**options_of_run.by_length(options), "data": data}
    values = {**options_of_run.preset_values(name, preset, kind), **options}
    if (resume or from_best) and out is not None and Run(out).config_path.exists():
        config = Run(out).read_config()
        if config.get("recipe") != name:
            raise InputError(f"{out} holds a run of {config.get('recipe')}, not {name}")
        own = vars(recipe) if isinstance(recipe, Recipe) else {}
        values = {**without_beside(of_resumed(config)), **own, **values}
    made = replace(options_of_run.settings(recipe, kind, values), auto=auto)
    modes = {"resume": resume, "from_best": from_best, "overwrite": overwrite}
    return train_with(made, out, **modes, log=log, voice=voice, begun=begun)


def _in_place(recipe: Any, data: Any) -> tuple[Any, Any]:
    """The recipe and the data, of which the data may have been given alone."""
    if choices.is_there(data) or not choices.stands_for_data(recipe):
        return recipe, data
    return options_of_run.AUTO, recipe


@uncrowded()
def train_with(
    settings: Settings,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    from_best: bool = False,
    overwrite: bool = False,
    log: str | None = None,
    voice: Voice | None = None,
    begun: float | None = None,
) -> Model:
    """Trains with complete settings; see `train`. The job has `begun` at that `time.monotonic`."""
    begun = time.monotonic() if begun is None else begun
    voice = voice or Voice()
    check_out(out, resume=resume, from_best=from_best, overwrite=overwrite)
    check_log(log, out)
    kind = settings.kind
    dataset = kind.open(settings.data, settings.recipe, None, voice)
    schema, container = dataset.schema, container_of(settings.data.data)
    settings = replace(settings, data=kind.settled(settings.data, dataset))
    settings = choices.suited(settings, dataset)
    recipe = settings.recipe
    with own_randomness(seed=settings.training.seed), redirected():
        flow = assemble(recipe, schema)
    settings = choices.in_pieces(settings, dataset, flow)
    voice.prepared(settings, dataset, flow)
    config = wherever_read(settings.config())
    modes = {"resume": resume, "from_best": from_best, "overwrite": overwrite}
    papers = kind.papers(settings.data, dataset)
    run = None if out is None else Run(out, recipe, schema, config, papers=papers, **modes)
    folder = None if run is None else run.path
    watch = None
    if folder is not None and settings.report:
        watch = kind.watch(recipe, flow, dataset, settings.training.seed, folder)
        if watch is not None:
            voice.say(f"{watch.words}: {folder_of(folder)}")
    rest = Rest(settings, dataset, evaluates=run is not None, flow=flow)
    loss, validation_loss = kind.objective(flow, dataset, settings.data)
    reporter = voice.reporter(schema, "nats", loss_elements(kind, schema)) or Notes(voice)
    reporter, watch = logged(reporter, watch, log, run)
    fitted = fit(
        flow,
        dataset.train,
        dataset.valid,
        training=settings.training,
        loss=loss,
        validation_loss=validation_loss,
        out=run,
        reporter=reporter,
        watch=watch,
        budget=rest.budget(begun),
    )
    settings = replace(settings, training=fitted.training)
    model = Model(
        fitted.flow,
        recipe,
        schema,
        config=settings.config(),
        folder=folder,
        name=str(out) if out else "the model",
        dataset=dataset,
        container=container,
        fitted=fitted,
        voice=voice,
    )
    if run is not None:
        with together(fitted.training.processes > 1):
            finish(model, report=settings.report, extent=agreed(rest.extent))
    return model


def loss_elements(kind: Any, schema: Any) -> int | None:
    """The elements that a loss is divided by to tell it in bits; None where bits mean nothing."""
    return 1 if kind.loss is nll_per_element else schema.countable


def _in_run(out: str | Path | None) -> str:
    """The recipe of the run that is to go on."""
    return str(Run(out or ".").read_config().get("recipe"))
