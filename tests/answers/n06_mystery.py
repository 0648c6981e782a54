"""Right and wrong answers to the exercise `mystery_curves` of notebook 06."""

TRUE = {"A": "softmax", "B": "labels", "C": "rate", "D": "order", "E": "decay", "F": "pixels"}


def but(**others):
    return {**TRUE, **others}


RIGHT = {
    "mystery_curves": {
        "the names": TRUE,
        "capitals": {letter: name.capitalize() for letter, name in TRUE.items()},
        "spaces": {letter: f" {name} " for letter, name in TRUE.items()},
    }
}
WRONG = {
    "mystery_curves": {
        "slow learning is taken for the rate": (but(A="rate"), "`rate` makes other curves"),
        "no learning is taken for the order": (but(E="order"), "`order` makes other curves"),
        "the two tests are exchanged": (but(B="pixels"), "`pixels` makes other curves"),
        "three": (
            but(C="softmax", D="labels", F="softmax"),
            ["`softmax` makes other curves", "`labels` makes other curves"],
        ),
        "one is open": (but(E=...), "not answered yet"),
        "no such mistake": (but(E="dropout"), "not one of the choices"),
    }
}
