"""The network with one wrong line differs from the course's own in that line alone."""

import torch

from resnet_lesson import build
from resnet_lesson.exercises.find_the_broken_line import LINES, MENDED, WRONG
from resnet_lesson.models import broken


def test_it_has_one_wrong_line_and_mended_it_is_the_course_s_network_bit_for_bit():
    assert sum(WRONG in line for line in LINES) == 1 and len(LINES) == 36
    names = {"torch": torch, "nn": torch.nn}
    exec("\n".join(LINES).replace(WRONG, MENDED), names)
    x, outputs = torch.randn(2, 3, 16, 16), []
    for make in (names["ResNet"], broken.ResNet):
        torch.manual_seed(3)
        outputs.append(make(9)(x))
    right = build("resnet56", seed=3)(x)
    assert torch.equal(outputs[0], right) and not torch.allclose(outputs[1], right, atol=0.1)
