"""Predictions: the reader answers questions before an experiment, and sees the answers beside its result afterwards.

The answers are given with ipywidgets (the `lab` extra). Without it, on GitHub and on a printed page, the questions are
shown as text.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .explorers import bundle, import_ipywidgets


class Table(str):
    """HTML that a notebook renders."""

    def _repr_html_(self) -> str:
        return str(self)


class Prediction:
    """What `predict` returns. `controls`: the buttons of each question, none of which is pressed at first."""

    def __init__(self, questions: Mapping[str, Sequence[str]]):
        self.questions = {question: list(answers) for question, answers in questions.items()}
        self.controls: dict[str, Any] = {}
        self.view: Any = None
        if ipywidgets := import_ipywidgets("Answer on paper, because there are no buttons here"):
            rows = []
            for question, answers in self.questions.items():
                buttons = ipywidgets.ToggleButtons(options=answers, value=None, style={"button_width": "auto"})
                self.controls[question] = buttons
                rows += [ipywidgets.HTML(escape(question)), buttons]
            self.view = ipywidgets.VBox(rows)
            self.view.add_class("prediction")

    @property
    def answers(self) -> dict[str, str | None]:
        """The reader's answer to each question; None if there is none yet."""
        return {question: getattr(self.controls.get(question), "value", None) for question in self.questions}

    def beside(self, results: Mapping[str, str]) -> "Table":
        """A table with each question, the reader's answer, and the result of the experiment.

        results: by question; a question without a result gets a dash.
        """
        rows = "".join(
            f'<tr><th scope="row">{escape(question)}</th><td>{escape(answer or "–")}</td>'
            f"<td>{escape(results.get(question, '–'))}</td></tr>"
            for question, answer in self.answers.items()
        )
        head = "".join(f'<th scope="col">{title}</th>' for title in ("question", "your prediction", "the experiment"))
        return Table(f'<table cellpadding="6"><tr>{head}</tr>{rows}</table>')

    def __repr__(self) -> str:
        return "\n".join(f"{question}  {' / '.join(answers)}" for question, answers in self.questions.items())

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        """The buttons or, for readers without a kernel, the questions with their possible answers."""
        still = "".join(
            f"<p><b>{escape(question)}</b><br>{' &emsp; '.join('○&nbsp;' + escape(answer) for answer in answers)}</p>"
            for question, answers in self.questions.items()
        )
        return bundle({"text/html": still, "text/plain": repr(self)}, self.view)


def predict(questions: Mapping[str, Sequence[str]]) -> Prediction:
    """Ask for a prediction: for each question, the answers to choose from, as buttons.

    bet = predict({"Which network ends with the lower training error?": ["plain-20", "plain-56", "neither"]})
    ...
    bet.beside({"Which network ends with the lower training error?": "plain-20: 3% against 71%"})
    """
    return Prediction(questions)
