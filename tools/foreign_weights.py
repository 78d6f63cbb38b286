"""Names and shapes of other programs' weights, listed without the rules that the tests check."""
import numpy as np

BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3),
          "resnet152": (3, 8, 36, 3)}
PYTORCH = ("weight", "bias", "running_mean", "running_var")
MINDSPORE = ("gamma", "beta", "moving_mean", "moving_variance")


def norm(name, channels, tails):
    """Return names and shapes of a batch norm."""
    return [(f"{name}.{tail}", (channels,)) for tail in tails]


def resnet_shapes(depth, tails=PYTORCH):
    """Return names and shapes of torchvision's ResNets without their classifier."""
    wide = depth not in ("resnet18", "resnet34")
    shapes = [("conv1.weight", (64, 3, 7, 7)), *norm("bn1", 64, tails)]
    before = 64
    for stage, count in enumerate(BLOCKS[depth]):
        width = 64 << stage
        after = 4 * width if wide else width
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            kernels = ((width, before, 1), (width, width, 3), (after, width, 1)) if wide else \
                ((width, before, 3), (width, width, 3))
            for number, (out, into, size) in enumerate(kernels, 1):
                shapes += [(f"{name}.conv{number}.weight", (out, into, size, size)),
                           *norm(f"{name}.bn{number}", out, tails)]
            if block == 0 and before != after:
                shapes += [(f"{name}.downsample.0.weight", (after, before, 1, 1)),
                           *norm(f"{name}.downsample.1", after, tails)]
            before = after
    return shapes


def mmdet_dcn_shapes():
    """Return names and shapes of mmdetection's centernet_resnet18_dcnv2, with deformable layers without bias."""
    shapes = [(f"backbone.{name}", shape) for name, shape in resnet_shapes("resnet18")]
    for stage, (before, after) in enumerate(((512, 256), (256, 128), (128, 64))):
        first, second = (f"neck.deconv_layers.{2 * stage + side}" for side in (0, 1))
        shapes += [(f"{first}.conv.weight", (after, before, 3, 3)),
                   (f"{first}.conv.conv_offset.weight", (27, before, 3, 3)), (f"{first}.conv.conv_offset.bias", (27,)),
                   *norm(f"{first}.bn", after, PYTORCH),
                   (f"{second}.conv.weight", (after, after, 4, 4)), *norm(f"{second}.bn", after, PYTORCH)]
    return shapes + head_shapes("bbox_head.{}_head", ("heatmap", "wh", "offset"))


def modelzoo_shapes():
    """Return names and shapes of the trained parameters of the model zoo's centernet_resnet50_v1."""
    shapes = [(f"network.resnet50.{name}", shape) for name, shape in resnet_shapes("resnet50", MINDSPORE)]
    for stage, (before, after) in enumerate(((2048, 256), (256, 128), (128, 64))):
        shapes += [(f"network.resnet50.deconv_layers.{3 * stage}.weight", (before, after, 4, 4)),
                   *norm(f"network.resnet50.deconv_layers.{3 * stage + 1}", after, MINDSPORE)]
    return shapes + head_shapes("network.{}_fn", ("hm", "wh", "reg"))


def head_shapes(pattern, names):
    """Return names and shapes of the three heads."""
    return [(f"{pattern.format(name)}.{layer}.{tail}", shape) for name, channels in zip(names, (80, 2, 2))
            for layer, size in ((0, (64, 64, 3, 3)), (2, (channels, 64, 1, 1)))
            for tail, shape in (("weight", size), ("bias", size[:1]))]


def random_tensors(shapes):
    """Return name -> random float32 values."""
    random = np.random.default_rng(0)
    return {name: random.standard_normal(shape, np.float32) for name, shape in shapes}
