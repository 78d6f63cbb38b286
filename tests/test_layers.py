"""The arrows of docs/architecture.md: who may import whom."""
import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
SOURCES = sorted((SRC / "centernet").glob("**/*.py"))



def levels():
    """Module or folder -> level, from the table of docs/architecture.md."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| ([^|]*) \|", text.split("test_layers.py reads this table -->")[1], re.MULTILINE)
    names = [(name, int(number)) for number, cell in rows for name in re.findall(r"`([^`]+)`", cell)]
    found = {f"centernet.{name.strip('/').replace('/', '.')}".removesuffix(".__init__"): level for name, level in names}
    assert len(found) == len(names) > 40, "a module is named twice, or the table was not found"
    return found


LEVELS = levels()
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
    """The level of the most exact name in the table."""
    name = module
    while name not in LEVELS:
        name = name.rpartition(".")[0]
        assert name not in ("", "centernet"), f"docs/architecture.md gives {module} no level"
    return LEVELS[name]


def without_mindspore(module):
    return any(f"{module}.".startswith(f"{name}.") for name in WITHOUT_MINDSPORE)


def room(module):
    return ".".join(module.split(".")[:2])


def test_every_module_has_a_level_and_every_name_a_module():
    for path in SOURCES:
        level(module_name(path))
    for name in LEVELS:
        place = SRC / name.replace(".", "/")
        assert place.with_suffix(".py").exists() or place.is_dir(), name


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
