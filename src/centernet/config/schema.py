"""The settings as types; keys, values, help and choices are in default_config.yaml."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetConfig:
    """Images, augmentation and normalisation; sizes are (height, width) in pixels."""

    num_classes: int
    max_objs: int
    input_res_train: tuple[int, int]
    output_res: tuple[int, int]
    input_res_test: tuple[int, int]
    rand_crop: bool
    shift: float
    scale: float
    aug_rot: float
    rotate: float
    flip_prop: float
    color_aug: bool
    heatmap_on_device: bool
    to_rgb: bool
    coco_classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    eig_val: tuple[float, float, float]
    eig_vec: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class NetConfig:
    """The network and the weights of its losses."""

    backbone: str
    block_class: tuple[int, ...]
    num_stacks: int
    down_ratio: int
    neck: str
    neck_filters: tuple[int, ...]
    head_conv: int
    stem_pool: str
    dense_hp: bool
    dense_wh: bool
    norm_wh: bool
    cat_spec_wh: bool
    reg_offset: bool
    hm_weight: float
    off_weight: float
    wh_weight: float
    mse_loss: bool
    reg_loss: str

    @property
    def size_unit(self) -> int:
        """Pixels that heights and widths of inputs must be multiples of; ResNets round up by themselves."""
        return {"dla34": 32, "dlav0_34": 32, "hourglass104": 128}.get(self.backbone, self.down_ratio)


@dataclass(frozen=True)
class AdamConfig:
    """nn.Adam beside its learning rate; the decay is L2."""

    weight_decay: float
    decay_filter: tuple[str, ...]


@dataclass(frozen=True)
class SGDConfig:
    """nn.SGD beside its learning rate; the decay is L2."""

    momentum: float
    weight_decay: float
    nesterov: bool
    decay_filter: tuple[str, ...]


@dataclass(frozen=True)
class PolyDecayConfig:
    """Polynomial decay after a linear warm-up."""

    learning_rate: float
    end_learning_rate: float
    power: float
    eps: float
    warmup_steps: int


@dataclass(frozen=True)
class MultiDecayConfig:
    """Division by a factor after given epochs, after a linear warm-up."""

    learning_rate: float
    eps: float
    warmup_steps: int
    multi_epochs: tuple[int, ...]
    factor: float


@dataclass(frozen=True)
class TrainConfig:
    """Batch, loss scale, optimizer and schedule."""

    batch_size: int
    loss_scale_value: float
    loss_scale_mode: str
    loss_scale_window: int
    max_skipped_steps: int
    grad_clip: float
    optimizer: str
    lr_schedule: str
    lr_scale: str
    reference_batch: int
    warmup_scale: bool
    Adam: AdamConfig
    SGD: SGDConfig
    PolyDecay: PolyDecayConfig
    MultiDecay: MultiDecayConfig


@dataclass(frozen=True)
class EvalConfig:
    """Test-time resolution, scales, flip, and what follows the decode."""

    SOFT_NMS: bool
    keep_res: bool
    pad: int
    multi_scales: tuple[float, ...]
    flip_test: bool
    K: int
    score_thresh: float
    batch_size: int


@dataclass(frozen=True)
class Config:
    """All settings; the keys and their meaning are those of default_config.yaml."""

    enable_modelarts: bool
    data_url: str
    train_url: str
    checkpoint_url: str
    data_path: str
    output_path: str
    load_path: str
    download_timeout: int
    device_target: str
    device_id: int
    seed: int
    log_file: str
    coco_data_dir: str
    mindrecord_dir: str
    mindrecord_prefix: str
    annotation_file: str
    image_dir: str
    shard_num: int
    keep_empty: bool
    strict: bool
    distribute: bool
    device_num: int
    need_profiler: bool
    profiler_path: str
    epoch_size: int
    train_steps: int
    do_shuffle: bool
    enable_lossscale: bool
    enable_data_sink: bool
    data_sink_steps: int
    enable_save_ckpt: bool
    save_checkpoint_path: str
    load_checkpoint_path: str
    resume: bool
    fine_tune: bool
    backbone_checkpoint: str
    save_checkpoint_steps: int
    save_checkpoint_num: int
    save_result_dir: str
    num_workers: int
    eval_interval: int
    data_dir: str
    run_mode: str
    visual_image: bool
    enable_eval: bool
    export_load_ckpt: str
    export_format: str
    export_name: str
    export_decode: bool
    export_deform: str
    export_batch_size: int
    input_res: tuple[int, ...]
    precision: str
    calibration_data: str
    calibration_images: int
    calibration_method: str
    calibration_percentile: float
    quantize_first_layer: bool
    quantize_heads: bool
    quantize_reduce_range: bool
    max_ap_drop: float
    source: str
    input: str
    output: str
    reverse: bool
    category_file: str
    model_path: str
    backend: str
    image: str
    val_data_dir: str
    predict_dir: str
    result_path: str
    meta_path: str
    label_path: str
    save_path: str
    dataset_config: DatasetConfig
    net_config: NetConfig
    train_config: TrainConfig
    eval_config: EvalConfig
    preset: str  # name of the overlay file without suffix; "" for the defaults
