"""The exercise `cost_by_hand` of notebook 04: parameters and multiply-adds of figure 5's two blocks.

A mistake is recognised by the number it leads to: `slips_of` lists the results when one thing goes wrong.
"""

from collections.abc import Iterator
from math import isfinite

from .kit.calls import no_other_parts
from .kit.calls import part as part_of
from .kit.exercise import Exercise, Wrong

Convs = list[tuple[int, int, int]]  # kernel size, channels in, channels out
Slip = tuple[str, set[int], str]  # the mistake, the numbers it leads to, what to look at
SIDE, AREA = 56, 56 * 56
BLOCKS: dict[str, Convs] = {
    "basic": [(3, 64, 64), (3, 64, 64)],
    "bottleneck": [(1, 256, 64), (3, 64, 64), (1, 64, 256)],
}
RIGHT = {  # what cost_of counts
    "basic_parameters": 73_984,
    "basic_macs": 231_211_008,
    "bottleneck_parameters": 70_400,
    "bottleneck_macs": 218_365_952,
}
CARETS = {  # the results if a power is written with ^, which Python computes after + and *
    "basic_parameters": {18 * 64 ^ 2 + 256, 2 * 9 * 64 ^ 2 + 4 * 64, 2 * 3 ^ 2 * 64 * 64 + 256, 18 * 64 ^ 2},
    "basic_macs": {73728 * 56 ^ 2, 56 ^ 2 * 73728, 18 * 64 ^ 2 * 56 ^ 2, 2 * 3 ^ 2 * 64 * 64 * 56 * 56},
    "bottleneck_parameters": {17 * 64 ^ 2 + 768, 256 * 64 + 3 ^ 2 * 64 * 64 + 64 * 256 + 768, 17 * 64 ^ 2},
    "bottleneck_macs": {69632 * 56 ^ 2, 56 ^ 2 * 69632, 17 * 64 ^ 2 * 56 ^ 2},
}
WORKED = """\
# A convolution has k * k * C_in * C_out weights. A BN has two parameters per channel, γ and β.
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
        "First list the convolutions of a block, as the figure shows them: kernel size, channels in, channels out.",
        "A convolution has k * k * C_in * C_out weights. For the parameters, add up all the convolutions, and then "
        "2 * channels for each BN.",
        "For the multiply-adds, add up only the convolutions and multiply by 56 * 56, because each weight is used once "
        "at each position.",
        "The convolutions of the bottleneck have 1 * 1 * 256 * 64 + 3 * 3 * 64 * 64 + 1 * 1 * 64 * 256 weights.",
    ),
    read="notebook 04, section 1 (the formula) and section 4 (the figure)",
    answer=RIGHT,
)


@cost_by_hand.case("the names of the parts", ", ".join(RIGHT))
def known_parts(parts):
    no_other_parts(parts, RIGHT)


def number_in(part: str, parts: object) -> float:
    """The number that was given; a tensor or array of a single number will do."""
    given = part_of(parts, part)
    if getattr(given, "ndim", None) == 0:
        given = given.item()
    if isinstance(given, (int, float)) and not isinstance(given, bool) and isfinite(given):
        return int(given) if given == int(given) else given
    if isinstance(given, tuple) and all(isinstance(digits, int) for digits in given):
        why = "To Python, 73,984 is two numbers, 73 and 984. Write 73984 or 73_984."
        raise Wrong("a comma inside a number", f"{part}={given!r}", why)
    why = "Give one number or an expression, without quotes or brackets, such as 3 * 3 * 64 * 64."
    raise Wrong("not a number", f"{part}={given!r}", why)


def case(part: str, right: int) -> None:
    what = "convolutions and BN" if part.endswith("parameters") else "convolutions only, one image of 56x56"

    @cost_by_hand.case(f"{part}, against the course's counter", f"the number of the {part.split('_')[0]} block: {what}")
    def compare(parts):
        number = number_in(part, parts)
        ratio = number / right
        if number != right and number not in slips[part]:
            if any(abs(ratio * 10**k - 1) < 0.005 for k in (3, 6, 9)):
                why = "Give the number itself, not thousands or millions of it: the expression, without dividing."
                raise Wrong("in thousands or millions", f"{part} = {number:,}", why)
            if abs(ratio - 1) < 0.005:
                why = "That is close. If you rounded, give the expression itself. If not, a small part is wrong."
                raise Wrong("not exact", f"{part} = {number:,}", why)
        return f"{part} = {number:,}, which is {float(f'{ratio:.3g}'):,} times the right number"


# --- The mistakes, by the numbers they lead to.


def weights(convs: Convs) -> int:
    return sum(k * k * i * o for k, i, o in convs)


def norms(convs: Convs) -> int:
    return sum(2 * o for _, _, o in convs)


# fmt: off
def wrong_weights(convs: Convs) -> Iterator[Slip]:
    """Mistakes in the weights of the convolutions, for parameters and multiply-adds alike."""
    yield ("a convolution is left out", {weights(convs[:i] + convs[i + 1 :]) for i in range(len(convs))},
           f"This block has {len(convs)} convolutions. Add up all of them.")
    yield ("the kernel is not counted", {sum(i * o for _, i, o in convs)},
           "Each output of a 3x3 convolution is a sum over 9 positions: 3 * 3 weights for each pair of channels.")
    yield ("3 instead of 3 * 3", {sum(k * i * o for k, i, o in convs)},
           "The kernel is a square: 3 * 3 = 9 positions, not 3.")
    if convs is BLOCKS["basic"]:
        return
    yield ("64 channels at the ends", {weights([(1, 64, 64), (3, 64, 64), (1, 64, 64)])},
           "The bottleneck takes and returns 256 channels: 4 times its width of 64.")
    yield ("the 3x3 at 256 channels", {weights([(1, 256, n), (3, n, 256), (1, 256, 256)]) for n in (64, 256)} | {
               weights([(1, 256, 64), (3, 256, 256), (1, 64, 256)])},
           "By then the first 1x1 has reduced the channels, so the 3x3 goes from 64 to 64.")
    yield ("a 1x1 counted as 3x3", {weights([(3, i, o) for _, i, o in convs])},
           "The kernels of the first and the last convolution have a single position: 1 * 1, not 3 * 3.")


def wrong_parameters(convs: Convs) -> Iterator[Slip]:
    exact, bn = weights(convs), norms(convs)
    yield "BN is left out", {exact}, "These are the weights of the convolutions. Each BN adds two per channel."
    yield "BN with one parameter per channel", {exact + bn // 2}, "BN has two per channel, γ and β."
    yield "each BN with 64 channels", {exact + 128 * len(convs)}, "The last BN of the bottleneck has 256 channels."
    yield ("biases are counted", {exact + bn // 2, exact + bn + bn // 2},
           "A convolution that BN follows has no bias.")
    yield ("the image size in the parameters", {(exact + bn) * AREA, exact * AREA},
           "The same weights are used at every position, so the image size matters only for the multiply-adds.")
    for name, found, why in wrong_weights(convs):
        beside = (0, bn, 128 * len(convs))  # no BN, right, all of 64 channels
        yield name, {number + some for number in found for some in beside}, why


def wrong_macs(convs: Convs) -> Iterator[Slip]:
    exact, bn = weights(convs), norms(convs)
    yield ("height and width are not counted", {exact, exact + bn},
           "This is the number of weights. Each is used once at each of the 56 * 56 output positions.")
    yield "one side of the image only", {exact * SIDE}, "There are 56 rows and 56 columns: 56 * 56 positions."
    yield ("operations instead of multiply-adds", {2 * exact * AREA},
           "Here a multiplication together with its addition counts once. Strictly speaking, FLOPs are twice as many.")
    yield ("BN is counted", {(exact + bn) * AREA},
           "Count only the convolutions: BN adds very little, and the usual tables leave it out.")
    for name, found, why in wrong_weights(convs):
        yield name, {number * AREA for number in found}, why
# fmt: on


def slips_of(part: str) -> dict[int, dict[str, str]]:
    """{number: {mistake: what to look at}}; several mistakes may lead to the same number."""
    block, what = part.split("_")
    other = next(name for name in RIGHT if name.endswith(what) and name != part)
    found: dict[int, dict[str, str]] = {}
    for name, values, why in (
        *(wrong_parameters if what == "parameters" else wrong_macs)(BLOCKS[block]),
        ("a ^ for a power", CARETS[part], "In Python, a power is written 56**2. The sign ^ means something else, XOR."),
        ("the two blocks are swapped", {RIGHT[other]}, f"This is the right number for {other}."),
    ):
        for value in values - {RIGHT[part]}:
            found.setdefault(value, {})[name] = why
    return found


slips = {part: slips_of(part) for part in RIGHT}
for part, right in RIGHT.items():
    case(part, right)
    for number, names in slips[part].items():
        cost_by_hand.mistake(", or ".join(names), {part: number}, " Or: ".join(names.values()))
