"""The names of the networks of notebook 09."""

IMAGENET = [
    f"{kind}{depth}{end}" for kind, end in (("seresnet", ""), ("resnet", "d")) for depth in (18, 34, 50, 101, 152)
]
FAMILY = [
    *IMAGENET, "narrow_resnext20",
    "preresnet110", "wrn28_10", "resnext29_8x64d", "sdresnet110", "seresnet20", "resnet20d",
]  # fmt: skip
