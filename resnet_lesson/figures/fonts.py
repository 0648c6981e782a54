"""Fonts for letters that matplotlib's own font lacks, such as Korean: found among those on the machine, when a figure
first needs one. For a figure in English nothing is searched."""

import functools
import re
import sys
import unicodedata
import warnings
from contextlib import suppress

from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, findSystemFonts, fontManager, get_font
from matplotlib.text import Text

FIRST = r"(?i)malgun\.|applesdgothic|nanum(barun)?gothic\.|noto.*(cjk|kr)-reg"  # usual on Windows, macOS and Linux
NEVER = r"(?i)last.?resort|blank"  # these draw a box for every letter that there is
ADVICE = (
    "Install a font that has it (for Korean: Nanum Gothic, or apt-get install fonts-nanum), and restart the kernel."
)
told: list[int] = []


@functools.cache
def glyphs(path: str) -> frozenset[int]:
    """The characters of a font file; none if matplotlib cannot read it, such as one with coloured pictures."""
    try:
        return frozenset(get_font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()


@functools.cache
def families(missing: frozenset[int]) -> list[str]:
    """The families of fonts that have these characters between them. What no font has is said once, in one line."""
    found = []
    for path in set(findSystemFonts()) - {font.fname for font in fontManager.ttflist}:
        with suppress(OSError, RuntimeError):
            fontManager.addfont(path)  # installed after matplotlib made its list
    for font in sorted(fontManager.ttflist, key=lambda font: (not re.search(FIRST, font.fname), font.fname)):
        if not re.search(NEVER, font.fname) and missing & glyphs(font.fname):
            found.append(font.name)
            missing = missing - glyphs(font.fname)
        if not missing:
            return found
    warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)  # matplotlib's, one for each letter
    if not told:
        told.extend(missing)
        name = unicodedata.name(chr(min(missing)), "a letter without a name")
        print(f"No font on this machine has {name}, so a box takes its place. {ADVICE}", file=sys.stderr)
    return found


def legible(figure: Figure) -> Figure:
    """The figure, with fonts for all that is written in it."""
    for axes in figure.axes:
        axes.get_xticklabels(), axes.get_yticklabels()  # matplotlib writes these late
    texts = [text for text in figure.findobj(Text) if not text.get_text().isascii()]
    lacks = {
        text: set(map(ord, text.get_text())) - glyphs(findfont(text.get_fontproperties())) - {10} for text in texts
    }
    found = families(frozenset().union(*lacks.values())) if any(lacks.values()) else []
    for text in texts:
        if lacks[text]:
            text.set_fontfamily([*text.get_fontfamily(), *found])
    return figure
