"""Predictions: asked with buttons, readable without them, and shown beside the result."""

import sys

from resnet_lesson.figures.explorers import WIDGET
from resnet_lesson.figures.predictions import predict

WHICH, HOW = "Which is lower?", "By <how> much?"
QUESTIONS = {WHICH: ["plain-20", "plain-56"], HOW: ["a little", "a lot"]}


def test_nothing_is_chosen_for_the_reader_and_the_answer_is_shown_beside_the_result():
    bet = predict(QUESTIONS)
    assert bet.answers == {WHICH: None, HOW: None}
    bet.controls[WHICH].value = "plain-56"
    shown = bet.beside({WHICH: "plain-20: 3% < 71%"})._repr_html_()
    assert f'<th scope="row">{WHICH}</th><td>plain-56</td><td>plain-20: 3% &lt; 71%</td>' in shown
    assert "<td>–</td><td>–</td>" in shown and "By &lt;how&gt; much?" in shown


def test_there_is_text_for_a_page_without_a_kernel():
    bundle = predict(QUESTIONS)._repr_mimebundle_()
    assert "○&nbsp;plain-20" in bundle["text/html"] and "By &lt;how&gt; much?" in bundle["text/html"]
    assert bundle["text/plain"].splitlines() == ["Which is lower?  plain-20 / plain-56", f"{HOW}  a little / a lot"]
    assert bundle[WIDGET]["model_id"]


def test_without_ipywidgets_the_questions_are_still_there(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    bet = predict(QUESTIONS)
    assert WIDGET not in bet._repr_mimebundle_() and "Answer on paper" in capsys.readouterr().out
    assert "<td>–</td><td>3%</td>" in bet.beside({HOW: "3%"})._repr_html_()
