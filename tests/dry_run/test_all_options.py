"""Every preset and every option compiles for Ascend: minutes, not seconds."""
import pytest
from operators import PLUS, SMALL, golden, kernels
from tiny_coco import edit, make_coco, make_shards
from tiny_model import tiny_checkpoint

from centernet.config.load import PRESETS, load_config

pytestmark = pytest.mark.slow

PRESET_NAMES = sorted(path.stem for path in PRESETS.glob("*.yaml"))
SIZE = (*SMALL, "--dataset_config.input_res_train", "128", "128")  # what every network takes
SHORTCUT = ("--dataset_config.input_res_test", "64", "64", "--net_config.neck")
# Name of a training option -> its flags. A new option of the training graph is one more line.
TRAINING = {
    "float32": ("--train_config.amp_level", "O0"),
    "bfloat16": ("--train_config.amp_level", "O2", "--train_config.amp_type", "bfloat16"),
    "float32, deformable operator": ("--train_config.amp_level", "O0", "--net_config.deform_op", "native"),
    "accumulation": ("--train_config.accumulate", "2"),
    "deformable operator": ("--net_config.deform_op", "native"),
    "Adam with weight decay": ("--train_config.Adam.weight_decay", "0.0001"),
    "average of the weights": ("--train_config.ema_decay", "0.9998"),
    "SGD": ("--train_config.optimizer", "SGD"),
    "SGD with the backbone's rate": ("--train_config.optimizer", "SGD", "--train_config.backbone_rate", "0.1"),
    "AdamW": ("--train_config.optimizer", "AdamW"),
    "AdamW with the backbone's rate": ("--train_config.optimizer", "AdamW", "--train_config.backbone_rate", "0.1"),
    "Adam with the backbone's rate": ("--train_config.backbone_rate", "0.1"),
    "frozen stages in float16": ("--train_config.freeze_stages", "2", "--train_config.amp_level", "O2"),
    "all stages frozen": ("--train_config.freeze_stages", "4"),
    "SGD with Nesterov's momentum": ("--train_config.optimizer", "SGD", "--train_config.SGD.nesterov", "true"),
    "gradient clipping": ("--train_config.grad_clip", "35"),
    "static loss scale": ("--train_config.loss_scale_mode", "static"),
    "no loss scale": ("--enable_lossscale", "false"),
    "polynomial decay": ("--train_config.lr_schedule", "PolyDecay"),
    "cosine decay": ("--train_config.lr_schedule", "CosineDecay"),
    "mean squared error": ("--net_config.mse_loss", "true"),
    "smooth L1": ("--net_config.reg_loss", "sl1"),
    "norm_wh": ("--net_config.norm_wh", "true"),
    "dense_wh": ("--net_config.dense_wh", "true"),
    "cat_spec_wh": ("--net_config.cat_spec_wh", "true"),
    "no offset": ("--net_config.reg_offset", "false"),
    "ltrb": ("--net_config.box_head", "ltrb", "--net_config.hm_gaussian", "ellipse"),
    "ltrb in float16": ("--net_config.box_head", "ltrb", "--train_config.amp_level", "O2"),
    "ltrb and more positives": ("--net_config.box_head", "ltrb", "--net_config.more_positives", "true"),
    "IoU score": ("--net_config.box_head", "ltrb", "--net_config.iou_score", "true"),
    "IoU score in float16": ("--net_config.box_head", "ltrb", "--net_config.iou_score", "true",
                             "--train_config.amp_level", "O2"),
    "ltrb and accumulation": ("--net_config.box_head", "ltrb", "--train_config.accumulate", "2"),
    "no head_conv": ("--net_config.head_conv", "0"),
    "plain neck": ("--net_config.neck", "conv"),
    "no neck": ("--net_config.neck", "none"),
    "neck with shortcuts": (*SHORTCUT, "shortcut"),
    "neck with shortcuts, deformable": (*SHORTCUT, "shortcut_deform"),
    "neck with shortcuts, bfloat16": (*SHORTCUT, "shortcut", "--train_config.amp_level", "O2",
                                      "--train_config.amp_type", "bfloat16"),
    "pooling of the model zoo": ("--net_config.stem_pool", "same"),
    "heatmaps from the host": ("--dataset_config.heatmap_on_device", "false"),
    "RGB": ("--dataset_config.to_rgb", "true"),
}
COMMANDS = {
    "eval at one size": ("eval", "--eval_config.keep_res", "false", "--dataset_config.input_res_test", "64", "64"),
    "eval with mirrored images": ("eval", "--eval_config.flip_test", "true"),
    "eval at several scales": ("eval", "--eval_config.multi_scales", "0.5", "1"),
    "export of gathers": ("export", "--export_deform", "gather"),
    "export of maps": ("export", "--export_decode", "false"),
    "export of distances": ("plus_export", "--eval_config.flip_test", "true"),
    "export of a batch": ("export", "--export_batch_size", "4"),
}


def require_compiled(done):
    assert done.returncode == 0, done.stderr
    found = kernels(done.stdout)
    assert found and {kind for _, kind in found} <= {"aclnn", "aclop", "runtime", "hccl", "view"}
    return found


@pytest.mark.parametrize("name", TRAINING)
def test_training_options(name, compiled):
    require_compiled(compiled("step", *TRAINING[name]))


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name, compiled):
    command, *flags = COMMANDS[name]
    require_compiled(compiled(command, *flags))


@pytest.mark.parametrize("command, flag", [("plus_eval", "--load_checkpoint_path"),
                                           ("plus_export", "--export_load_ckpt")])
def test_scores_with_the_iou(command, flag, compiled, tmp_path):
    net = ("--net_config.iou_score", "true")
    tiny_checkpoint(tmp_path / "iou.ckpt", load_config("export", [*PLUS, *net, "--device_target", "CPU"], ""))
    found = require_compiled(compiled(command, *net, flag, str(tmp_path / "iou.ckpt")))
    assert {("Abs", "aclnn"), ("Exp", "aclnn"), ("Log", "aclnn")} <= set(found)


def test_the_queue_of_the_device_is_in_the_graph_and_evaluations_do_not_compile_the_step_again(compiled):
    found = require_compiled(compiled("train", "--enable_data_sink", "true", "--train_steps", "4", "--epoch_size", "2",
                                      "--eval_interval", "1"))
    assert found["GetNext", "aclop"] == found["AllFinite", "aclnn"] == 1


@pytest.mark.parametrize("flags", [(), ("--net_config.mse_loss", "true"), ("--net_config.dense_wh", "true")],
                         ids=["focal loss", "mse_loss", "dense_wh"])
def test_ignored_regions(flags, compiled, tmp_path):
    """Only data with such boxes has their mask in the graph."""
    path = make_coco(tmp_path, num_images=4)
    edit(path, lambda document: document["annotations"][0].update(iscrowd=1))
    done = compiled("train", *flags, "--train_steps", "1", "--mindrecord_dir", str(make_shards(tmp_path)))
    assert ("Ceil", "aclnn") in require_compiled(done)


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_presets(preset, compiled_alone):
    found = require_compiled(compiled_alone("step", "--config_path", preset, *SIZE))
    assert ("Gather", "aclop") in found or "dcn" not in preset


@pytest.mark.parametrize("devices", [2, 8])
def test_several_devices(devices, compiled):
    found = require_compiled(compiled("step", words=("--devices", str(devices))))
    assert found["AllReduce", "hccl"] == 2, "one message of the losses' counts, one of everything else"


def test_the_list_is_that_of_the_whole_default_network(compiled_alone):
    """The fast tests compare the list with a small network."""
    found = set(require_compiled(compiled_alone("step")))
    assert golden() is None or found == golden()["train"]
