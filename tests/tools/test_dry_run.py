"""The report of a dry run and the mistakes of its user; what compiles is tested in tests/dry_run."""
import pytest

from tools.ascend_stub.library import macro_of
from tools.ascend_stub.symbols import RUN_TIME_NAME
from tools.dry_run import command_words, main, read_report, show

LINE = "[INFO] DEVICE(1,7f,python):2026-11-28-00:13:04 [mindspore/a.cc:1] "
LOG = "".join(f"{LINE}{text}\n" for text in (
    "GenerateKernelMod] kernel opname:Cast, kernel type:opapi_kernel",
    "GenerateKernelMod] kernel opname:Adam, kernel type:acl_kernel",
    "GenerateKernelMod] kernel opname:Adam, kernel type:acl_kernel",
    "GenerateKernelMod] kernel opname:New, kernel type:new_kernel"))
STDERR = """[CRITICAL] ME(1:2,MainProcess):2026-11-28 [mindspore/b.py:351] MindSpore relies on whl package "te"
[WARNING] DEVICE(1,7f,python):2026-11-28 [mindspore/c.cc:271] DeInitialize] statistics:
Device MOC memory size: 65536M
MindSpore Used memory size: 61430M
Used peak memory usage (without fragments): 76M
Actual peak memory usage (with fragments): 94M

error: a message for the user
"""
ADAPTER = ("The current operator needs to be supplemented with an adapter, please check in `transform` directory. node "
           "is Default/loss/Median-op0\n")
BACKOFF = "Backoff and rebuild kernel on CPU successfully for node: Default/Median-op3, node attr: input[None]\n"


def test_report_of_the_logs(capsys):
    report = read_report(0, LOG, STDERR)
    assert report.kernels == {("Cast", "aclnn"): 1, ("Adam", "aclop"): 2, ("New", "new_kernel"): 1}
    assert report.peak == 94 and report.messages == "error: a message for the user\n" and not report.without_kernel
    assert show(report) == 0
    assert "Adam                    aclop         2\n" in (printed := capsys.readouterr().out)
    assert "4 kernels, simulated peak memory: 94 MiB" in printed


@pytest.mark.parametrize("status, log, errors, message", [
    (1, LOG, f"RuntimeError: {ADAPTER}", "no kernel for Ascend: Default/loss/Median. MindSpore would run this on the"),
    (0, LOG + LINE + BACKOFF, "", "no kernel for Ascend: Default/Median. "),
    (1, LOG, "", "the command ended with status 1"), (-11, LOG, "", "the command ended with status -11"),
    (0, "", "", "nothing was compiled for Ascend")])
def test_what_cannot_run_on_ascend_has_status_1(status, log, errors, message, capsys):
    assert show(read_report(status, log, errors)) == 1
    assert f"error: {message}" in capsys.readouterr().err


def test_outputs_of_the_user_are_not_touched(tmp_path):
    """The last of equal flags counts."""
    for command, flag in (("train", "--save_checkpoint_path"), ("train", "--save_result_dir"),
                          ("eval", "--save_result_dir"), ("export", "--export_name")):
        words = command_words(command, [flag, "/mine"], tmp_path)
        assert words.index(flag) < len(words) - 1 - words[::-1].index(flag)
        assert words[-words[::-1].index(flag)].startswith(str(tmp_path))
        assert words.count("Ascend") == 1


@pytest.mark.parametrize("words, message", [(["--devices", "2", "train"], "--devices 2: it must be above 0, and above"),
                                            (["--devices", "0", "step"], "--devices 0"),
                                            (["step"], "is /nowhere, but there is no lib64/libascendcl.so")])
def test_mistakes(words, message, monkeypatch, capsys):
    monkeypatch.setenv("ASCEND_HOME_PATH", "/nowhere")
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_missing_programs_are_named(monkeypatch, capsys):
    for variable in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", "")
    assert main(["step"]) == 2
    assert "error: g++, nm, readelf, c++filt: not installed" in capsys.readouterr().err


@pytest.mark.parametrize("name, macro", [
    ("aclrtMalloc", "RETURNS_ZERO"), ("ge::Graph::AddOp(ge::Operator const&)", "RETURNS_ZERO"),
    ("ge::StatusFactory::Instance()", "RETURNS_MAP"), ("ge::Shape::GetDims() const", "RETURNS_OBJECT"),
    ("ge::OperatorCreatorRegister::OperatorCreatorRegister(char const*)", "RETURNS_ZERO"),
    ("ge::Operator::Operator(char const*)", "CLEARS_POINTER_BEHIND_TABLE"),
    ("ge::AscendString::AscendString(char const*)", "CLEARS_POINTER")])
def test_kind_of_a_function(name, macro):
    assert macro_of(name) == macro


def test_names_in_a_binary():
    found = RUN_TIME_NAME.findall(b"\x01\0aclInit\0aclnnAdd\0aclnn Add\0xaclnnMul\0hcclSum\0rtGet\0rtl\0")
    assert found == [b"aclInit", b"aclnnAdd", b"rtGet"]
