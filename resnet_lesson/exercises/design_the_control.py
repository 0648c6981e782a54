"""The exercise `design_the_control` of notebook 07: which experiment tells two explanations apart?"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..training.study import recorded_study
from .kit.calls import choice
from .kit.exercise import Exercise, Wrong
from .kit.report import Text


class Experiment(NamedTuple):
    """mistake, why: what is wrong with choosing it, both "" for the right choice."""

    what: str
    result: Callable[[], str]
    mistake: str = ""
    why: str = ""


def _ends(study: str, column: str = "train_errors", **where) -> Callable[[], str]:
    """The result for each seed, put into words when asked for."""

    def told() -> str:
        *others, last = (f"{errors[-1]:.0%}" for errors in recorded_study(study).values(column, **where))
        return f"{', '.join(others)} and {last} wrong"

    return told


def _lowest(network: str) -> Callable[[], str]:
    """The best of all its trainings, at any rate."""

    def told() -> str:
        ends = [errors[-1] for errors in recorded_study("rates-shapes10").values("train_errors", network=network)]
        return f"{min(ends):.0%} wrong at the best of {len(ends)} trainings"

    return told


AT_003: dict = dict(study="rates-shapes10", lr=0.03)
PLAIN, RESIDUAL = _ends(network="plain56", **AT_003), _ends(network="resnet56", **AT_003)
# fmt: off
PAIRS = {
    "rate": {
        "a": Experiment("plain-56 at 0.03, with other seeds", PLAIN, "other seeds at the same rate",
                        "Both explanations predict failure at 0.03. Other seeds only show that it was not bad luck."),
        "b": Experiment("plain-20 at five rates", _lowest("plain20"), "the other network's rates",
                        "It shows which rates suit 20 layers. Another may suit 56, and both explanations allow that."),
        "c": Experiment("plain-56 at five rates", _lowest("plain56")),
        "d": Experiment("ResNet-56 at 0.03", RESIDUAL, "another change than the rate",
                        "It helps, but perhaps only by making 0.03 a good rate. Plain-56 was tried at no other rate."),
    },
    "images": {
        "a": Experiment("the test error of plain-56", _ends(column="test_errors", network="plain56", **AT_003),
                        "both predict a high test error",
                        "If it memorised its images or if it learned nothing: new images are wrong either way."),
        "b": Experiment("the training error of plain-56", PLAIN),
        "c": Experiment("the test error of plain-20", _ends(column="test_errors", network="plain20", **AT_003),
                        "a test of another network",
                        "So the task can be learned. That does not say what plain-56 has learned."),
    },
    "start": {
        "a": Experiment("ResNet-56 in place of plain-56", RESIDUAL, "two changes at once",
                        "It starts near the identity, and it has shortcuts in every later step. Both predict this."),
        "b": Experiment("half a shortcut in every block", _ends("doses", dose=0.5), "two changes, both by half",
                        "The dose weights the shortcut at the start and in every later step. Both predict this."),
        "c": Experiment("plain-56 with a start near the identity", _ends("starts", share=0.1, lr=0.03)),
        "d": Experiment("ResNet-56 whose every F starts at 0", _ends("zero-start", lr=0.03),
                        "the shortcuts are still there",
                        "It starts at the identity, but it also has shortcuts later on. What is left without them?"),
    },
}
# fmt: on


RIGHT: Any = {pair: next(k for k, one in options.items() if not one.mistake) for pair, options in PAIRS.items()}


def _solution() -> str:
    why = {
        "rate": "If another rate were all it takes, one of the five would bring plain-56 near plain-20.",
        "images": "If it had memorised these images, its error on them would be near 0.",
        "start": "Only the start is changed. That brings most of the benefit, but not all of it.",
    }
    found = [f"# {pair}: {PAIRS[pair][k].what}, {PAIRS[pair][k].result()}.\n# {why[pair]}" for pair, k in RIGHT.items()]
    choices = ", ".join(f'{pair}="{k}"' for pair, k in RIGHT.items())
    return "\n".join([*found, f"ex.check({choices})"])


design_the_control = Exercise(
    "design_the_control",
    "Choose, for each pair of explanations, the experiment that tells them apart.",
    solution=_solution,
    hints=(
        "Write down what each of the two explanations predicts for the experiment. If both predict the same, it cannot "
        "decide between them.",
        "Does the experiment change what the two explanations disagree about, and nothing else?",
        "For `start`: which of the four changes only the beginning of the training, and none of the later steps?",
    ),
    read="notebook 07, sections 3 and 4; notebook 01, sections 6 and 8",
    answer=RIGHT,
)


def control_results() -> Text:
    """What each of the experiments found."""
    rows = [(pair, k, one) for pair, options in PAIRS.items() for k, one in options.items()]
    return Text("\n".join(f"{pair:7} {k}) {one.what:41} {one.result()}" for pair, k, one in rows))


def _add(pair: str, options: dict[str, Experiment]) -> None:
    @design_the_control.case(
        f"the experiment for `{pair}`", "one for which the two explanations predict different results"
    )
    def chosen(parts):
        one = options[choice(parts, pair, options)]
        if one.mistake:
            raise Wrong(one.mistake, f"{one.what}: {one.result()}", one.why)


for _pair, _options in PAIRS.items():
    _add(_pair, _options)
