"""Manifests that a stranger or a broken program wrote: a value, or a UserError."""
import dataclasses
import json

import pytest
from hostile import FILES, variants
from tiny_model import tiny_manifest

from centernet.errors import UserError
from centernet.files import sha256
from centernet.runtimes.manifest import manifest_path, read_manifest, write_manifest


@pytest.mark.fault("a manifest of any values and bytes", "each value replaced, other bytes",
                   "read, or a short error, never a traceback")
def test_any_value_and_any_bytes(tmp_path):
    model = tmp_path / "m.mindir"
    model.write_bytes(b"graph")
    path = manifest_path(model)
    write_manifest(dataclasses.replace(tiny_manifest((64, 96)), sha256=sha256(model)), path)
    for text in variants(json.loads(path.read_text())):
        path.write_text(text)
        try:
            read_manifest(model)
        except UserError as error:
            assert len(str(error).encode()) < 1000
    for data in FILES:
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"m\.json"):
            read_manifest(model)
