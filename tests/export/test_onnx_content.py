"""ONNX files that name other files or operators that no policy has: refused before onnxruntime looks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from marl_pricing.export.example import example
from marl_pricing.export.onnx_content import DIGEST, check_digest, metadata_of, with_digest
from marl_pricing.export.reading import ENTRY, PolicyError, load_policy

WEIGHT = np.arange(6, dtype=np.float32).reshape(3, 2)


def model() -> onnx.ModelProto:
    """observation [B, 3] → relu(observation · weight) [B, 2], with a description."""
    nodes = [
        helper.make_node("MatMul", ["observation", "weight"], ["product"]),
        helper.make_node("Relu", ["product"], ["price"]),
    ]
    graph = helper.make_graph(
        nodes, "policy", [helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("price", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(WEIGHT, "weight")],
    )  # fmt: skip
    own = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    own.metadata_props.add(key=ENTRY, value="{}")
    return own


def external(own: onnx.ModelProto) -> onnx.TensorProto:
    """The weight, as numbers of the file numbers.bin."""
    tensor = own.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="numbers.bin")
    return tensor


def field(number: int, content: bytes) -> bytes:
    """A field of bytes, shorter than 16 KiB."""
    return bytes([number << 3 | 2, len(content) & 127 | 128, len(content) >> 7]) + content


def hidden(own: onnx.ModelProto) -> bytes:
    """`external`, with a bit in the keys of its two fields that others drop: to them it is 13 and 14 all the same."""
    tensor = external(own)
    (entry,) = tensor.external_data
    content = tensor.SerializeToString()
    for plain, key in ((b"\x6a" + bytes([entry.ByteSize()]), b"\xea"), (b"\x70\x01", b"\xf0")):
        assert content.count(plain) == 1
        content = content.replace(plain, key + b"\x80\x80\x80\x10" + plain[1:])
    del own.graph.initializer[:]
    graph = own.graph.SerializeToString() + field(5, content)
    own.ClearField("graph")
    return own.SerializeToString() + field(7, graph)


def with_node(kind: str, **kept: str) -> Callable[[onnx.ModelProto], None]:
    def change(own: onnx.ModelProto) -> None:
        own.graph.node.add(op_type=kind, input=["product"], output=["more"], **kept)

    return change


def in_constant(own: onnx.ModelProto) -> None:
    tensor = external(own)
    own.graph.node.insert(0, helper.make_node("Constant", [], ["weight"], value=tensor))
    del own.graph.initializer[:]


def training(own: onnx.ModelProto) -> None:
    own.training_info.add().algorithm.name = "sgd"


def sparse(own: onnx.ModelProto) -> None:
    own.graph.sparse_initializer.add().dims.append(1)


ATTACKS: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "numbers in another file": (external, "tensor: numbers that lie in another file; accepted is"),
    "in a constant": (in_constant, "tensor: numbers that lie in another file"),
    "hidden": (hidden, "is no policy file"),
    "much of little": (with_node("Expand"), "operator 'Expand': accepted are those that a policy is made of"),
    "a loop": (with_node("Loop"), "operator 'Loop'"),
    "nothing": (with_node(""), "operator ''"),
    "of others": (with_node("Relu", domain="org.example"), "node: an operator of others; accepted is"),
    "a graph in a graph": (
        lambda own: own.graph.node[1].attribute.append(helper.make_attribute("body", own.graph)),
        "attribute: a graph within a graph",
    ),
    "functions": (lambda own: own.functions.append(onnx.FunctionProto(name="f")), "model: functions"),
    "a training": (training, "model: a training"),
    "a sparse tensor": (sparse, "graph: field 15"),
}


def attacked(attack: str) -> bytes:
    own = model()
    changed = ATTACKS[attack][0](own)
    return changed if isinstance(changed, bytes) else own.SerializeToString()


@pytest.mark.parametrize("attack", ATTACKS)
def test_other_files_and_operators_are_refused_before_onnxruntime_looks(
    attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", None)
    path = tmp_path / "policy.onnx"
    path.write_bytes(attacked(attack))
    with pytest.raises(PolicyError, match=r"policy\.onnx: is n") as refused:
        load_policy(path)
    assert ATTACKS[attack][1] in str(refused.value)
    monkeypatch.chdir(tmp_path)
    about = {
        "network": {"cell": "gru", "stacked": True, "num_sellers": 1}, "orders": None, "inputs": {},
        "outputs": {"a": {}}, "prices": {"map": "levels"},
    }  # fmt: skip
    code = compile(example("onnx", about, "policy.onnx", ENTRY, [0.0]), "policy_example.py", "exec")
    with pytest.raises((ValueError, EOFError)):
        exec(code, {})


@pytest.mark.parametrize("attack", ["numbers in another file", "in a constant", "hidden"])
def test_onnxruntime_alone_reads_the_other_file(attack: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    path.write_bytes(attacked(attack))
    (tmp_path / "numbers.bin").write_bytes((2 * WEIGHT).tobytes())
    (said,) = onnxruntime.InferenceSession(path).run(None, {"observation": np.ones((1, 3), np.float32)})
    np.testing.assert_array_equal(said, 2 * WEIGHT.sum(0, keepdims=True))


def test_a_plain_model_is_read_and_a_change_to_it_is_seen() -> None:
    own = model()
    own.metadata_props.add(key=DIGEST, value="0" * 64)
    content = with_digest(own.SerializeToString())
    found = metadata_of(content)
    assert set(found) == {ENTRY, DIGEST}
    check_digest(content, found)
    changed = content.replace(WEIGHT.tobytes(), WEIGHT[::-1].tobytes())
    assert changed != content
    with pytest.raises(ValueError, match="it was changed since it was exported"):
        check_digest(changed, metadata_of(changed))
