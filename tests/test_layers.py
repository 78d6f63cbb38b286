"""The arrows of docs/architecture.md: who may import whom."""
import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(ROOT.glob("src/**/*.py"))
ENTRIES = sorted({*ROOT.glob("*.py"), ROOT / "src/dataset.py", ROOT / "src/data/synthetic.py",
                  ROOT / "src/models/table.py", ROOT / "src/quantization/preset_table.py"})

# Level of each room or file; an import must point to a lower level, or stay in its room at the same one.
LEVELS = {
    "src.errors": 0, "src.packages": 0, "src.settings": 0, "src.config_checks": 0, "src.config": 0, "src.categories": 0,
    "src.geometry": 0,
    "src.data.coco": 1, "src.data.augment": 1, "src.data.targets": 1, "src.data.synthetic": 1,
    "src.data.image_file": 1, "src.data.jpeg": 1,
    "src.inference.transform": 1, "src.inference.postprocess": 1, "src.inference.soft_nms": 1,
    "src.inference.coco_eval": 1, "src.inference.visualize": 1, "src.inference.manifest": 1,
    "src.inference.host_decode": 1, "src.inference.onnx_session": 1,
    "src.runtime": 1, "src.launch": 1,
    "src.data": 2, "src.models": 2, "src.collective": 2,
    "src.weights": 3, "src.inference": 3,
    "src.training": 4, "src.export": 4,
    "src.quantization": 5, "src.open_checkpoint": 5,
}
WITHOUT_MINDSPORE = [name for name, level in LEVELS.items() if level <= 1 and name != "src.runtime"]


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    """Modules imported anywhere in a file, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if (ROOT / (full.replace(".", "/") + ".py")).exists() else node.module


def level(module):
    while module not in LEVELS:
        module, _, tail = module.rpartition(".")
        assert tail, "module without a level"
    return LEVELS[module]


def room(module):
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name != "__init__.py" and p not in ENTRIES], ids=module_name)
def test_imports_point_down(path):
    name = module_name(path)
    entries = {module_name(entry) for entry in ENTRIES}
    for target in imports(path):
        if not target.startswith("src"):
            continue
        assert target not in entries, f"{name} imports the entry {target}"
        same_room = room(target) == room(name) or level(name) == level(target) == 0
        assert level(target) < level(name) or (same_room and level(target) == level(name)), f"{name} -> {target}"
        for outer in ("src.runtime", "src.launch"):
            assert not target.startswith(outer) or name.startswith(outer), f"only entries and scripts use {outer}"


@pytest.mark.parametrize("name", WITHOUT_MINDSPORE)
def test_low_levels_do_not_need_mindspore(name):
    room = ROOT / name.replace(".", "/")
    files = list(room.glob("*.py")) or [room.with_suffix(".py")]
    assert not [target for path in files for target in imports(path) if target.split(".")[0] == "mindspore"]


def test_there_are_no_import_cycles():
    graph = {module_name(p): {t for t in imports(p) if t.startswith("src")} for p in SOURCES}
    done, active = set(), []

    def visit(name):
        assert name not in active, f"cycle: {' -> '.join(active[active.index(name):] + [name])}"
        if name in done or name not in graph:
            return
        active.append(name)
        for target in graph[name]:
            visit(target)
        done.add(active.pop())

    for name in graph:
        visit(name)


@pytest.mark.parametrize("path", [p for p in ENTRIES if p.parent == ROOT], ids=lambda p: p.name)
def test_entries_are_short_and_import_mindspore_late(path):
    assert len(path.read_text().splitlines()) <= 80
    top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
    assert all(level(node.module) <= 1 for node in top if node.module.startswith("src"))
