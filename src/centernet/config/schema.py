"""Declarations of all settings, together with sections.py.

To add a setting, write its field and run `python -m tools.default_config`. This adds it to default_config.yaml.
"""
from __future__ import annotations

from dataclasses import dataclass, field

from centernet.config.sections import DatasetConfig, EvalConfig, NetConfig, TrainConfig
from centernet.config.setting import (
    COMPUTING,
    ENTRIES,
    NOT_NEGATIVE,
    POSITIVE,
    REQUIRED,
    UNLESS_FILES,
    Limits,
    Use,
    each,
    loads,
    reads,
    section,
    setting,
    writes,
)

__all__ = ["Config", "DatasetConfig", "EvalConfig", "NetConfig", "TrainConfig"]


@dataclass(frozen=True)
class Config:
    """The settings of all entries. default_config.yaml has explanations that do not fit on one line."""

    enable_modelarts: bool = setting(False, "run as a ModelArts job: copy inputs from and results to the object store",
                                     ENTRIES)
    data_url: str = setting("", "ModelArts: the data set's location in the object store", ENTRIES)
    train_url: str = setting("", "ModelArts: where results go in the object store", ENTRIES)
    checkpoint_url: str = setting("", "ModelArts: the checkpoint's location in the object store", ENTRIES)
    data_path: str = setting("/cache/data", "ModelArts: local folder that data_url is copied to", ENTRIES)
    output_path: str = setting("/cache/train", "ModelArts: local folder that is copied to train_url", ENTRIES)
    load_path: str = setting("/cache/checkpoint_path", "ModelArts: local folder that checkpoint_url is copied to",
                             ENTRIES)
    download_timeout: int = setting(3600, "ModelArts: seconds to wait for another process of this server that copies "
                                    "the inputs", ENTRIES, limits=POSITIVE)

    # Every entry.
    device_target: str = setting("Ascend", "device that the code runs on", ENTRIES, choices=("Ascend", "CPU"))
    device_id: int = setting(0, "number of the Ascend device, from 0 among those that the process sees", ENTRIES,
                             limits=NOT_NEGATIVE)
    seed: int = setting(317, "random seed of initial weights, shuffling and augmentation", ENTRIES,
                        limits=NOT_NEGATIVE)
    log_file: str = setting("", "also write log lines to this file", ENTRIES)
    max_image_pixels: int = setting(128_000_000, "largest number of pixels of an image file; the header is checked "
                                    "before the image is decoded",
                                    ["dataset", "train", "eval", "export", "preprocess", "infer",
                                     "import_dataset", "check_data"], limits=POSITIVE)
    jit_level: str = setting("auto", "MindSpore's level of graph compilation; auto: its own choice for the device",
                             COMPUTING, choices=("auto", "O0", "O1", "O2"))
    deterministic: bool = setting(False, "use only kernels and collectives of Ascend that repeat their results bit for "
                                  "bit; slower", COMPUTING)
    exact_fp32: bool = setting(False, "for comparisons: Ascend computes products of float32 in float32, not in HF32 "
                               "(10 bits of mantissa); slower", COMPUTING)

    # Import of a data set.
    source_dir: str = setting("", "data set to import: its folder, or a CSV file",
                              {"import_dataset": reads("", alias="data", need=REQUIRED)})
    import_dir: str = setting("", "folder for annotations/imported_train.json, ... and a link to the images; "
                              "without it: the folder of the data set", {"import_dataset": writes("", alias="out")})
    data_format: str = setting("auto", "layout of the data set; auto: the one that fits", ["import_dataset"],
                               choices=("auto", "voc", "yolo", "coco", "labelme", "csv"))
    classes: tuple[str, ...] = setting((), "only these classes. import-dataset: names in the new order; images without "
                                       "them stay as background. infer: names or COCO ids. []: all",
                                       ["import_dataset", "infer"])
    splits: tuple[str, ...] = setting((), "which split becomes which, such as train=trainval val=test; empty: by the "
                                      "usual names", ["import_dataset"])
    val_share: float = setting(0.0, "divide the images anew: this share is for evaluation; 0: as the data set says",
                               ["import_dataset"], limits=Limits("be at least 0 and below 1, such as 0.2",
                                                                 lambda value: 0 <= value < 1))
    group_by: str = setting("", "with val_share: keep images together that have the same folder (the word folder), or "
                            "the same text of a regular expression in their names, such as ^[^_]+",
                            ["import_dataset"])

    # Conversion of a data set, and settings that other entries share with it.
    coco_data_dir: str = setting("", "COCO data set: annotations/instances_train2017.json and train2017/",
                                 {"dataset": reads("", alias="data", need=UNLESS_FILES)})
    mindrecord_dir: str = setting("", "folder of the MindRecord shards",
                                  {"dataset": writes("", alias="out", need=REQUIRED),
                                   "train": reads("", alias="data", need=REQUIRED)})
    mindrecord_prefix: str = setting("coco_det.train.mind", "prefix of the shards' file names", ["dataset", "train"])
    annotation_file: str = setting(
        "", "COCO-format annotation file of a data set in your own layout (with --image_dir)",
        {**each(reads(), "dataset", "train", "eval", "preprocess", "check_data"), "export": Use()})
    image_dir: str = setting("", "folder of the images that annotation_file names (with --annotation_file)",
                             {**each(reads(), "dataset", "train", "eval", "preprocess", "check_data"), "export": Use()})
    shard_num: int = setting(8, "number of MindRecord shards", ["dataset"], limits=POSITIVE)
    keep_empty: bool = setting(False, "keep images without boxes as background examples", ["dataset"])
    allow_outside: bool = setting(False, "read images whose file_name leads out of the image folder (absolute, or ..)",
                                  ["dataset", "train", "eval", "export", "preprocess", "import_dataset",
                                   "check_data"])
    strict: bool = setting(False, "treat every defect of the data set as an error",
                           ["dataset", "train", "eval", "preprocess", "postprocess", "export",
                            "import_dataset", "check_data"])

    # Training, and settings that other entries share with it.
    distribute: bool = setting(True, "train or evaluate with all processes that a launcher started",
                               ["train", "eval"])
    device_num: int = setting(1, "number of devices", ["train", "eval"], limits=POSITIVE)
    need_profiler: bool = setting(False, "write a profile of a few training steps", ["train"])
    profiler_path: str = setting("", "folder of the profile", {"train": writes()})
    epoch_size: int = setting(1, "number of epochs", ["train"], limits=POSITIVE)
    train_steps: int = setting(-1, "stop after this number of steps; -1: stop after epoch_size epochs", ["train"],
                               limits=Limits("be -1 (train for epoch_size epochs) or greater than 0",
                                             lambda value: value == -1 or value > 0))
    recipe: str = setting("none", "let the number of images decide epochs, warm-up, drops and scaling of the learning "
                          "rate: finetune (from weights), scratch, or none: as configured. Flags win over the recipe",
                          ["train"], choices=("none", "finetune", "scratch"))
    do_shuffle: bool = setting(True, "shuffle the images in each epoch", ["train"])
    enable_lossscale: bool = setting(True, "scale the loss, and skip steps whose gradients overflow", ["train"])
    enable_data_sink: bool = setting(False, "send the batches through MindSpore's queue on the device; only on Ascend, "
                                     "and nobody has run it there yet. False: threads prefetch them", ["train"])
    data_sink_steps: int = setting(1, "no effect: each step is one call, because the log has a line of each step",
                                   ["train"], limits=POSITIVE)
    enable_save_ckpt: bool = setting(True, "save checkpoints", ["train"])
    save_checkpoint_path: str = setting("", "folder of the checkpoints",
                                        {"train": writes("checkpoints", alias="out")})
    load_checkpoint_path: str = setting(
        "", "checkpoint to start from (train); checkpoint or exported model to evaluate (eval)",
        {"train": loads(".ckpt", alias="model"), "eval": loads(".ckpt", alias="model", need=REQUIRED)})
    weights: str = setting("ema", "weights of a checkpoint that has an average of its weights (ema_decay): ema, the "
                           "average, or raw, those of the last step", ["train", "eval", "export", "infer",
                                                                       "convert_weights"], choices=("ema", "raw"))
    resume: bool = setting(False, "resume the training exactly where load_checkpoint_path stopped; or --resume FOLDER "
                           "of a run", ["train"])
    resume_changed: tuple[str, ...] = setting((), "with resume: what differs from the earlier run on purpose, such "
                                              "as learning_rate or epoch_size", ["train"])
    fine_tune: bool = setting(False, "start from a checkpoint with other categories: load all weights except the hm "
                              "head", ["train"])
    backbone_checkpoint: str = setting("", "checkpoint with ImageNet weights of the backbone",
                                       {"train": loads(".ckpt")})
    partial_backbone: bool = setting(False, "start although backbone_checkpoint lacks parameters of the backbone: they "
                                     "keep random values", ["train"])
    save_checkpoint_steps: int = setting(1000, "save a checkpoint every N steps", ["train"], limits=POSITIVE)
    save_checkpoint_num: int = setting(1, "how many checkpoints to keep", ["train"], limits=POSITIVE)
    save_result_dir: str = setting(
        "", "folder of results: predictions, metrics, images with boxes, plots",
        {"train": writes(), **each(writes("results", alias="out"), "eval", "infer"),
         "check_data": writes("data_check", alias="out")})
    num_workers: int = setting(0, "threads of the input pipeline; 0: on Ascend half of this process's CPU cores, at "
                               "most 8, on CPU 2", ["train", "eval", "export"], limits=NOT_NEGATIVE)
    eval_interval: int = setting(0, "evaluate on data_dir every N epochs and after the last step, and keep the best "
                                    "checkpoint; 0: never", ["train"], limits=NOT_NEGATIVE)

    log_format: str = setting("auto", "lines on the console: one for each step in the model zoo's form (modelzoo), one "
                              "for each epoch (epochs), or auto: epochs on a terminal, else modelzoo. log_file always "
                              "has those of modelzoo", ["train"], choices=("auto", "modelzoo", "epochs"))
    tracker: str = setting("none", "also send the log to TensorBoard (event files in the result folder) or MLflow; "
                           "needs the package", ["train"], choices=("none", "tensorboard", "mlflow"))

    # Evaluation.
    data_dir: str = setting("", "COCO data set to evaluate: annotations/ and val2017/ (or test2017/)",
                            {"train": reads(), "export": Use(),
                              **each(reads("", alias="data", need=UNLESS_FILES), "eval", "check_data")})
    run_mode: str = setting("val", "val: the validation images; test: the test images. Without boxes, a test set "
                            "gives a file for upload to COCO's server instead of an AP", ["eval"],
                            choices=("val", "test"))
    visual_image: bool = setting(False, "draw predictions and ground truth on the images", ["eval"])
    enable_eval: bool = setting(True, "compute AP after detection", ["eval"])
    report: bool = setting(False, "write report.html: curves, confusion matrix, errors by type, best and worst images",
                           ["eval"])

    # Export.
    export_load_ckpt: str = setting("", "checkpoint to export",
                                    {"export": loads(".ckpt", alias="model", need=REQUIRED)})
    export_format: str = setting("MINDIR", "format of the exported model", ["export"], choices=("MINDIR", "ONNX"))
    export_name: str = setting("centernet_resnet50", "path of the exported model without suffix",
                               {"export": writes("centernet", alias="out")})
    export_decode: bool = setting(True, "output detections (B, K, 6); false: the maps hm, wh, reg or hm, ltrb",
                                  ["export"])
    export_deform: str = setting("native", "form of deformable layers: the framework's operator (native), or common "
                                 "operators that every runtime has (gather)", ["export"],
                                 choices=("native", "gather"))
    export_input: str = setting("float32", "input of the exported model: normalised images (float32), or BGR images "
                                "(B, H, W, 3) that its graph normalises (uint8: a quarter of the bytes)", ["export"],
                                choices=("float32", "uint8"))
    export_batch_size: int = setting(1, "fixed batch size of the exported model; 0: any batch size (ONNX only)",
                                     ["export"], limits=NOT_NEGATIVE)
    export_tolerance: float = setting(
        1e-3, "largest allowed difference of the exported model's output from the checkpoint's, as a fraction of the "
        "largest output, see docs/onnx.md", ["export"], limits=Limits(
            "be greater than 0 and at most 0.1", lambda value: 0 < value <= 0.1))
    input_res: tuple[int, ...] = setting((), "fixed height and width of the exported model", ["export"], limits=Limits(
        "be a height and a width", lambda size: len(size) in (0, 2)))
    precision: str = setting("fp32", "precision of an ONNX model's weights and feature maps; heads' last layers and "
                             "decoding stay fp32", ["export"], choices=("fp32", "fp16", "int8"))
    calibration_data: str = setting("", "int8: folder of images similar to those of the application; no annotations "
                                    "are needed", ["export"])
    calibration_images: int = setting(64, "int8: number of images of calibration_data to use, evenly spaced",
                                      ["export"], limits=POSITIVE)
    calibration_method: str = setting(
        "minmax", "int8: range of activations: full range (minmax), clipped by KL divergence (kl), or clipped at a "
        "percentile", ["export"], choices=("kl", "minmax", "percentile"))
    calibration_percentile: float = setting(
        99.99, "int8, calibration_method percentile: percentage of non-zero absolute values to keep", ["export"],
        limits=Limits("be greater than 0 and at most 100", lambda value: 0 < value <= 100))
    quantize_first_layer: bool = setting(False, "int8: also quantise the first convolution", ["export"])
    quantize_heads: bool = setting(False, "int8: also quantise the convolutions of the heads", ["export"])
    quantize_reduce_range: bool = setting(False, "int8: use 7 bits for weights, so that sums do not saturate on x86 "
                                          "processors without VNNI", ["export"])
    max_ap_drop: float = setting(
        -1.0, "fp16, int8: largest allowed loss of AP on data_dir against fp32; otherwise no model is written; -1: do "
        "not measure the AP", ["export"],
        limits=Limits("be between 0 and 1 (0.005 is half a point of AP), or -1 (off)",
                      lambda value: value == -1 or 0 <= value <= 1))

    # Conversion of weights.
    source: str = setting(
        "official", "origin of the weights: the paper's code (official), mmdetection, torchvision (ImageNet, ResNets), "
        "the DLA repository (ImageNet), ExtremeNet (Hourglass), the model zoo's centernet_resnet50_v1",
        ["convert_weights"],
        choices=("official", "mmdet", "torchvision", "dla", "extremenet", "modelzoo"))
    input: str = setting("", "weights to convert: .pth, .safetensors or .ckpt",
                         {"convert_weights": loads(".pth", ".pt", ".safetensors", ".ckpt", alias="model",
                                                  need=REQUIRED)})
    output: str = setting("", "file to write: a checkpoint (.ckpt), or with --reverse true a file of the source",
                          {"convert_weights": writes("centernet.ckpt", alias="out", need=REQUIRED)})
    reverse: bool = setting(False, "convert a checkpoint of this program to the source's format (.pth, .safetensors; "
                            "modelzoo: .ckpt)", ["convert_weights"])
    category_file: str = setting("", "COCO-format annotation file with the categories of the weights, if they are not "
                                 "dataset_config.coco_classes", {"convert_weights": reads()})

    # Preparation, inference and its evaluation. eval.py also has backend.
    model_path: str = setting(
        "", "model to run: .ckpt, or .mindir or .onnx with its manifest (NAME.json, NAME.onnx.json) beside it",
        {**each(loads(".mindir", alias="model", need=REQUIRED), "preprocess", "postprocess"),
         "infer": loads(".mindir", ".ckpt", alias="model", need=REQUIRED)})
    backend: str = setting("auto", "runtime for the model: mindspore (.ckpt), mindir (.mindir), onnx (.onnx or .ckpt), "
                           "or auto: the fastest (docs/onnx.md)", ["eval", "infer"],
                           choices=("auto", "mindspore", "mindir", "onnx"))
    image: tuple[str, ...] = setting((), "images or videos: files, folders, glob patterns, lists of paths (.txt), the "
                                     "number of a camera, or the URL of a stream", {
                                         "infer": reads(alias="data", need=REQUIRED + ", or --predict_dir")})
    recursive: bool = setting(False, "also take the images in subfolders", ["infer"])
    nms: str = setting("auto", "treatment of boxes that overlap: none, or soft-NMS with this weighting; hard removes "
                       "them; auto: gaussian if eval_config.SOFT_NMS, otherwise none", ["infer"],
                       choices=("auto", "none", "hard", "linear", "gaussian"))
    tile: int = setting(0, "detect in square tiles with this side in pixels, for small objects in large images; 0: no "
                        "tiles", ["infer"], limits=Limits("be 0 or at least 32", lambda value: not 0 != value < 32))
    overlap: float = setting(0.2, "tile: share of a tile's side that the next tile repeats", ["infer"],
                             limits=Limits("be at least 0 and at most 0.9", lambda value: 0 <= value <= 0.9))
    max_frames: int = setting(0, "stop after this number of frames of each video or camera; 0: at its end", ["infer"],
                              limits=NOT_NEGATIVE)
    result_formats: tuple[str, ...] = setting(
        ("json",), "files of detections: json (always written), csv, coco (an annotation file with scores)", ["infer"],
        limits=Limits("be some of json, csv, coco", lambda formats: set(formats) <= {"json", "csv", "coco"}))
    val_data_dir: str = setting("", "COCO data set to preprocess",
                                {"preprocess": reads("", alias="data", need=UNLESS_FILES)})
    predict_dir: str = setting("", "folder of preprocessed inputs: written by preprocess, read by infer",
                               {"preprocess": writes("prepared", alias="out", need=REQUIRED), "infer": reads()})
    aipp: bool = setting(False, "write uint8 BGR images instead of normalised ones, for a .om that "
                         "scripts/convert_om.sh converted with --aipp", ["preprocess"])
    result_path: str = setting("", "folder of the model's raw output, one file per image",
                               {"infer": writes("result_Files"),
                                "postprocess": reads("result_Files", alias="data", need=REQUIRED)})
    meta_path: str = setting("", "folder meta that preprocess wrote: how each image was transformed",
                             {"postprocess": reads("meta", need=REQUIRED)})
    label_path: str = setting("", "annotation file to evaluate with", {"postprocess": reads()})
    save_path: str = setting("", "folder of the final results; without it: results_310",
                             {"postprocess": writes("", alias="out")})

    dataset_config: DatasetConfig = section(DatasetConfig, ["train", "eval", "export", "convert_weights", "check_data"])
    net_config: NetConfig = section(NetConfig, ["train", "eval", "export", "convert_weights", "check_data"])
    train_config: TrainConfig = section(TrainConfig, ["train"])
    eval_config: EvalConfig = section(EvalConfig, ["train", "eval", "export", "infer", "postprocess"])

    # Not settings: load_config derives them. Name of the file of --config_path without suffix, "" for the defaults; the
    # flags of this call; and all settings that this file or a flag names. A checkpoint's record decides the others
    # (weights/load.py).
    preset: str = ""
    given: tuple[str, ...] = field(default=(), compare=False, repr=False)
    named: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def sinks_data(self) -> bool:
        """Whether the batches of a training go through MindSpore's queue on the device. A CPU has no such queue."""
        return self.enable_data_sink and self.device_target == "Ascend"
