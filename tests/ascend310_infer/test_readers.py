"""The readers of the C++ program, each in a small program of its own (ascend310_infer/fuzz), without the runtime."""
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import TEXTS, places, written
from manifest_cases import CASES, manifest_text
from tiny_model import tiny_manifest

from centernet.errors import UserError
from centernet.evaluation.prepared_set import INDEX, read_index
from centernet.files import sha256
from centernet.runtimes.manifest import manifest_path, read_manifest

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "ascend310_infer/fuzz/corpus"
PIECES = ["[", "]", "{", "}", ",", ":", '"', "null", "true", "1e999", "-1", "0", "1e12", "0.5", "NaN", "\\ud800", "7",
          "\\u0000", "[[]]", '{"a":1}', "99999999999", "3.0", "1e400", "\t", "uint8", "NHWC", "RGB"]


@pytest.fixture(scope="module")
def verdicts(build_dir):
    """Lets a reader read files: path -> whether it was read."""
    def read(reader, paths):
        subprocess.run(["cmake", "--build", build_dir, "--target", reader], check=True, capture_output=True)
        done = subprocess.run([build_dir / reader, *paths], capture_output=True, text=True, errors="replace")
        assert done.returncode == 0 and not done.stderr, done.stderr
        lines = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
        return {path: lines[str(path)] for path in paths}
    return read


def test_manifests_have_the_rules_of_python(verdicts, tmp_path):
    cases = [case for case in CASES if case["name"] != "sha256 of another file"]  # this reader has no model file
    paths = [tmp_path / f"{number}.json" for number in range(len(cases))]
    for path, case in zip(paths, cases):
        path.write_text(manifest_text(case, "0" * 64))
    found = verdicts("fuzz_manifest", paths)
    assert len(found) == len(CASES) - 1 > 100
    wrong = {case["name"]: found[path] for path, case in zip(paths, cases)
             if (found[path] == "read") != case["accepted"]}
    assert not wrong


def mutated(text, rng):
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(PIECES) + text[at + rng.choice([0, 0, 1, 1, 2, 3, 5]):]
    return text


def is_read(reader, *values):
    try:
        reader(*values)
    except UserError as error:
        return "is not the file that was exported" in str(error)
    return True


@pytest.mark.fault("a hostile manifest or index of prepared images (C++)", "each value replaced by each of 28 others",
                   "what one of the readers in Python and in C++ refuses, the other refuses, too")
@pytest.mark.parametrize("reader", ["manifest", "index"])
def test_python_and_cpp_agree_on_hostile_documents(verdicts, tmp_path, reader):
    document = json.loads((CORPUS / reader / "good.json").read_text())
    model, index = tmp_path / "model.mindir", tmp_path / INDEX
    model.write_bytes(b"graph")
    manifest = tiny_manifest((64, 96), input_shape=(2, 3, 64, 96), mean=(0.4, 0.45, 0.47), std=(0.3, 0.27, 0.28))
    texts = [written(document, place, text) for place in places(document) for text in (*TEXTS, None) if text or place]
    # The largest image id of Python has 64 bits, that of C++ has 63.
    texts = [text for text in texts if reader == "manifest" or f'"image_id": {2**63}' not in text]
    paths = [tmp_path / f"{number}.json" for number in range(len(texts))]
    for path, text in zip(paths, texts):
        path.write_text(text)
    found, differ = verdicts(f"fuzz_{reader}", paths), []
    for path, text in zip(paths, texts):
        (manifest_path(model) if reader == "manifest" else index).write_text(text)
        read = (is_read(read_manifest, model) if reader == "manifest" else
                is_read(read_index, tmp_path, manifest, "--meta_path"))
        if read != (found[path] == "read"):
            differ.append((text[:1000], found[path]))
    assert not differ, (len(differ), differ[:10])
    assert 20 < sum(verdict == "read" for verdict in found.values()) < len(found) / 2 > 200


@pytest.mark.slow
def test_python_and_cpp_agree_on_mutated_manifests(verdicts, tmp_path):
    """What one reader accepts, the other accepts."""
    rng, model = random.Random(0), tmp_path / "model.mindir"
    model.write_bytes(b"graph")
    good = manifest_text({"change": {}}, sha256(model))
    paths = []
    for number in range(20_000):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(mutated(good, rng))
    found = {}
    for first in range(0, len(paths), 5000):
        found.update(verdicts("fuzz_manifest", paths[first:first + 5000]))
    differ, both = {}, 0
    for path, verdict in found.items():
        manifest_path(model).write_bytes(path.read_bytes())
        try:
            read_manifest(model)
            reason = "read"
        except UserError as error:
            reason = str(error)
        reason = "read" if "is not the file that was exported" in reason else reason
        both += verdict == reason == "read"
        if (verdict == "read") != (reason == "read"):
            differ[path.name] = (verdict, reason)
    assert both > 500 and not differ, (both, len(differ), list(differ.items())[:20])


@pytest.mark.parametrize("reader", ["json", "manifest", "index", "jpeg"])
def test_the_corpus_and_mutations_of_it_are_read_or_refused(verdicts, build_dir, reader):
    files = sorted((CORPUS / reader).iterdir())
    found = verdicts(f"fuzz_{reader}", files)
    assert {path.name: verdict == "read" for path, verdict in found.items()} == {
        path.name: path.name.startswith("good") for path in files}
    done = subprocess.run([build_dir / f"fuzz_{reader}", "--mutations", "2000", *files], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("2000 mutations: "), done


@pytest.mark.slow
def test_the_fuzzers_find_nothing(tmp_path):
    """With the sanitizers of the compiler; ascend310_infer/fuzz/run.sh is the command for longer runs."""
    done = subprocess.run(["bash", ROOT / "ascend310_infer/fuzz/run.sh", tmp_path, "20000"], capture_output=True,
                          text=True, env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0 and (done.stdout + done.stderr).count("mutations: ") in (0, 4), done


def test_the_corpus_is_small():
    assert sum(path.stat().st_size for path in CORPUS.rglob("*")) < 200_000
    assert json.loads((CORPUS / "manifest/good.json").read_text())["format_version"] == 1
