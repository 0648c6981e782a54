"""Exercise of notebook 04: parameters and multiply-adds of figure 5's two blocks, counted by hand.

A wrong number is told its mistake by its value: `_slips` computes what comes out when one thing goes wrong.
"""

from functools import cache
from math import isfinite
from numbers import Real
from typing import Any

from ..models import blocks
from ..models.cost import cost_of
from .kit.exercise import Exercise, Wrong, is_unattempted

Convs = tuple[tuple[int, int, int], ...]  # kernel size, channels in, channels out
SIDE = 56
BLOCKS: dict[str, Convs] = {
    "basic": ((3, 64, 64), (3, 64, 64)),
    "bottleneck": ((1, 256, 64), (3, 64, 64), (1, 64, 256)),
}
PARTS = tuple(f"{block}_{what}" for block in BLOCKS for what in ("parameters", "macs"))
CARETS = {  # what Python makes of a power that is written with ^, which it computes after + and *
    "basic_parameters": {18 * 64 ^ 2 + 256, 2 * 9 * 64 ^ 2 + 4 * 64, 2 * 3 ^ 2 * 64 * 64 + 256, 18 * 64 ^ 2},
    "basic_macs": {73728 * 56 ^ 2, 56 ^ 2 * 73728, 18 * 64 ^ 2 * 56 ^ 2, 2 * 3 ^ 2 * 64 * 64 * 56 * 56},
    "bottleneck_parameters": {17 * 64 ^ 2 + 768, 256 * 64 + 3 ^ 2 * 64 * 64 + 64 * 256 + 768, 17 * 64 ^ 2},
    "bottleneck_macs": {69632 * 56 ^ 2, 56 ^ 2 * 69632, 17 * 64 ^ 2 * 56 ^ 2},
}

WORKED = """\
# A convolution has k * k * C_in * C_out weights. A BN has two parameters a channel, a weight and a bias.
# A convolution uses each of its weights once at each of the 56 * 56 output positions.
ex.check(
    # 3x3, 64 -> 64, twice; a BN with 64 channels, twice
    basic_parameters=2 * 3 * 3 * 64 * 64 + 2 * 2 * 64,  # = 73,984
    basic_macs=2 * 3 * 3 * 64 * 64 * 56 * 56,  # = 231,211,008
    # 1x1, 256 -> 64; 3x3, 64 -> 64; 1x1, 64 -> 256; BN with 64, 64 and 256 channels
    bottleneck_parameters=256 * 64 + 3 * 3 * 64 * 64 + 64 * 256 + 2 * (64 + 64 + 256),  # = 70,400
    bottleneck_macs=(256 * 64 + 3 * 3 * 64 * 64 + 64 * 256) * 56 * 56,  # = 218,365,952
)
"""

cost_by_hand = Exercise(
    "cost_by_hand",
    "Count the parameters and the multiply-adds of the basic and the bottleneck block of figure 5.",
    solution=lambda: WORKED,
    hints=(
        "Write down the convolutions of a block first: kernel size, channels in, channels out. The figure shows them.",
        "One convolution has k * k * C_in * C_out weights. For the parameters, add up all convolutions and then "
        "2 * channels for each BN.",
        "For the multiply-adds, add up the convolutions alone and multiply by 56 * 56: each weight is used once at "
        "each position.",
        "The bottleneck has 1 * 1 * 256 * 64 + 3 * 3 * 64 * 64 + 1 * 1 * 64 * 256 weights in its convolutions.",
    ),
    read="notebook 04, section 1 (the formula) and section 4 (the figure)",
)


@cache
def right(part: str) -> int:
    """The package's own count."""
    block, what = part.split("_")
    module = blocks.BasicBlock(64, 64) if block == "basic" else blocks.Bottleneck(256, 64)
    cost = cost_of(module, (BLOCKS[block][0][1], SIDE, SIDE))
    return cost.parameters if what == "parameters" else cost.macs


def weights(convs: Convs) -> int:
    return sum(k * k * i * o for k, i, o in convs)


def _other_weights(convs: Convs) -> dict[str, tuple[set[int], str]]:
    """Mistake: (weights that come of it, what to look at). For parameters and multiply-adds alike."""
    ends = {convs[0][1], convs[-1][2]}
    wide = max(ends)
    left_out = {weights(convs[:i] + convs[i + 1 :]) for i in range(len(convs))}
    left_out |= {weights((conv,)) for conv in convs}
    found = {
        "a convolution is left out": (left_out, f"This block has {len(convs)} convolutions. Add up all of them."),
        "the kernel is not counted": (
            {sum(i * o for _, i, o in convs)},
            "Each output of a 3x3 convolution is a sum over 9 positions: 3 * 3 weights for each pair of channels.",
        ),
        "3 instead of 3 * 3": (
            {sum(k * i * o for k, i, o in convs)},
            "The kernel is a square: 3 * 3 = 9 positions, not 3.",
        ),
        "channels added instead of multiplied": (
            {sum(k * k * (i + o) for k, i, o in convs)},
            "Every output channel has weights for every input channel: C_in * C_out.",
        ),
        "channels counted once": (
            {sum(k * k * o for k, _, o in convs), sum(k * k * i for k, i, _ in convs)},
            "Every output channel has weights for every input channel: C_in * C_out, not one of the two.",
        ),
        "a projection is counted": (
            {weights((*convs, (1, wide, wide)))},
            "The shortcut of both blocks is the identity: it has no weights and costs no multiply-adds.",
        ),
    }
    if wide == 64:
        found["256 channels in the basic block"] = (
            {weights(((3, 256, 256),) * 2), weights(((3, 256, 64), (3, 64, 256)))},
            "The basic block of the figure has 64 channels throughout; only the bottleneck has 256 at its ends.",
        )
        return found
    found["64 channels at the ends"] = (
        {weights(((1, 64, 64), (3, 64, 64), (1, 64, 64)))},
        "The bottleneck takes and returns 256 channels: 4 times its width of 64.",
    )
    too_wide = (  # the 3x3 from and to 256, with every 1x1 around it that somebody may think of
        ((1, 256, 256), (3, 256, 256), (1, 256, 256)),
        ((1, 256, 64), (3, 256, 256), (1, 64, 256)),
        ((1, 256, 64), (3, 64, 256), (1, 256, 256)),
        ((1, 256, 256), (3, 256, 64), (1, 64, 256)),
    )
    found["the 3x3 at 256 channels"] = (
        set(map(weights, too_wide)),
        "The first 1x1 has reduced the channels before: the 3x3 goes from 64 to 64.",
    )
    found["a 1x1 counted as 3x3"] = (
        {weights(((3, 256, 64), (3, 64, 64), (3, 64, 256))), weights(((3, 256, 64), (3, 64, 64), (1, 64, 256)))},
        "The first and the last convolution have a kernel of one position: 1 * 1, not 3 * 3.",
    )
    return found


def _slips(part: str) -> dict[str, tuple[set[int], str]]:
    """Mistake: (values of `part` that come of it, what to look at)."""
    block, what = part.split("_")
    convs, area = BLOCKS[block], SIDE * SIDE
    exact, channels = weights(convs), sum(o for _, _, o in convs)
    norms = 2 * channels
    other = next(name for name in PARTS if name.endswith(what) and name != part)
    if what == "parameters":
        rests = [convs[:i] + convs[i + 1 :] for i in range(len(convs))] + [(conv,) for conv in convs]
        found = {
            "BN is left out": ({exact}, "These are the weights of the convolutions. Each BN adds two a channel."),
            "BN with one parameter a channel": ({exact + channels}, "BN has two a channel: a weight and a bias."),
            "BN of one layer only": (
                {exact + 2 * o for _, _, o in convs},
                "There is a BN after every convolution, with as many channels as that puts out.",
            ),
            "BN's running statistics are counted": (
                {exact + 4 * channels},
                "Its running mean and variance are measured, not learned: they are no parameters.",
            ),
            "a bias is counted": ({exact + norms + channels}, "The convolutions have no bias: BN would remove it."),
            "the image size in the parameters": (
                {(exact + norms) * area, exact * area, exact * area + norms},
                "The same weights work at every position. The image size belongs to the multiply-adds only.",
            ),
        }
        with_norms = {0, norms, *(2 * width * len(convs) for width in (64, 256))}  # none, right, all of one width
        found |= {
            name: ({v + n for v in values for n in with_norms}, why)
            for name, (values, why) in _other_weights(convs).items()
        }
        found["a convolution is left out"][0].update(weights(r) + 2 * sum(o for _, _, o in r) for r in rests)
    else:
        found = {
            "height and width are not counted": (
                {exact, exact + norms},
                "This is the number of weights. Each is used once at each of the 56 * 56 output positions.",
            ),
            "one side of the image only": ({exact * SIDE}, "There are 56 rows and 56 columns: 56 * 56 positions."),
            "height and width added": ({exact * 2 * SIDE}, "There are 56 rows and 56 columns: 56 * 56 positions."),
            "the size of the network's input": (
                {exact * 224 * 224},
                "224x224 is the image at the network's entry. Here the feature map has 56x56 positions.",
            ),
            "positions lost at the border": (
                {exact * (SIDE - 2) ** 2, exact * (SIDE - 1) ** 2},
                "The 3x3 has padding=1, so its output has 56 x 56 positions like its input.",
            ),
            "operations instead of multiply-adds": (
                {2 * exact * area},
                "A multiplication with its addition is counted once here. FLOPs in the strict sense are twice as many.",
            ),
            "BN is counted": (
                {(exact + norms) * area, (exact + channels) * area},
                "Count the convolutions only: BN's share is small, and the usual tables leave it out.",
            ),
        }
        found |= {name: ({v * area for v in values}, why) for name, (values, why) in _other_weights(convs).items()}
    found["a ^ for a power"] = (CARETS[part], "In Python a power is 56**2. The sign ^ is something else, XOR.")
    found["the two blocks are swapped"] = ({right(other)}, f"This is the right number for {other}.")
    return found


def _probe(part: str) -> None:
    block, what = part.split("_")
    counted = "convolutions and BN" if what == "parameters" else "convolutions only, one image of 56x56"

    @cost_by_hand.probe(f"{part}, against the course's counter", f"the number of the {block} block: {counted}")
    def compare(parts):
        given = parts.get(part) if isinstance(parts, dict) else None
        if is_unattempted(given):
            raise Wrong("not counted yet", f"nothing for {part}", "Check one part and go on with the next.")
        number = _number(part, given)
        if number != right(part):
            raise _diagnosis(part, number)


def _number(part: str, given: Any) -> Any:
    """The number that was given, also as a tensor or array of a single one."""
    if getattr(given, "ndim", None) == 0:
        given = given.item()
    if isinstance(given, Real) and not isinstance(given, bool) and isfinite(given):
        return given
    got = f"{part}={given!r}"
    if isinstance(given, tuple) and all(isinstance(digits, int) for digits in given):
        why = "For Python 73,984 is two numbers, 73 and 984. Write it without the comma, or with _."
        raise Wrong("a comma inside a number", got, why)
    why = "Give one number or an expression, without quotes or brackets, such as 3 * 3 * 64 * 64."
    raise Wrong("not a number", got, why)


def _diagnosis(part: str, given: float) -> Wrong:
    got = f"{part} = {given:,}"
    fitting = {mistake: why for mistake, (values, why) in _slips(part).items() if given in values}
    if fitting:
        return Wrong(", or ".join(fitting), got, " Or: ".join(fitting.values()))
    ratio = given / right(part)
    if any(abs(ratio * 10**k - 1) < 0.005 for k in (3, 6, 9)):
        return Wrong("in thousands or millions", got, "Give the number itself: the expression, without dividing.")
    if abs(ratio - 1) < 0.005:
        return Wrong("not exact", got, "Nearly. Give the expression itself instead of a rounded number.")
    why = f"It is {ratio:.3g} times the right number. Count one convolution at a time and add them up."
    return Wrong("another number", got, why)


@cost_by_hand.probe("which parts were given", ", ".join(PARTS))
def known_parts(parts):
    strange = sorted(set(parts) - set(PARTS)) if isinstance(parts, dict) else ["an answer without a name"]
    if strange:
        why = f"Name the parts, as in ex.check({PARTS[0]}=3 * 3 * 64 * 64)."
        raise Wrong("a part that is not asked for", ", ".join(strange), why)


for _part in PARTS:
    _probe(_part)
