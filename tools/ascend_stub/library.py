"""Generation and compilation of the stand-in for CANN's libraries."""
from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from centernet.errors import UserError
from tools.ascend_stub.symbols import linked_functions, needed_libraries, plugin_libraries, run_time_functions

PROGRAMS = ("g++", "nm", "readelf", "c++filt")
MACROS = Path(__file__).with_name("stub.h")
ANSWERS = Path(__file__).with_name("answers.cc")  # the functions that are written by hand
# CANN's libraries that the plugin is not linked to, but loads at run time.
LOADED_LATER = ("libacl_op_compiler.so", "libacl_tdt_channel.so", "libacl_tdt_queue.so", "libascend_hal.so",
                "libascend_ml.so", "libascendcl.so", "libmsprofiler.so", "libnnopbase.so", "libopapi.so",
                "libprofapi.so", "libruntime.so")
# Demangled name -> macro of stub.h, for the C++ functions that must do more than return 0. The first match counts.
KINDS = (
    (r"ge::StatusFactory::Instance\(", "RETURNS_MAP"),
    (r"ge::(Operator::(AttrRegister|SetAttr|SetInput|AddControlInput)|Graph::Set(In|Out)puts)\(", "RETURNS_SELF"),
    (r"ge::(Shape::GetDims|Operator::GetOutputDesc|Operator::SetSubgraphX|Tensor::GetTensorDesc|"
     r"TensorDesc::Get(Origin)?Shape|OperatorFactory::CreateOperator|Session::GetCompiledGraphSummary|"
     r"Session::AddGraphX|Graph::GetDirectNode|GNode::Get(In|Out)(Control|Data)Nodes)\(", "RETURNS_OBJECT"),
    (r"ge::(\w+Register)::\1\(", "RETURNS_ZERO"),  # objects without any member
    (r"ge::(Operator)::~?\1\(", "CLEARS_POINTER_BEHIND_TABLE"),
    (r"ge::(\w+)::~?\1\(", "CLEARS_POINTER"),
)


def build(folder: Path) -> Path:
    """Build the stand-in and return its folder, folder/cann/latest. It has the layout of CANN's own folder.

    MindSpore needs these names: in the path of the libraries, which are in lib64, it looks for "latest" (2.7.1), for
    "cann" first (2.7.2), or for either (2.10). So both names lead to one folder. 2.7 also looks for a folder
    opp_kernel. MindSpore asks for the version of the package hccl when it joins a group.

    Raises:
        UserError: a program that this needs is not installed, or MindSpore has no Ascend plugin.
    """
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise UserError(f"{', '.join(missing)}: not installed. They come with g++ and binutils (Debian, Ubuntu: "
                        "apt-get install g++ binutils)")
    plugin = plugin_libraries()
    source, cann = folder / "stub.cc", folder / "cann"
    target = cann / "lib64"
    package = cann / "python" / "site-packages" / "hccl"
    for path in (target, package, cann / "opp", cann / "opp_kernel"):
        path.mkdir(parents=True, exist_ok=True)
    _link(cann / "latest", ".")
    source.write_text("\n".join(source_lines(linked_functions(plugin), run_time_functions(plugin))) + "\n",
                      encoding="utf-8")
    _compile([source, ANSWERS], target / "libcann_stub.so")
    for name in {*LOADED_LATER, *needed_libraries(plugin)}:
        _link(target / name, "libcann_stub.so")
    (package / "__init__.py").touch()
    (package / "sys_version.py").write_text('__sys_version__ = "0"\n', encoding="utf-8")
    return cann / "latest"


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _compile(sources: Iterable[Path], library: Path) -> None:
    # MindSpore's wheel has the older layout of std::string.
    command = ["g++", "-shared", "-fPIC", "-w", "-D_GLIBCXX_USE_CXX11_ABI=0", "-include", str(MACROS),
               f"-Wl,-soname,{library.name}", "-o", str(library), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"the stand-in for CANN could not be compiled: {done.stderr.strip()}")


def source_lines(linked: Iterable[str], by_name: Iterable[str]) -> Iterator[str]:
    """Yield one line of C++ for each function: a macro of stub.h with its name.

    Args:
        linked: mangled names of the functions that the plugin is linked to.
        by_name: names of the functions that the plugin looks up at run time.
    """
    by_hand = re.findall(r'^extern "C" int (\w+)', ANSWERS.read_text(encoding="utf-8"), re.MULTILINE)
    functions = sorted({*linked, *by_name} - {*by_hand})
    demangled = subprocess.run(["c++filt"], input="\n".join(functions), capture_output=True, text=True,  # noqa: S607
                               check=True).stdout.splitlines()
    for function, name in zip(functions, demangled):
        yield f"{macro_of(name)}({function})"


def macro_of(name: str) -> str:
    """Return the macro of stub.h for a function's demangled name."""
    return next((macro for pattern, macro in KINDS if re.match(pattern, name)), "RETURNS_ZERO")
