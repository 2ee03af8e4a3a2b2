"""`caudal score`: the user's rows, images or clips with their log-density."""

from caudal.cli.options import ScoreOptions, open_run
from caudal.cli.screen import Screen
from caudal.report import number
from caudal.report.evaluation import OUTSIDE


def run(words: list[str]) -> int:
    """Runs the command."""
    options, model = open_run(ScoreOptions, words, "caudal score", "reading")
    screen = Screen(options.json)
    seen = model.score(
        options.data,
        options.out,
        seed=options.seed,
        overwrite=options.overwrite,
        **vars(options.kind),
    )
    unit = seen.unit
    screen.say(f"{options.out}: {seen.rows:,} {seen.many} with log_prob ({seen.kind}, nats)")
    if seen.scored:
        bits = f", {number(seen.score, 4)} {unit.name}" if unit.bits else ""
        screen.say(f"mean {number(seen.log_prob)} nats{bits}, over {seen.scored:,} {seen.many}")
        lowest = number(unit.scale * seen.lowest, unit.digits)
        which = f"{seen.one} " if isinstance(seen.lowest_row, int) else ""
        screen.say(f"least likely {lowest} {unit.name}: {which}{seen.lowest_row}")
    if sentence := seen.error_sentence():
        screen.say(sentence)
    if seen.outside:
        screen.note(f"{seen.outside:,} {seen.many} have a log_prob of -inf: {OUTSIDE}")
    if seen.unscored:
        screen.note(f"{seen.unscored:,} {seen.many} with missing values have no log_prob")
    screen.result(seen.to_dict(options.out))
    return 0
