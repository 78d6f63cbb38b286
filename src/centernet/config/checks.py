"""Rules between several settings. Limits of a single setting are in its declaration (schema.py)."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from centernet.config.declared import SETTINGS, read
from centernet.config.schema import Config, DatasetConfig, EvalConfig, NetConfig, TrainConfig
from centernet.config.values import as_flag, comma_hint, plain


class Layout(NamedTuple):
    """Required settings of a backbone that has its own upsampling layers."""

    stacks: int
    necks: tuple[str, ...]
    filters: tuple[int, ...]
    why: str


LAYOUTS = {
    "dla34": Layout(1, ("deform", "conv", "shortcut", "shortcut_deform"), (256, 128, 64),
                    "its nodes add features with these numbers of channels (see configs/official_dla34.yaml)"),
    "dlav0_34": Layout(1, ("conv",), (256, 128, 64),
                       "its nodes are plain convolutions with these numbers of channels (see "
                       "configs/official_dlav0_34.yaml)"),
    "hourglass104": Layout(2, ("none",), (),
                           "its stacks end at the resolution of the output maps (see "
                           "configs/official_hourglass.yaml)"),
}


class Idle(NamedTuple):
    """Flags that have no effect under a condition."""

    names: tuple[str, ...]
    entries: tuple[str, ...]  # (): all
    holds: Callable[[Config], bool]
    why: str
    remedy: str


IDLE = (
    Idle(("dataset_config.rotate",), (), lambda config: not config.dataset_config.aug_rot,
         "dataset_config.aug_rot, the probability of a rotation, is 0", "Set both"),
    Idle(("dataset_config.aug_rot",), (), lambda config: not config.dataset_config.rotate,
         "dataset_config.rotate, the largest rotation, is 0", "Set both"),
    Idle(tuple(f"dataset_config.{name}" for name in (
        "brightness", "contrast", "saturation", "hue", "eig_val", "eig_vec")), (),
         lambda config: not config.dataset_config.color_aug, "dataset_config.color_aug is false",
         "Set --dataset_config.color_aug true"),
    # The last plain_epochs have no scale_range.
    Idle(("dataset_config.shift", "dataset_config.scale"), (), lambda config: config.dataset_config.rand_crop or bool(
        config.dataset_config.scale_range) and not config.dataset_config.plain_epochs,
         "dataset_config.rand_crop or scale_range is used",
         "Set --dataset_config.rand_crop false and no scale_range"),
    Idle(("partial_backbone",), ("train",), lambda config: not config.backbone_checkpoint,
         "there is no backbone_checkpoint", "Set --backbone_checkpoint"),
    Idle(("tile", "classes", "nms", "result_formats", "max_frames", "recursive", "save_result_dir",
          *(f"eval_config.{name}" for name in (
              "SOFT_NMS", "keep_res", "pad", "multi_scales", "K", "max_dets", "score_thresh", "batch_size"))),
         ("infer",),
         lambda config: bool(config.predict_dir), "--predict_dir only runs the model, and writes its raw output to "
         "--result_path", "Use --image"),
    Idle(("overlap",), ("infer",), lambda config: not config.tile, "tile is 0", "Set --tile 640"),
)


def find_idle(entry: str, config: Config) -> list[str]:
    """Return one message for each flag of this call that has no effect, unless it switches something off (0, false).

    Values of files may have no effect: one file serves several commands.
    """
    return [f"--{name} has no effect, because {rule.why}. {rule.remedy}, or leave it out"
            for rule in IDLE for name in rule.names
            if name in config.given and (not rule.entries or entry in rule.entries) and read(config, name)
            and rule.holds(config)]


def find_problems(config: Config) -> list[str]:
    """Return one message for each rule that a configuration breaks; [] if it breaks none."""
    return [*_limits(config), *_dataset(config.dataset_config, config.net_config), *_network(config.net_config),
            *_evaluation(config.eval_config, config.net_config),
            *_training(config.train_config, config.net_config), *_entries(config), *_precision(config)]


def _limits(config: Config) -> list[str]:
    return [f"{name} must {declared.limits.wanted}, found {plain(read(config, name))}"
            f"{comma_hint(declared, read(config, name))}"
            for name, declared in SETTINGS.items() if declared.limits and not declared.limits.hold(read(config, name))]


def _dataset(data: DatasetConfig, net: NetConfig) -> list[str]:
    problems = []
    for name in ("input_res_train", "input_res_test"):
        # In training, the maps must have exactly the size of the targets. A test map may be larger than the image.
        unit = max(32, net.size_unit) if name == "input_res_train" else net.size_unit
        if any(size <= 0 or size % unit for size in getattr(data, name)):
            problems.append(f"dataset_config.{name} {list(getattr(data, name))} must be positive multiples of {unit}"
                            f" for {net.title}")
    if not data.rand_crop and data.scale >= 1:
        problems.append(f"dataset_config.scale must be below 1, found {data.scale}")
    return problems


def _network(net: NetConfig) -> list[str]:
    problems = _layout(net) if net.backbone in LAYOUTS else _resnet(net)
    chosen = [name for name in ("dense_wh", "norm_wh", "cat_spec_wh") if getattr(net, name)]
    if len(chosen) > 1:
        problems.append(f"net_config.{' and net_config.'.join(chosen)} exclude each other: set all but one to false")
    if net.dense_wh and net.hm_gaussian != "circle":
        problems.append(f"net_config.dense_wh needs net_config.hm_gaussian circle, found {net.hm_gaussian}: its sizes "
                        "are drawn as circles")
    if net.iou_score and net.box_head != "ltrb":
        problems.append(f"net_config.box_head must be ltrb with net_config.iou_score true, found {net.box_head}: only "
                        "there each cell of an object predicts a box whose IoU it can learn")
    return [*problems, *_box_head(net), *_more_positives(net)]


def _more_positives(net: NetConfig) -> list[str]:
    if not net.more_positives:
        return []
    rules = [("box_head", "ltrb", "only there cells beside the centre learn the box"),
             ("mse_loss", False, "the mean squared error has no positives"),
             ("num_stacks", 1, "the stacks predict different boxes, so they would have different positives")]
    return [f"net_config.{name} must be {as_flag(wanted)} with net_config.more_positives true, found "
            f"{as_flag(getattr(net, name))}: {why}" for name, wanted, why in rules if getattr(net, name) != wanted]


def _box_head(net: NetConfig) -> list[str]:
    if net.box_head != "ltrb":
        return []
    rules = [*((name, False) for name in ("reg_offset", "cat_spec_wh", "norm_wh", "dense_wh")), ("reg_loss", "l1")]
    return [f"net_config.{name} must be {as_flag(wanted)} with net_config.box_head ltrb, found "
            f"{as_flag(getattr(net, name))}: it concerns the maps wh and reg, which this head does not have"
            for name, wanted in rules if getattr(net, name) != wanted]


def _resnet(net: NetConfig) -> list[str]:
    problems = []
    if net.num_stacks != 1:
        problems.append(f"net_config.num_stacks must be 1 for {net.backbone}, found {net.num_stacks}")
    if net.block_class and (len(net.block_class) != 4 or min(net.block_class) < 1):
        problems.append(f"net_config.block_class must be [] or 4 numbers above 0, found {list(net.block_class)}")
    return [*problems, *_filters(net)]


def _filters(net: NetConfig) -> list[str]:
    if len(net.neck_filters) == 3 and min(net.neck_filters) > 0:
        return []
    return [f"net_config.neck_filters must be 3 numbers above 0, found {list(net.neck_filters)}"]


def _layout(net: NetConfig) -> list[str]:
    stacks, necks, filters, why = LAYOUTS[net.backbone]
    own_filters = net.shortcuts and net.neck in necks  # shortcuts bring the features to any number of channels
    rules: list[tuple[str, bool, Any, str]] = [
        ("num_stacks", net.num_stacks == stacks, stacks, why),
        ("neck", net.neck in necks, " or ".join(necks), why),
        ("neck_filters", own_filters or net.neck_filters == filters, list(filters), why),
        ("block_class", not net.block_class, [], "only ResNets have this setting"),
        ("stem_pool", net.stem_pool == "pad", "pad", "same is only for ResNets of the model zoo"),
    ]
    problems = [f"net_config.{name} must be {wanted} for {net.backbone}, found {plain(getattr(net, name))}: {reason}"
                for name, holds, wanted, reason in rules if not holds]
    return problems + (_filters(net) if own_filters else [])


def _evaluation(evaluation: EvalConfig, net: NetConfig) -> list[str]:
    problems, unit = [], net.size_unit
    if evaluation.keep_res and (evaluation.pad + 1) % unit:
        problems.append(f"eval_config.pad must be at least {unit - 1} for {net.title}, because its input sizes are "
                        f"multiples of {unit}; found {evaluation.pad}")
    return problems


def _training(train: TrainConfig, net: NetConfig) -> list[str]:
    problems = []
    if train.reference_batch == 0 and (train.lr_scale != "none" or train.warmup_scale):
        problems.append("train_config.lr_scale and train_config.warmup_scale need train_config.reference_batch: the "
                        "global batch size for which the learning rate and the warm-up were chosen")
    if train.SGD.nesterov and train.SGD.momentum == 0:
        problems.append("train_config.SGD.nesterov needs train_config.SGD.momentum above 0")
    if train.accumulate > 1 and net.more_positives:
        problems.append(f"train_config.accumulate must be 1 with net_config.more_positives true, found "
                        f"{train.accumulate}: how many positives a step has is known only after the forward pass of "
                        "all its images")
    if train.freeze_stages and net.backbone == "hourglass104":
        problems.append(f"train_config.freeze_stages must be 0 for hourglass104, found {train.freeze_stages}: each of "
                        "its stacks has all resolutions, and none of them is an early stage. To train it slowly, use "
                        "train_config.backbone_rate")
    return problems


def _entries(config: Config) -> list[str]:
    problems, unit = [], config.net_config.size_unit
    if any(size <= 0 or size % unit for size in config.input_res):
        problems.append(f"input_res must be positive multiples of {unit} for {config.net_config.title}, "
                        f"found {list(config.input_res)}")
    if config.resume and config.fine_tune:
        problems.append("resume and fine_tune exclude each other: resume keeps the categories of the checkpoint")
    if config.resume_changed and not config.resume:
        problems.append("resume_changed needs resume: it names what a resumed run may have changed")
    if (config.resume or config.fine_tune) and not config.load_checkpoint_path:
        problems.append("fine_tune needs --load_checkpoint_path" if config.fine_tune else
                        "resume needs a checkpoint: --resume FOLDER (of the run), or --load_checkpoint_path")
    if config.recipe == "finetune" and not (config.load_checkpoint_path or config.backbone_checkpoint):
        problems.append("recipe finetune begins with trained weights: set --load_checkpoint_path (with --fine_tune "
                        "true for other categories) or --backbone_checkpoint, or use --recipe scratch")
    if config.train_config.early_stop and not config.eval_interval:
        problems.append(f"train_config.early_stop {config.train_config.early_stop} needs evaluations: set "
                        "--eval_interval 1 and --data_dir, or train_config.early_stop 0")
    if bool(config.annotation_file) != bool(config.image_dir):
        problems.append("annotation_file and image_dir go together: set both, or set neither for the standard layout")
    if config.report and not config.enable_eval:
        problems.append("report compares detections with annotated boxes: set --enable_eval true, or --report false")
    return problems


def _precision(config: Config) -> list[str]:
    problems = []
    if config.precision != "fp32" and config.export_format != "ONNX":
        problems.append(f"precision {config.precision} is for ONNX: set --export_format ONNX (a MINDIR gets its "
                        "precision from the device that runs it)")
    if (config.precision == "int8") != bool(config.calibration_data):
        problems.append("precision int8 and calibration_data go together: int8 needs a folder of images to measure "
                        f"the range of each activation; found precision {config.precision}, calibration_data "
                        f"{config.calibration_data or 'not set'}")
    if config.precision != "fp32" and config.export_input == "uint8":
        problems.append(f"export_input uint8 is only for precision fp32, found {config.precision}: set --export_input "
                        "float32")
    if config.max_ap_drop >= 0 and config.export_format != "ONNX":
        problems.append("max_ap_drop compares fp16 or int8 with fp32, and only ONNX files have these precisions: set "
                        "--export_format ONNX, --precision and --data_dir, or do not set max_ap_drop; found "
                        f"export_format {config.export_format}")
    elif config.max_ap_drop >= 0 and (config.precision == "fp32" or not (config.data_dir or config.annotation_file)):
        problems.append("max_ap_drop compares fp16 or int8 with fp32 on annotated images: set --precision and "
                        "--data_dir, or do not set max_ap_drop")
    return problems
