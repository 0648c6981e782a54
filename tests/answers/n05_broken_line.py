"""Right and wrong answers to the exercise `find_the_broken_line` of notebook 05."""

from resnet_lesson.exercises.find_the_broken_line import LINES

NUMBER = 16
assert "self.bn2(" in LINES[NUMBER - 1]


def line(mended, number=NUMBER):
    return {"line": number, "mended": mended}


RIGHT = {
    "find_the_broken_line": {
        "as the course has it": line("y = self.bn2(self.conv2(y)) + self.shortcut(x)"),
        "the other way round, indented": line(
            "        y = self.shortcut(x) + self.bn2(self.conv2(y))  # outside of BN"
        ),
        "in place": line("y = self.bn2(self.conv2(y)); y += self.shortcut(x)"),
    }
}
WRONG = {
    "find_the_broken_line": {
        "the ReLU is suspected": (line("return torch.relu(y + x)", 17), "that line is right"),
        "as text": (line("y = self.bn2(self.conv2(y)) + self.shortcut(x)", "16"), "not a line number"),
        "the number alone": ({"line": NUMBER, "mended": ...}, "not answered yet"),
        "terms exchanged inside of BN": (
            line("y = self.bn2(self.shortcut(x) + self.conv2(y))"),
            "BN still normalises the sum",
        ),
        "no BN": (line("y = torch.add(self.conv2(y), self.shortcut(x))"), "BN is left out"),
        "relu as a method": (line("y = self.bn2(self.conv2(y)).relu() + self.shortcut(x)"), "a ReLU at the end of F"),
        "the shortcut twice": (line("y = self.bn2(self.conv2(y)) + 2 * self.shortcut(x)"), ""),
        "a parenthesis too few": (
            line("y = self.bn2(self.conv2(y) + self.shortcut(x)"),
            "your code stopped with SyntaxError",
        ),
    }
}
