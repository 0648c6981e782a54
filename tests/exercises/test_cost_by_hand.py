"""The numbers of the exercise are those of the package's own counter."""

from resnet_lesson.exercises.cost_by_hand import RIGHT
from resnet_lesson.models.blocks import BasicBlock, Bottleneck
from resnet_lesson.models.cost import cost_of


def test_the_right_numbers_are_those_of_the_counter():
    basic, bottleneck = cost_of(BasicBlock(64, 64), (64, 56, 56)), cost_of(Bottleneck(256, 64), (256, 56, 56))
    assert list(RIGHT.values()) == [basic.parameters, basic.macs, bottleneck.parameters, bottleneck.macs]
