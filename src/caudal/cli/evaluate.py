"""`caudal eval`: how well a run explains data that it has not seen."""

from caudal.cli import tell
from caudal.cli.options import EvalOptions, open_run
from caudal.cli.screen import Screen


def run(words: list[str]) -> int:
    """Runs the command."""
    options, model = open_run(EvalOptions, words, "caudal eval", "reading")
    screen = Screen(options.json)
    result = model.evaluate(
        options.data,
        limit=options.limit,
        seed=options.seed,
        draws=options.draws,
        **vars(options.kind),
    )
    tell.evaluation(screen, result)
    screen.result(result.to_dict())
    return 0
