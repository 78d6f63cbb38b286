"""A stand-in for Huawei's moxing with its effects on files: obs://bucket/key is $FAKE_OBS/bucket/key.

Beside the files it appends one line a call to $FAKE_OBS/calls.log. Wishes of a test, in environment variables:
FAKE_MOXING_DIE=1 kills the copying process in the middle of its first download, FAKE_MOXING_SLEEP=seconds makes
each file last that long, FAKE_MOXING_REFUSE=bucket/key fails to make folders there, FAKE_MOXING_REFUSE_COPY=bucket/key
to copy anything there.
"""
from moxing import file

__all__ = ["file"]
