"""Rules that single values of the configuration, and pairs of them, must obey."""
from __future__ import annotations

from typing import Any

from centernet.config.schema import Config, DatasetConfig, NetConfig

POSITIVE = ("download_timeout", "shard_num", "device_num", "epoch_size", "data_sink_steps", "save_checkpoint_steps",
            "save_checkpoint_num", "num_workers", "calibration_images", "dataset_config.num_classes",
            "dataset_config.max_objs", "net_config.num_stacks", "train_config.batch_size",
            "train_config.loss_scale_value", "train_config.loss_scale_window", "train_config.max_skipped_steps",
            "train_config.MultiDecay.learning_rate", "train_config.MultiDecay.eps", "train_config.MultiDecay.factor",
            "train_config.PolyDecay.learning_rate", "train_config.PolyDecay.eps", "train_config.PolyDecay.power",
            "eval_config.K", "eval_config.batch_size")
NOT_NEGATIVE = ("device_id", "seed", "eval_interval", "export_batch_size", "dataset_config.shift",
                "dataset_config.scale", "dataset_config.rotate", "net_config.head_conv", "net_config.hm_weight",
                "net_config.off_weight", "net_config.wh_weight", "train_config.grad_clip",
                "train_config.reference_batch", "train_config.Adam.weight_decay", "train_config.SGD.weight_decay",
                "train_config.MultiDecay.warmup_steps", "train_config.PolyDecay.warmup_steps",
                "train_config.PolyDecay.end_learning_rate", "eval_config.pad")
# What the networks of one layout must be set to: num_stacks, necks, neck_filters, and why.
LAYOUTS = {
    "dla34": (1, ("deform", "conv"), (256, 128, 64),
              "its nodes add features of these widths (see configs/official_dla34.yaml)"),
    "dlav0_34": (1, ("conv",), (256, 128, 64),
                 "its nodes are plain convolutions of these widths (see configs/official_dlav0_34.yaml)"),
    "hourglass104": (2, ("none",), (), "its stacks end at the maps' resolution (see configs/official_hourglass.yaml)"),
}
SHARES = ("dataset_config.aug_rot", "dataset_config.flip_prop", "eval_config.score_thresh")


def find_problems(config: Config) -> list[str]:
    """Every rule that a configuration breaks, as sentences for the user; empty when all hold."""
    return [*_ranges(config), *_dataset(config.dataset_config, config.net_config), *_network(config.net_config),
            *_modes(config), *_precision(config)]


def _get(config: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        config = getattr(config, key)
    return config


def _ranges(config: Config) -> list[str]:
    rules = [(POSITIVE, lambda v: v > 0, "greater than 0"), (NOT_NEGATIVE, lambda v: v >= 0, "0 or greater"),
             (SHARES, lambda v: 0 <= v <= 1, "between 0 and 1")]
    return [f"{name} must be {wanted}, found {_get(config, name)}"
            for names, holds, wanted in rules for name in names if not holds(_get(config, name))]


def _dataset(data: DatasetConfig, net: NetConfig) -> list[str]:
    problems = []
    wanted = tuple(size // net.down_ratio for size in data.input_res_train)
    if data.output_res != wanted:
        problems.append(f"dataset_config.output_res {list(data.output_res)} must be input_res_train / down_ratio: "
                        f"set it to {list(wanted)}")
    for name in ("input_res_train", "input_res_test"):
        # Training maps must align with the targets cell by cell; a test map may reach past the image.
        unit = max(32, net.size_unit) if name == "input_res_train" else net.size_unit
        if any(size <= 0 or size % unit for size in getattr(data, name)):
            problems.append(f"dataset_config.{name} {list(getattr(data, name))} must be positive multiples of {unit}"
                            f" for {net.backbone}")
    if min(data.std) <= 0:
        problems.append(f"dataset_config.std must be greater than 0, found {list(data.std)}")
    if len(data.eig_vec) != 3 or any(len(row) != 3 for row in data.eig_vec):
        problems.append("dataset_config.eig_vec must be 3 rows of 3 numbers")
    if not data.rand_crop and data.scale >= 1:
        problems.append(f"dataset_config.scale must be below 1, found {data.scale}")
    return problems


def _network(net: NetConfig) -> list[str]:
    problems = []
    if net.down_ratio != 4:
        problems.append(f"net_config.down_ratio must be 4, found {net.down_ratio}: all networks here end at a "
                        "quarter of the resolution")
    problems += _layout(net) if net.backbone in LAYOUTS else _resnet(net)
    if net.dense_hp:
        problems.append("net_config.dense_hp weighs a pose loss, which a detector does not have: set it to false")
    chosen = [name for name in ("dense_wh", "norm_wh", "cat_spec_wh") if getattr(net, name)]
    if len(chosen) > 1:
        problems.append(f"net_config.{' and net_config.'.join(chosen)} exclude each other: set all but one to false")
    return problems


def _resnet(net: NetConfig) -> list[str]:
    problems = []
    if net.num_stacks != 1:
        problems.append(f"net_config.num_stacks must be 1 for {net.backbone}, found {net.num_stacks}")
    if net.block_class and (len(net.block_class) != 4 or min(net.block_class) < 1):
        problems.append(f"net_config.block_class must be [] or 4 numbers above 0, found {list(net.block_class)}")
    if len(net.neck_filters) != 3 or min(net.neck_filters, default=0) < 1:
        problems.append(f"net_config.neck_filters must be 3 numbers above 0, found {list(net.neck_filters)}")
    return problems


def _layout(net: NetConfig) -> list[str]:
    """Rules of a network that is one design from input to features."""
    stacks, necks, filters, why = LAYOUTS[net.backbone]
    rules = (("num_stacks", net.num_stacks == stacks, stacks, why),
             ("neck", net.neck in necks, " or ".join(necks), why),
             ("neck_filters", net.neck_filters == filters, list(filters), why),
             ("block_class", not net.block_class, [], "it sizes ResNets"),
             ("stem_pool", net.stem_pool == "pad", "pad", "the other is for ResNets of the model zoo"))
    found = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(net).items()}
    return [f"net_config.{name} must be {wanted} for {net.backbone}, found {found[name]}: {reason}"
            for name, holds, wanted, reason in rules if not holds]


def _modes(config: Config) -> list[str]:
    problems = []
    evaluation = config.eval_config
    if not evaluation.multi_scales or min(evaluation.multi_scales) <= 0:
        problems.append(f"eval_config.multi_scales must be numbers above 0, found {list(evaluation.multi_scales)}")
    if evaluation.pad & (evaluation.pad + 1):
        problems.append(f"eval_config.pad must be a power of two less 1 (31, 127), found {evaluation.pad}")
    if evaluation.keep_res and evaluation.batch_size > 1:
        problems.append("eval_config.batch_size above 1 needs images of one size: set eval_config.keep_res to false, "
                        "or eval_config.batch_size to 1")
    if config.train_steps == 0 or config.train_steps < -1:
        problems.append(f"train_steps must be -1 (epoch_size decides) or greater than 0, found {config.train_steps}")
    if config.input_res and len(config.input_res) != 2:
        problems.append(f"input_res must be a height and a width, found {list(config.input_res)}")
    unit = config.net_config.size_unit
    if any(size <= 0 or size % unit for size in config.input_res):
        problems.append(f"input_res must be positive multiples of {unit} for {config.net_config.backbone}, "
                        f"found {list(config.input_res)}")
    if evaluation.keep_res and (evaluation.pad + 1) % unit:
        problems.append(f"eval_config.pad must be at least {unit - 1} for {config.net_config.backbone}, which takes "
                        f"multiples of {unit}; found {evaluation.pad}")
    train = config.train_config
    if train.reference_batch == 0 and (train.lr_scale != "none" or train.warmup_scale):
        problems.append("train_config.lr_scale and train_config.warmup_scale need train_config.reference_batch: the "
                        "images of a step on all devices that the learning rate and the warm-up were chosen for")
    if not 0 <= train.SGD.momentum < 1:
        problems.append(f"train_config.SGD.momentum must be at least 0 and below 1, found {train.SGD.momentum}")
    if train.SGD.nesterov and train.SGD.momentum == 0:
        problems.append("train_config.SGD.nesterov needs train_config.SGD.momentum above 0")
    epochs = train.MultiDecay.multi_epochs
    if any(later <= earlier for earlier, later in zip(epochs, epochs[1:])) or min(epochs, default=1) < 1:
        problems.append(f"train_config.MultiDecay.multi_epochs must grow from 1 on, found {list(epochs)}")
    if config.resume and config.fine_tune:
        problems.append("resume and fine_tune exclude each other: resume goes on with the same categories")
    if (config.resume or config.fine_tune) and not config.load_checkpoint_path:
        problems.append("resume and fine_tune need --load_checkpoint_path")
    if bool(config.annotation_file) != bool(config.image_dir):
        problems.append("annotation_file and image_dir go together: set both, or neither for the standard layout")
    return problems


def _precision(config: Config) -> list[str]:
    problems = []
    if config.precision != "fp32" and config.export_format != "ONNX":
        problems.append(f"precision {config.precision} is for ONNX: set --export_format ONNX (a MINDIR gets its "
                        "precision from the device that runs it)")
    if (config.precision == "int8") != bool(config.calibration_data):
        problems.append("precision int8 and calibration_data go together: a folder of images shows the range of each "
                        f"activation; found precision {config.precision}, calibration_data "
                        f"{config.calibration_data or 'not set'}")
    if not 0 < config.calibration_percentile <= 100:
        problems.append("calibration_percentile must be greater than 0 and at most 100, found "
                        f"{config.calibration_percentile}")
    if config.max_ap_drop != -1 and not 0 <= config.max_ap_drop <= 1:
        problems.append(f"max_ap_drop must be between 0 and 1 (0.005 is half a point of AP), or -1 (off), found "
                        f"{config.max_ap_drop}")
    if config.max_ap_drop >= 0 and (config.precision == "fp32" or not (config.data_dir or config.annotation_file)):
        problems.append("max_ap_drop compares fp16 or int8 with fp32 on annotated images: set --precision and "
                        "--data_dir, or leave it out")
    return problems
