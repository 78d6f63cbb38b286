"""A stand-in for CANN, and commands to compile with it."""
import pytest
from operators import command_of, prepare, script

from centernet.errors import UserError
from tools.ascend_stub.library import build


@pytest.fixture(scope="session")
def cann(tmp_path_factory):
    """The folder of the stand-in for CANN."""
    try:
        return build(tmp_path_factory.mktemp("stub"))
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def compiled(cann, tmp_path_factory):
    """Runs dry_run_ascend.sh: compiled("plus_eval", *more flags) returns the finished process."""
    folder = tmp_path_factory.mktemp("dry run")
    flags = prepare(folder)

    def run(graph, *more, words=()):
        done = script(cann, *words, command_of(graph), *flags[graph], *more, folder=folder)
        assert not (folder / "execute_order").exists() and not (folder / "offload").exists()
        return done
    return run


@pytest.fixture(scope="session")
def compiled_alone(cann, tmp_path_factory):
    """The same, without any flags but those that are given."""
    folder = tmp_path_factory.mktemp("empty")
    return lambda command, *flags: script(cann, command, *flags, folder=folder)
