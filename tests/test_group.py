import pytest

from centernet.errors import UserError
from centernet.group import ALONE, SHORTEST, gather, padded_words, require_agreement
from tests.threads_as_ranks import together


@pytest.mark.parametrize("length, words", [(0, 0), (1, SHORTEST), (4 * SHORTEST, SHORTEST),
                                           (4 * SHORTEST + 1, 2 * SHORTEST), (4 * 5000, 8192), (4 * 8192, 8192)])
def test_a_message_has_a_power_of_two_of_words(length, words):
    assert padded_words(length) == words


@pytest.mark.parametrize("size", [2, 3])
def test_messages_of_any_length_need_few_shapes(monkeypatch, size):
    """Each shape is one compilation on the device."""
    lengths = [*range(9), 1000, 1001, 4095, 4096, 4097, 30_000, 30_001, 30_004, 50_000, 65_536]
    sent = [[bytes([rank + 1]) * (length * (rank + 1) // size) for rank in range(size)] for length in lengths]
    received, shapes = together(monkeypatch, size, lambda group: [gather(parts[group.rank], group) for parts in sent])
    assert received == [sent] * size
    assert shapes == {1, SHORTEST, 2 * SHORTEST, 8192, 16384}


def test_alone_nothing_is_sent():
    assert gather(b"abc", ALONE) == [b"abc"]


def test_every_rank_learns_of_a_difference(monkeypatch):
    found, _ = together(monkeypatch, 2, lambda group: require_agreement({"--seed": group.rank}, group))
    assert all(isinstance(error, UserError) and "--seed is 0 on rank 0 and 1 on rank 1" in str(error)
               for error in found)
