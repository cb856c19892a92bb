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


def _norm(x: Array, scale: Array, bias: Array) -> Array:
    """A layer norm [..., H] (flax's: ε = 1e-6 beside the variance)."""
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale + bias


def epsilon_greedy(values: Array, epsilon: float) -> Array:
    """Log probabilities of choices [..., n]: any allowed one with ε, each alike, else the best of them."""
    least = np.finfo(np.float32).min
    allowed = values > least
    best = np.arange(values.shape[-1]) == values.argmax(-1)[..., None]
    chance = epsilon * allowed / allowed.sum(-1, keepdims=True) + (1.0 - epsilon) * best
    return np.where(chance > 0, np.log(np.maximum(chance, 1e-38)), least).astype(np.float32)


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))  # never overflows


def _log_softmax(x: Array) -> Array:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def _gru(gates_in: Array, gates_hidden: Array, bias: Array, hidden: Array) -> Array:
    size = hidden.shape[-1]
    gates = _sigmoid(gates_in[:, : 2 * size] + gates_hidden[:, : 2 * size])
    inner = gates_hidden[:, 2 * size :] + bias
    new, update = np.tanh(gates_in[:, 2 * size :] + gates[:, :size] * inner), gates[:, size:]
    return (1.0 - update) * new + update * hidden


def _lstm(gates: Array, cell: Array) -> Array:
    enter, forget, new, out = np.split(gates, 4, -1)
    cell = _sigmoid(forget) * cell + _sigmoid(enter) * np.tanh(new)
    return np.concatenate([_sigmoid(out) * np.tanh(cell), cell], -1)


def _min_gru(gates_in: Array, hidden: Array) -> Array:
    update, new = np.split(gates_in, 2, -1)
    update, new = _sigmoid(update), np.where(new >= 0.0, new + 0.5, _sigmoid(new))
    return (1.0 - update) * hidden + update * new


def _law(told: Mapping[str, Any], logits: Array, place: Array) -> Array:
    """The two numbers of a continuous price's law [B, P, 2]; see `marl_pricing.learning.price_laws`."""
    low, start, high = told["log_width"]
    shift = np.float32(np.log((start - low) / (high - start)))
    width = np.exp(low + (high - low) * _sigmoid(logits[..., 1] + shift))
    if told["name"] == "gaussian":
        return np.stack([logits[..., 0], width], -1)
    return np.stack([1.0 + width * place, 1.0 + width * _sigmoid(-logits[..., 0])], -1)


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
    if network["cell"] == "table":
        outputs = weights["table/values"][seller if network["stacked"] else 0, _row(observation, network["bins"])]
        return [*_choices(about, outputs, order_mask), memory]

    def times(inputs: Array, name: str) -> Array:
        weight = weights[name]
        return np.einsum("bi,bio->bo", inputs, weight[seller]) if network["stacked"] else inputs @ weight

    def of(name: str) -> Array:
        return weights[name][seller] if network["stacked"] else weights[name]

    if not network["stacked"] and network["num_sellers"] > 1:
        observation = np.concatenate([observation, np.eye(network["num_sellers"], dtype=np.float32)[seller]], -1)

    def layer(inputs: Array, name: str) -> Array:
        inner = times(inputs, f"{name}/kernel") + of(f"{name}/bias")
        if network.get("layer_norm"):
            inner = _norm(inner, of(f"{name}_norm/scale"), of(f"{name}_norm/bias"))
        return np.maximum(inner, 0.0)

    hidden, kept = layer(observation, "embed"), []
    names = ["cell", *(f"cell_{number}" for number in range(2, network.get("num_layers", 1) + 1))]
    for name, held in zip(names, np.split(memory, len(names), -1), strict=True):
        gates_in = times(hidden, f"{name}/kernel_in") + of(f"{name}/bias")
        if network["cell"] == "mingru":
            after = _min_gru(gates_in, held)
        elif network["cell"] == "none":
            after = np.tanh(gates_in)
        else:
            gates_hidden = times(held[:, :size], f"{name}/kernel_hidden")
            if network["cell"] == "gru":
                after = _gru(gates_in, gates_hidden, of(f"{name}/bias_hidden"), held)
            else:
                after = _lstm(gates_in + gates_hidden, held[:, size:])
        kept.append(after)
        hidden = after[:, :size]
    memory = np.concatenate(kept, -1)
    outputs = times(layer(hidden, "head"), "out/kernel") + of("out/bias")
    if "price_law" in network:
        logits = outputs.reshape(len(outputs), about["num_products"], -1)
        low, high = (np.array(about["prices"][end], np.float32)[seller] for end in ("lowest", "highest"))
        place = _sigmoid(logits[..., 0])
        return [low + (high - low) * place, _law(network["price_law"], logits, place), memory]
    return [*_choices(about, outputs, order_mask), memory]


def _row(observation: Array, bins: int) -> Array:
    """Row [B] of a table for what is observed [B, O]; as `marl_pricing.learning.qtable.table`."""
    place = np.round((np.clip(observation, -1.0, 1.0) + 1.0) * np.float32(0.5 * (bins - 1))).astype(np.int64)
    return (place * bins ** np.arange(place.shape[-1])).sum(-1)


def _choices(about: dict[str, Any], outputs: Array, order_mask: Array | None) -> list[Array]:
    """Best choices of each head, and log probabilities of all, from outputs [B, A]."""
    network, epsilon = about["network"], about["network"].get("epsilon")
    logits = outputs.reshape(len(outputs), about["num_products"], -1)
    heads = np.split(logits, np.cumsum(network["head_sizes"])[:-1], -1)
    if order_mask is not None:
        heads[1] = np.where(order_mask, heads[1], np.finfo(np.float32).min)
    said = [_log_softmax(head) if epsilon is None else epsilon_greedy(head, epsilon) for head in heads]
    return [*(head.argmax(-1) for head in said), *said]
