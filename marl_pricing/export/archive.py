"""What is in a file of `torch.export`, before torch sees it.

`torch.export.load` runs what a file carries: pickled weights, constants and sample inputs, guards in Python, sizes
that SymPy evaluates, operators by name. A policy needs none of these, so that a file with any is refused, and files are
written without what is of no use to others: where their maker's code lay, and sample inputs. What was looked at is
written anew for torch: two readers of one archive may see different members in it (`tests/export/test_archive.py` has
such a file), and torch is given what was seen here.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

_MODEL, _SAMPLE = "models/model.json", "data/sample_inputs/model.pt"
_SAME_TIME = (1980, 1, 1, 0, 0, 0)


def without_code(path: Path | str) -> io.BytesIO:
    """A file of torch.export, written anew; ValueError where it has more than numbers and a plain graph to be run."""
    size = r"L\['\w+'\]\.size\(\)\[\d+\]"
    guards, expressions = rf"{size} [=<>]=? ({size}|\d+)", r"(Symbol\('s\d+', positive=True, integer=True\)|[su]?\d+)"
    members = (
        r"data/weights/weight_\d+|data/constants/tensor_\d+|data/(weights/model_weights|constants/model_constants)_config"
        r"\.json|models/model\.json|data/sample_inputs/model\.pt|extra/policy\.json|archive_format|archive_version"
        r"|\.data/(version|serialization_id)|byteorder"
    )
    # Others could read beyond what is theirs, or fill the memory from a few bytes.
    operators = (
        "add|addmm|alias|argmax|bitwise_not|bmm|cat|chunk|clamp|clone|contiguous|detach|div|eq|exp|gt|index|"
        "index_select|layer_norm|linear|log|log_softmax|logical_not|logsumexp|masked_fill|matmul|max|mm|mul|neg|permute|"
        "relu|reshape|round|rsub|sym_size|scalar_tensor|select|sigmoid|slice|softmax|split|split_with_sizes|squeeze|sub|"
        "sum|t|tanh|transpose|unflatten|unsqueeze|view|where|_to_copy"
    )
    texts = [f"data/{kind}/model_{kind}_config.json" for kind in ("weights", "constants")] + ["models/model.json"]
    values = (
        "tensor|tensors|int|ints|sym_int|sym_ints|float|floats|bool|bools|none|scalar_type|name|expr|optional_tensors"
    )

    def look(place: object) -> None:
        if isinstance(place, list):
            for own in place:
                look(own)
        if isinstance(place, dict):
            for key, own in place.items():
                if key.startswith("as_") and not re.fullmatch(f"as_({values})", key):
                    raise ValueError(f"{key}: accepted are numbers and tensors")
                if key == "expr_str" and not re.fullmatch(expressions, str(own)):
                    raise ValueError(f"expr_str={str(own)[:60]!r}: accepted is a symbol or a number")
                if key == "guards_code" and not all(re.fullmatch(guards, str(guard)) for guard in own):
                    raise ValueError("guards_code: accepted are comparisons of sizes")
                if key == "target" and not re.fullmatch(rf"torch\.ops\.aten\.({operators})\.\w+", str(own)):
                    raise ValueError(f"target={str(own)[:60]!r}: accepted are the operators that a policy is made of")
                if key == "metadata" and not set(own) <= {"stack_trace", "torch_fn", "nn_module_stack"}:
                    raise ValueError(
                        f"metadata: {', '.join(sorted(own))[:60]}: accepted is where an operator came from"
                    )
                if key in ("custom_obj_values", "treespec_namedtuple_fields") and own:
                    raise ValueError(f"{key}: accepted is none")
                look(own)

    clean = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(clean, "w") as anew:
        entries = archive.infolist()
        root = entries[0].filename.partition("/")[0] if entries else ""
        if len({own.filename.lower() for own in entries}) < len(entries):
            raise ValueError("a member comes twice")
        for own in entries:
            if not re.fullmatch(f"{re.escape(root)}/({members})", own.filename) or own.compress_type:
                raise ValueError(
                    f"member {own.filename[:80]!r}: accepted are a policy's graph, weights and description"
                )
        if sum(own.file_size for own in entries) > os.path.getsize(path):
            raise ValueError("members lie over each other")
        content = {own.filename: archive.read(own) for own in entries}
        told = {name: json.loads(content[f"{root}/{name}"]) for name in texts}
        for name in texts[:2]:
            for weight, own in told[name]["config"].items():
                if own["use_pickle"] is not False:
                    raise ValueError(f"{name}: {weight[:60]!r}: accepted are plain numbers, not pickled objects")
        look(told["models/model.json"])
        if content[f"{root}/data/sample_inputs/model.pt"]:
            raise ValueError("sample inputs: accepted is none, as they are pickled; an export of today has none")
        content |= {f"{root}/{name}": json.dumps(data).encode() for name, data in told.items()}
        for name, written in content.items():
            anew.writestr(name, written)
    clean.seek(0)
    return clean


def without_traces(content: bytes) -> bytes:
    """A file without sample inputs and where its maker's code lay; the same bytes every time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            own = old.read(name)
            if name.endswith(f"/{_SAMPLE}"):
                own = b""
            elif name.endswith(f"/{_MODEL}"):
                model: dict[str, Any] = json.loads(own)
                for node in model["graph_module"]["graph"]["nodes"]:
                    node["metadata"] = {}
                own = json.dumps(model).encode()
            new.writestr(zipfile.ZipInfo(name, _SAME_TIME), own)
    return buffer.getvalue()
