"""The training step that is compared with PyTorch's."""
from benchmarks.training_step import build_step
from tests.tiny_training import settings


def test_the_step_is_built_with_all_settings_of_train():
    layers = [parameter.name for parameter in
              build_step(settings("--train_config.freeze_stages", "1")).loss_network.trainable_params()]
    assert any("layer2" in name for name in layers) and not any("layer1" in name for name in layers)
