from centernet.device import set_up_device


def test_the_compiler_cache_is_warned_of(monkeypatch, caplog):
    set_up_device("CPU", 0, seed=1)
    assert not caplog.records
    monkeypatch.setenv("MS_COMPILER_CACHE_ENABLE", "1")
    set_up_device("CPU", 0, seed=1)
    assert "MS_COMPILER_CACHE_ENABLE is set" in caplog.text
