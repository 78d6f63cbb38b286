"""The arrows of docs/architecture.md: who may import whom."""
import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
SOURCES = sorted((SRC / "centernet").glob("**/*.py"))

# Level of each room or file; an import must point to a lower level, or stay in its room at the same one.
LEVELS = {
    # values and plain functions
    "centernet.errors": 0, "centernet.files": 0, "centernet.documents": 0, "centernet.json_value": 0,
    "centernet.xml_document": 0,
    "centernet.embedded_json": 0, "centernet.categories": 0, "centernet.geometry": 0,
    "centernet.config": 0, "centernet.spec": 0, "centernet.group": 0, "centernet.data.annotations": 0,
    "centernet.data.defects": 0, "centernet.data.repair": 0, "centernet.interrupt": 0, "centernet.owner": 0,
    "centernet.markup": 0, "centernet.plots": 0, "centernet.run_files": 0, "centernet.program": 0,
    "centernet.model_files": 0,
    # files that need no MindSpore
    "centernet.data.coco": 1, "centernet.data.augment": 1, "centernet.data.targets": 1, "centernet.data.image_file": 1,
    "centernet.data.image_finder": 1, "centernet.data.image_size": 1, "centernet.data.orientation": 1,
    "centernet.data.mosaic": 1, "centernet.data.info_file": 1, "centernet.data.layouts": 1,
    "centernet.data.other_forms": 1, "centernet.data.wrong_folder": 1,
    "centernet.evaluation.metrics": 1, "centernet.runtimes.manifest": 1,
    "centernet.runtimes.manifest_steps": 1, "centernet.runtimes.fixed_settings": 1,
    "centernet.runtimes.onnx_session": 1, "centernet.runtimes.sizes": 1,
    "centernet.detection": 2,
    # rooms
    "centernet.data": 2, "centernet.models": 2, "centernet.jobs": 2, "centernet.device": 3,
    "centernet.data_check": 3,
    "centernet.weights": 3, "centernet.runtimes": 3,
    "centernet.training.losses": 3, "centernet.training.optimization": 4,
    "centernet.evaluation": 4, "centernet.export": 4,
    "centernet.training": 5, "centernet.export.quantization": 5, "centernet.open_model": 5,
    "centernet": 6, "centernet.cli": 6, "centernet.__main__": 7,
}
WITHOUT_MINDSPORE = [name for name, level in LEVELS.items() if level <= 1] + ["centernet.detection"]


def module_name(path):
    return ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    """Modules imported anywhere in a file, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                place = SRC / full.replace(".", "/")
                yield full if place.with_suffix(".py").exists() or place.is_dir() else node.module


def level(module):
    while module not in LEVELS:
        module, _, tail = module.rpartition(".")
        assert tail, "module without a level"
    return LEVELS[module]


def without_mindspore(module):
    return any(f"{module}.".startswith(f"{name}.") for name in WITHOUT_MINDSPORE)


def room(module):
    return ".".join(module.split(".")[:2])


def test_imports_point_down():
    wrong = []
    for path in SOURCES:
        name = module_name(path)
        for target in imports(path):
            if target.split(".")[0] != "centernet":
                assert target.split(".")[0] not in ("tools", "tests", "benchmarks"), f"{name} -> {target}"
                continue
            if target == "centernet" and name.startswith("centernet.cli"):
                continue  # the version
            same_room = room(target) == room(name) or level(name) == level(target) == 0
            down = level(target) < level(name) or (same_room and level(target) == level(name))
            site = target.startswith("centernet.jobs") and not name.startswith(("centernet.jobs", "centernet.cli"))
            if not down or site:
                wrong.append(f"{name} -> {target}")
    assert not wrong


def test_low_levels_do_not_need_mindspore():
    low = [path for path in SOURCES if without_mindspore(module_name(path))]
    assert len(low) > 20
    top = [(path, node) for path in low for node in ast.parse(path.read_text()).body]
    names = [(path, node.module) for path, node in top if isinstance(node, ast.ImportFrom)]
    names += [(path, alias.name) for path, node in top if isinstance(node, ast.Import) for alias in node.names]
    assert not [(path, name) for path, name in names if (name or "").split(".")[0] == "mindspore"]


def test_there_are_no_import_cycles():
    graph = {module_name(p): {t for t in imports(p) if t.startswith("centernet")} for p in SOURCES}
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


def test_commands_are_short_and_import_mindspore_late():
    for path in (SRC / "centernet/cli").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 100, path
        top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
        early = [node.module for node in top if (node.module or "").startswith("centernet.")]
        late = [module for module in early if not without_mindspore(module)
                and module not in ("centernet.cli.console", "centernet.cli.entry", "centernet.cli.process",
                                   "centernet.device", "centernet.jobs.modelarts")]
        assert not late, (path, late)


def test_the_documented_entries_are_shims():
    for path in [*ROOT.glob("*.py"), SRC / "dataset.py"]:
        assert len(path.read_text().splitlines()) <= 15 and "run_command" in path.read_text(), path
