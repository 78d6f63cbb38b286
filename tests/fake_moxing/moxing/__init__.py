"""A stand-in for Huawei's moxing with its effects on files: obs://bucket/key is $FAKE_OBS/bucket/key.

Beside the files it appends one line a call to $FAKE_OBS/calls.log. Wishes of a test, in environment variables:
FAKE_MOXING_DIE=1 kills the copying process in the middle of its first download, FAKE_MOXING_SLEEP=seconds makes
each copy last that long, FAKE_MOXING_REFUSE=bucket lets every write to that bucket fail.
"""
from moxing import file

__all__ = ["file"]
