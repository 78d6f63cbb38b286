"""CenterNet ("Objects as Points") on MindSpore: train on Ascend, deploy as MINDIR, test on CPU."""

__version__ = "0.2.0"
