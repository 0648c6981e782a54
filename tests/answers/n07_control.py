"""Right and wrong answers to the exercise `design_the_control` of notebook 07."""


def choose(rate="c", images="b", start="c"):
    return {"rate": rate, "images": images, "start": start}


RIGHT = {
    "design_the_control": {
        "letters": choose(),
        "capitals": choose("C", "B", "C"),
        "as they are printed": choose("c)", "b)", " c) "),
    }
}
WRONG = {
    "design_the_control": {
        "more seeds": (choose(rate="a"), "other seeds at the same rate"),
        "plain-20's rates": (choose(rate="b"), "the other network's rates"),
        "the ResNet": (choose(rate="d"), "another change than the rate"),
        "the test error": (choose(images="a"), "both predict a high test error"),
        "with shortcuts": (choose(start="a"), "two changes at once"),
        "F at 0": (choose(start="d"), "the shortcuts are still there"),
        "one is open": (choose(start=...), "not answered yet"),
        "no such letter": (choose(images="d"), "not one of the choices"),
    }
}
