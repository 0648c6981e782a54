"""Figures with letters that matplotlib's own font lacks: drawn with another font, or said once in one line."""

import warnings
from pathlib import Path

import matplotlib
import pytest
from fontTools.ttLib import TTFont
from matplotlib.font_manager import fontManager
from matplotlib.text import Text

from resnet_lesson.figures import fonts
from resnet_lesson.figures.style import noted, panels, png, styled

OWN = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


@pytest.fixture(autouse=True)
def only_matplotlibs_own_fonts(monkeypatch):
    ours = [font for font in fontManager.ttflist if Path(font.fname).is_relative_to(matplotlib.get_data_path())]
    monkeypatch.setattr(fontManager, "ttflist", ours)
    monkeypatch.setattr(fonts, "findSystemFonts", list)
    monkeypatch.setattr(fonts, "told", [])
    search = fonts.families
    search.cache_clear()
    yield
    search.cache_clear()


@styled
def drawn(title, bars):
    figure, (ax,) = panels([title], 4, 3)
    ax.bar(bars, [1, 2])
    return noted(figure, "recorded · → ×")


def test_english_looks_for_no_font(monkeypatch):
    monkeypatch.setattr(fonts, "families", None)
    drawn("errors", ["plain", "ResNet"])


def test_korean_is_drawn_where_a_font_has_it(monkeypatch, tmp_path, capsys):
    font = TTFont(OWN)
    for letters in font["cmap"].tables:
        if letters.isUnicode():
            letters.cmap |= dict.fromkeys(map(ord, "층깊이잔차"), "A")
    for name in font["name"].names:
        if name.nameID in (1, 16):  # the family
            name.string = "Trial"
    font.save(tmp_path / "trial.ttf")
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: [str(tmp_path / "trial.ttf")])
    figure = drawn("층 깊이", ["plain", "잔차"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png(figure)
    korean = [text for text in figure.findobj(Text) if set(text.get_text()) & set("층차")]
    # the title, and the bar's label on either side of the axis
    assert len(korean) == 3 and all(text.get_fontfamily()[-1] == "Trial" for text in korean)
    assert capsys.readouterr().err == ""


def test_without_a_font_one_line_says_what_to_install(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for title in ("층의 깊이", "오류"):
            png(drawn(title, ["plain", "잔차"]))
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "HANGUL SYLLABLE" in said and "fonts-nanum" in said
