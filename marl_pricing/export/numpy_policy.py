"""The flax learner's parameters in one NumPy archive, and the network played by NumPy alone."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray


def numpy_file(about: dict[str, Any], parameters: Mapping[str, Mapping[str, Any]], entry: str) -> bytes:
    """Arrays named as in the flax tree, `layer/leaf`, with a leading axis [S] in a stack; and the description."""
    arrays: dict[str, Any] = {entry: np.array(json.dumps(about))}
    for layer, leaves in parameters.items():
        arrays |= {f"{layer}/{leaf}": np.asarray(own) for leaf, own in leaves.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))  # never overflows


def _log_softmax(x: Array) -> Array:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def step(
    weights: Mapping[str, Array],
    about: dict[str, Any],
    observation: Array,
    seller: Array,
    memory: Array,
    order_mask: Array | None = None,
) -> list[Array]:
    """One epoch: outputs in the order of the description; see `marl_pricing.learning.recurrent` for the cells."""
    network, size = about["network"], about["network"]["hidden_size"]

    def times(inputs: Array, name: str) -> Array:
        weight = weights[name]
        return np.einsum("bi,bio->bo", inputs, weight[seller]) if network["stacked"] else inputs @ weight

    def of(name: str) -> Array:
        return weights[name][seller] if network["stacked"] else weights[name]

    if not network["stacked"] and network["num_sellers"] > 1:
        observation = np.concatenate([observation, np.eye(network["num_sellers"], dtype=np.float32)[seller]], -1)
    inputs = np.maximum(times(observation, "embed/kernel") + of("embed/bias"), 0.0)
    gates_in = times(inputs, "cell/kernel_in") + of("cell/bias")
    hidden = memory[:, :size]
    gates_hidden = times(hidden, "cell/kernel_hidden")
    if network["cell"] == "gru":
        gates = _sigmoid(gates_in[:, : 2 * size] + gates_hidden[:, : 2 * size])
        inner = gates_hidden[:, 2 * size :] + of("cell/bias_hidden")
        new, update = np.tanh(gates_in[:, 2 * size :] + gates[:, :size] * inner), gates[:, size:]
        memory = hidden = (1.0 - update) * new + update * hidden
    else:
        enter, forget, new, out = np.split(gates_in + gates_hidden, 4, -1)
        cell = _sigmoid(forget) * memory[:, size:] + _sigmoid(enter) * np.tanh(new)
        hidden = _sigmoid(out) * np.tanh(cell)
        memory = np.concatenate([hidden, cell], -1)
    logits = times(np.maximum(times(hidden, "head/kernel") + of("head/bias"), 0.0), "out/kernel") + of("out/bias")
    logits = logits.reshape(len(logits), about["num_products"], -1)
    heads = np.split(logits, np.cumsum(network["head_sizes"])[:-1], -1)
    if order_mask is not None:
        heads[1] = np.where(order_mask, heads[1], np.finfo(np.float32).min)
    said = [_log_softmax(head) for head in heads]
    return [*(head.argmax(-1) for head in said), *said, memory]
