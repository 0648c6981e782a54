"""What the stem of an ImageNet network does: convolution, BN, ReLU, max-pool."""

import torch.nn.functional as nnF

from .exercise import Exercise, Wrong
from .network_probes import images, trace
from .probing import same, shape


def first_convolution(answer):
    found = trace(answer, (1, 1, 1, 1)).named("convolution")
    if not found:
        raise Wrong("no convolution in the stem", "none", "The stem begins with a 7x7 convolution.")
    out, _, kernel, _ = found[0].kernel
    got = f"{kernel}x{kernel}, stride {found[0].stride}, {out} channels, {shape(found[0].result[0, 0])}"
    if kernel == 3:
        raise Wrong("a 3x3 stem", got, "That is the stem for 32x32 images. ImageNet's is 7x7 with stride 2.")
    if (kernel, out) != (7, 64):
        raise Wrong("another kernel in the stem", got, "Table 1: conv1 is 7x7, 64 channels, stride 2.")
    if found[0].stride != 2:
        raise Wrong("a stem without stride", got, "The 7x7 convolution has stride 2: 224 pixels become 112.")
    if found[0].result.shape[2] != 112:
        raise Wrong("a stem without padding", got, "A 7x7 kernel needs padding=3 to put out 112x112.")
    if found[0].has_bias:
        raise Wrong("a bias in the stem", got, "BN follows and would subtract it: bias=False.")


def first_input(answer):
    seen = trace(answer, (1, 1, 1, 1))
    pools = seen.named("max_pool2d_with_indices")
    x = seen.calls[0].x
    if not seen.named("batch_norm"):
        raise Wrong("no BN in the stem", "no batch norm", "Every convolution is followed by BN, the first one too.")
    order = [operation.name for operation in seen.named("batch_norm", "relu", "clamp_min", "clamp")]
    if order[0] != "batch_norm":
        raise Wrong("ReLU before BN in the stem", ", then ".join(order), "The order is convolution, BN, ReLU.")
    if x.min() < 0:
        raise Wrong("no ReLU in the stem", f"values down to {x.min():.1f}", "After BN comes a ReLU, then the max-pool.")
    if not pools:
        why = "A 3x3 max-pool with stride 2 ends the stem. It belongs to the stage conv2_x in table 1."
        raise Wrong("no max-pool", f"{shape(x[0])}", why)
    before, after = pools[0].inputs[0].shape[2], x.shape[2]
    if after != (before + 1) // 2 or list(pools[0].inputs[1]) != [3, 3]:
        got = f"{pools[0].inputs[1][0]}x{pools[0].inputs[1][1]} pool, {shape(x[0])}"
        raise Wrong("another max-pool", got, "It is nn.MaxPool2d(3, stride=2, padding=1).")


def large_values(answer):
    seen = trace(answer, (1, 1, 1, 1), 100 * images())
    norms, pools, x = seen.named("batch_norm"), seen.named("max_pool2d_with_indices"), seen.calls[0].x
    if not norms or not pools or list(pools[0].inputs[1]) != [3, 3] or x.min() < 0 or x.shape[2] != 56:
        return  # the probe above says more
    relu = norms[0].result.relu()
    if same(x, nnF.max_pool2d(relu, 3, 2, 1)):
        return
    if same(x, nnF.max_pool2d(relu, 3, 2, ceil_mode=True)):
        why = "Without padding the windows lie elsewhere: nn.MaxPool2d(3, stride=2, padding=1)."
        raise Wrong("a max-pool without padding", f"{shape(x[0])}, of other windows", why)
    got = f"values up to {x.max():.1f} instead of {relu.max():.1f}"
    why = "ReLU lets every positive value pass as it is. Is it another function, such as ReLU6, or one layer more?"
    raise Wrong("another function instead of ReLU in the stem", got, why)


def probe_stem(exercise: Exercise) -> None:
    exercise.probe("the first convolution, on 224x224 pixels", "7x7, stride 2, 64 channels, no bias: 112x112")(
        first_convolution
    )
    exercise.probe("what the first block receives from 224x224 pixels", "conv, BN, ReLU, 3x3 max-pool: 64x56x56")(
        first_input
    )
    exercise.probe("the same with bright images, 100 times as large", "max-pool(ReLU(BN)), large values and all")(
        large_values
    )
