"""The settings of the sections dataset_config, net_config, train_config and eval_config."""
from __future__ import annotations

from dataclasses import dataclass

from centernet.config.setting import FRACTION, NOT_NEGATIVE, POSITIVE, Limits, section, setting

DOWN_RATIO = 4  # all networks end at a quarter of the input's resolution

# Distances to the sides of a box count from a cell's point: (x + CELL_POINT, y + CELL_POINT) for the cell (x, y). Here
# pixel i has the coordinate i, and a mirrored coordinate is width - 1 - x. So the middle of the pixels 4x .. 4x + 3 of
# a cell is 4x + 1.5 pixels, and that is x + 0.375 cells. With this point a mirrored map gives exactly mirrored boxes.
CELL_POINT = (DOWN_RATIO - 1) / 2 / DOWN_RATIO

# Box head -> names of the network's maps, in their order. Without net_config.reg_offset there is no reg.
MAPS = {"wh_reg": ("hm", "wh", "reg"), "ltrb": ("hm", "ltrb")}
COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush")


@dataclass(frozen=True)
class DatasetConfig:
    """Images, augmentation and normalisation; sizes are (height, width) in pixels."""

    num_classes: int = setting(80, "number of categories of shards without an info file; follows from coco_classes",
                               limits=POSITIVE)
    max_objs: int = setting(128, "maximum number of objects in one image", limits=POSITIVE)
    ignored_regions: str = setting("mask", "boxes marked ignore or iscrowd: no object and no background in training "
                                   "(mask), or objects as all others, as in the paper's code (objects)",
                                   choices=("mask", "objects"))
    input_res_train: tuple[int, int] = setting((512, 512), "height and width of training images")
    output_res: tuple[int, int] = setting((128, 128), "height and width of the output maps in training; follows from "
                                          "input_res_train")
    input_res_test: tuple[int, int] = setting((680, 680), "height and width of test images at fixed resolution")
    rand_crop: bool = setting(True, "random crop; false: random shift and scale")
    shift: float = setting(0.1, "largest shift as a fraction of the image, without rand_crop", limits=NOT_NEGATIVE)
    scale: float = setting(0.4, "largest change of scale, without rand_crop", limits=NOT_NEGATIVE)
    aug_rot: float = setting(0.0, "probability of rotation", limits=FRACTION)
    rotate: float = setting(0.0, "largest rotation in degrees", limits=NOT_NEGATIVE)
    flip_prop: float = setting(0.5, "probability of a mirrored image", limits=FRACTION)
    color_aug: bool = setting(True, "colour jitter and PCA lighting")
    brightness: float = setting(0.4, "colour jitter: largest change of the brightness", limits=FRACTION)
    contrast: float = setting(0.4, "colour jitter: largest change of the contrast", limits=FRACTION)
    saturation: float = setting(0.4, "colour jitter: largest change of the saturation", limits=FRACTION)
    hue: float = setting(0.0, "colour jitter: largest rotation of the hue in degrees", limits=Limits(
        "be between 0 and 180", lambda value: 0 <= value <= 180))
    scale_range: tuple[float, ...] = setting(
        (), "random scale and crop instead of rand_crop: smallest and largest size of the image as a multiple of the "
        "size that fits into the input, such as 0.1 2; []: off",
        limits=Limits("be [] or two numbers above 0, the smaller one first",
                      lambda sizes: not sizes or len(sizes) == 2 and 0 < sizes[0] <= sizes[1]))
    aspect: float = setting(0.0, "change the ratio of width to height by a random factor between 1 / (1 + aspect) and "
                            "1 + aspect", limits=NOT_NEGATIVE)
    min_visible: float = setting(0.0, "drop boxes of which a smaller part of the area is inside the training image",
                                 limits=FRACTION)
    mosaic: float = setting(0.0, "probability that a training image is put together from four images", limits=FRACTION)
    mixup: float = setting(0.0, "probability that a training image is the average of two images", limits=FRACTION)
    plain_epochs: int = setting(0, "number of epochs at the end without strong augmentation: scale_range, aspect, "
                                "mosaic and mixup are off, and the colour jitter has its default values",
                                limits=NOT_NEGATIVE)
    heatmap_on_device: bool = setting(True, "draw the target heatmaps in the training graph")
    to_rgb: bool = setting(False, "feed RGB instead of BGR; mean and std are in that order")
    coco_classes: tuple[str, ...] = setting(COCO_CLASSES, "names of the categories of shards without an info file")
    mean: tuple[float, float, float] = setting((0.40789654, 0.44719302, 0.47026115), "mean of pixels / 255, in the "
                                               "network's colour order")
    std: tuple[float, float, float] = setting(
        (0.28863828, 0.27408164, 0.27809835), "standard deviation of pixels / 255, in the network's colour order",
        limits=Limits("be greater than 0", lambda values: min(values) > 0))
    eig_val: tuple[float, float, float] = setting((0.2141788, 0.01817699, 0.00341571), "eigenvalues of the pixels' "
                                                  "covariance (BGR)")
    eig_vec: tuple[tuple[float, ...], ...] = setting(
        ((-0.58752847, -0.69563484, 0.41340352), (-0.5832747, 0.00994535, -0.81221408),
         (-0.56089297, 0.71832671, 0.41158938)), "eigenvectors of the pixels' covariance (BGR)",
        limits=Limits("be 3 rows of 3 numbers", lambda rows: [len(row) for row in rows] == [3, 3, 3]))

    def plain_from(self, epochs: int) -> int:
        """Return the first epoch (from 0) without strong augmentation of a training of `epochs` epochs; -1: none."""
        return max(0, epochs - self.plain_epochs) if self.plain_epochs else -1


@dataclass(frozen=True)
class NetConfig:
    """The network and the weights of its losses."""

    backbone: str = setting("resnet50", "feature extractor", choices=(
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "dla34", "dlav0_34", "hourglass104"))
    block_class: tuple[int, ...] = setting((), "blocks in each of a ResNet's four stages; []: the backbone's own "
                                           "numbers")
    num_stacks: int = setting(1, "number of stacked networks: 2 for hourglass104, otherwise 1; follows from backbone",
                              limits=POSITIVE)
    down_ratio: int = setting(DOWN_RATIO, "input resolution / output resolution: always 4")
    neck: str = setting("deform", "3x3 convolution before each transposed convolution of a ResNet, or in each node of "
                        "DLA's upsampling: none, plain, deformable; or a neck that adds the backbone's finer features, "
                        "with plain (shortcut) or deformable (shortcut_deform) 3x3 convolutions",
                        choices=("none", "conv", "deform", "shortcut", "shortcut_deform"))
    deform_op: str = setting("auto", "computation of deformable layers: the framework's operator, or common operators "
                             "(auto: gather on Ascend, native on CPU); no effect on weights and exported files",
                             choices=("auto", "native", "gather"))
    neck_filters: tuple[int, ...] = setting((256, 128, 64), "channels after each doubling of the resolution")
    head_conv: int = setting(64, "channels of each head's 3x3 convolution; 0: heads are one 1x1 convolution",
                             limits=NOT_NEGATIVE)
    stem_pool: str = setting("pad", "padding of the stem's max pooling", choices=("pad", "same"))
    dense_hp: bool = setting(False, "weight of a pose loss: must be false")
    dense_wh: bool = setting(False, "regress the size also around the centre, not only at it")
    norm_wh: bool = setting(False, "divide the size error by the size")
    cat_spec_wh: bool = setting(False, "regress a separate size for each category")
    reg_offset: bool = setting(True, "regress the centre's offset within its output cell; follows from box_head")
    box_head: str = setting("wh_reg", "maps of the box: size and offset of the centre, or distances from a cell to the "
                            "left, top, right and bottom side", choices=tuple(MAPS))
    iou_score: bool = setting(False, "box_head ltrb: predict the IoU of each box, too, and make it a part of the score")
    hm_gaussian: str = setting("circle", "target heatmap of an object: a circle of the paper's radius, or an ellipse "
                               "with the box's proportions", choices=("circle", "ellipse"))
    hm_weight: float = setting(1.0, "loss weight of the heatmap", limits=NOT_NEGATIVE)
    off_weight: float = setting(1.0, "loss weight of the offset, or of the loss of iou_score", limits=NOT_NEGATIVE)
    wh_weight: float = setting(0.1, "loss weight of the size, or of box_head ltrb's GIoU loss", limits=NOT_NEGATIVE)
    mse_loss: bool = setting(False, "train heatmaps with mean squared error instead of the focal loss")
    more_positives: bool = setting(False, "box_head ltrb: cells beside a centre whose predicted box fits are positives "
                                   "of the heatmap, too")
    reg_loss: str = setting("l1", "loss of wh and reg: L1 or smooth L1", choices=("l1", "sl1"))

    @property
    def deformable(self) -> bool:
        """Return whether the neck has deformable layers."""
        return self.neck in ("deform", "shortcut_deform")

    @property
    def shortcuts(self) -> bool:
        """Return whether the neck reads all levels of the backbone's features, see models/shortcut.py."""
        return self.neck in ("shortcut", "shortcut_deform")

    @property
    def title(self) -> str:
        """Return what determines size_unit, for messages."""
        return f"{self.backbone} with neck {self.neck}" if self.shortcuts else self.backbone

    @property
    def maps(self) -> tuple[str, ...]:
        """Return the names of the network's maps, in their order."""
        return tuple(name for name in MAPS[self.box_head] if name != "reg" or self.reg_offset)

    @property
    def margin(self) -> int:
        """Return the cells at the right and bottom border that target boxes do not reach.

        1 in the paper's code. Distances to the sides have no offset that could make up for it.
        """
        return 0 if self.box_head == "ltrb" else 1

    @property
    def size_unit(self) -> int:
        """Return the number of pixels that an input's height and width must be a multiple of.

        ResNets round up. With shortcuts they cannot: features of two levels that were rounded up have different sizes.
        """
        by_neck = 32 if self.shortcuts else DOWN_RATIO
        return {"dla34": 32, "dlav0_34": 32, "hourglass104": 128}.get(self.backbone, by_neck)


@dataclass(frozen=True)
class AdamConfig:
    """Settings of nn.Adam except the learning rate. Weight decay is added to the gradients (L2)."""

    weight_decay: float = setting(0.0, "L2 weight decay", limits=NOT_NEGATIVE)
    decay_filter: tuple[str, ...] = setting((".weight",), "name suffixes of the parameters with weight decay")


@dataclass(frozen=True)
class AdamWConfig:
    """Settings of AdamW except the learning rate. Weight decay is decoupled from the gradients."""

    weight_decay: float = setting(0.01, "weight decay: a step takes learning rate x weight_decay of a weight away",
                                  limits=NOT_NEGATIVE)
    decay_filter: tuple[str, ...] = setting((".weight",), "name suffixes of the parameters with weight decay; .weight: "
                                            "no decay of biases and batch norm")


@dataclass(frozen=True)
class SGDConfig:
    """Settings of nn.SGD except the learning rate. Weight decay is added to the gradients (L2)."""

    momentum: float = setting(0.9, "fraction of the last update that is kept; 0: plain gradient descent",
                              limits=Limits("be at least 0 and below 1", lambda value: 0 <= value < 1))
    weight_decay: float = setting(0.0001, "L2 weight decay", limits=NOT_NEGATIVE)
    nesterov: bool = setting(False, "Nesterov's momentum")
    decay_filter: tuple[str, ...] = setting((".weight", ".bias", ".gamma", ".beta"), "name suffixes of the parameters "
                                            "with weight decay")


@dataclass(frozen=True)
class PolyDecayConfig:
    """Polynomial decay after a linear warm-up."""

    learning_rate: float = setting(0.0005, "initial learning rate", limits=POSITIVE)
    end_learning_rate: float = setting(0.0000005, "final learning rate", limits=NOT_NEGATIVE)
    power: float = setting(5.0, "exponent of the polynomial", limits=POSITIVE)
    eps: float = setting(0.0000001, "epsilon of Adam and AdamW", limits=POSITIVE)
    warmup_steps: int = setting(2000, "steps of linear warm-up", limits=NOT_NEGATIVE)


@dataclass(frozen=True)
class CosineDecayConfig:
    """Cosine decay after a linear warm-up (Loshchilov and Hutter 2017)."""

    learning_rate: float = setting(0.0005, "initial learning rate", limits=POSITIVE)
    end_learning_rate: float = setting(0.0, "final learning rate", limits=NOT_NEGATIVE)
    eps: float = setting(0.0000001, "epsilon of Adam and AdamW", limits=POSITIVE)
    warmup_steps: int = setting(2000, "steps of linear warm-up", limits=NOT_NEGATIVE)


@dataclass(frozen=True)
class MultiDecayConfig:
    """Step decay: division by a factor after given epochs, with a linear warm-up at the start."""

    learning_rate: float = setting(0.00048, "initial learning rate", limits=POSITIVE)
    eps: float = setting(0.0000001, "epsilon of Adam and AdamW", limits=POSITIVE)
    warmup_steps: int = setting(2000, "steps of linear warm-up", limits=NOT_NEGATIVE)
    multi_epochs: tuple[int, ...] = setting(
        (290, 320), "epochs after which the learning rate is divided",
        limits=Limits("be increasing numbers from 1 on",
                      lambda epochs: all(a < b for a, b in zip((0, *epochs), epochs))))
    factor: float = setting(10.0, "divisor of the learning rate", limits=POSITIVE)


@dataclass(frozen=True)
class TrainConfig:
    """Batch, loss scale, optimizer and schedule."""

    batch_size: int = setting(32, "batch size of one device", limits=POSITIVE)
    accumulate: int = setting(1, "batches of each device in one step: their gradients are added before the update; for "
                              "batches that do not fit into the memory", limits=POSITIVE)
    amp_level: str = setting("auto", "O0: float32; O2: the network computes in amp_type, except for parts that need "
                             "float32 (docs/training.md); auto: O2 on Ascend, O0 on CPU and with exact_fp32",
                             choices=("auto", "O0", "O2"))
    amp_type: str = setting("float16", "half precision of O2; bfloat16 only on Ascend (not the first 910)",
                            choices=("float16", "bfloat16"))
    loss_scale_value: float = setting(1024.0, "initial loss scale", limits=POSITIVE)
    loss_scale_mode: str = setting("dynamic", "static: constant loss scale; dynamic: halved after an overflow, doubled "
                                   "after loss_scale_window steps without an overflow", choices=("static", "dynamic"))
    loss_scale_window: int = setting(1000, "steps without an overflow before a dynamic loss scale is doubled",
                                     limits=POSITIVE)
    max_skipped_steps: int = setting(20, "stop with a diagnosis after this number of skipped steps in a row",
                                     limits=POSITIVE)
    ema_decay: float = setting(0.0, "keep an exponential moving average of the weights with this decay, for evaluation "
                               "and export; 0: off, usual: 0.9998",
                               limits=Limits("be at least 0 and below 1", lambda value: 0 <= value < 1))
    grad_clip: float = setting(0.0, "clip gradients to this global norm; 0: off", limits=NOT_NEGATIVE)
    optimizer: str = setting("Adam", "optimizer; the section of the same name has its settings",
                             choices=("Adam", "AdamW", "SGD"))
    backbone_rate: float = setting(1.0, "factor of the learning rate for the backbone, for fine-tuning; usual: 0.1",
                                   limits=POSITIVE)
    freeze_stages: int = setting(0, "freeze the stem and this number of stages of the backbone (from the image on): no "
                                 "gradient, no update, batch norm with its stored statistics; 0: freeze nothing",
                                 limits=Limits("be 0 to 4", lambda value: 0 <= value <= 4))
    early_stop: int = setting(0, "end the training when the AP has not improved in this number of evaluations "
                              "(eval_interval); 0: off", limits=NOT_NEGATIVE)
    lr_schedule: str = setting("MultiDecay", "learning rate schedule; the section of the same name has its settings",
                               choices=("MultiDecay", "PolyDecay", "CosineDecay"))
    lr_scale: str = setting("none", "multiply the learning rate by r = global batch size / reference_batch, or by the "
                            "square root of r", choices=("none", "linear", "sqrt"))
    reference_batch: int = setting(256, "global batch size for which learning_rate and warmup_steps were chosen; 0: "
                                   "unknown", limits=NOT_NEGATIVE)
    warmup_scale: bool = setting(False, "divide warmup_steps by r, so that the warm-up sees the same number of images")
    Adam: AdamConfig = section(AdamConfig)
    AdamW: AdamWConfig = section(AdamWConfig)
    SGD: SGDConfig = section(SGDConfig)
    PolyDecay: PolyDecayConfig = section(PolyDecayConfig)
    MultiDecay: MultiDecayConfig = section(MultiDecayConfig)
    CosineDecay: CosineDecayConfig = section(CosineDecayConfig)

    @property
    def step_images(self) -> int:
        """Return the number of images of one device in a step."""
        return self.batch_size * self.accumulate


@dataclass(frozen=True)
class EvalConfig:
    """Test-time resolution, scales, flip test and post-processing."""

    SOFT_NMS: bool = setting(True, "soft-NMS after decoding; several scales are always merged by soft-NMS")
    keep_res: bool = setting(True, "keep each image's resolution; false: resize to input_res_test")
    pad: int = setting(127, "with keep_res, heights and widths become (size | pad) + 1", limits=Limits(
        "be a power of two minus 1 (31, 127), at most 16383",
        lambda value: 0 <= value < 1 << 14 and not value & (value + 1)))
    multi_scales: tuple[float, ...] = setting((1.0,), "test scales of each image", limits=Limits(
        "be numbers above 0", lambda scales: min(scales, default=0) > 0))
    flip_test: bool = setting(False, "average the maps of the image and of the mirrored image")
    K: int = setting(100, "detections per image", limits=POSITIVE)
    max_dets: int = setting(100, "detections of an image and category that count in COCO's metrics (maxDets); more for "
                            "images with more objects, together with K",
                            limits=Limits("be at least 100, COCO's own number", lambda value: value >= 100))
    score_thresh: float = setting(0.3, "lowest score that is drawn, or listed by infer", limits=FRACTION)
    batch_size: int = setting(1, "batch size; with keep_res, of images with the same padded size", limits=POSITIVE)
