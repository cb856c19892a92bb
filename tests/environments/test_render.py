"""The last epoch as text, the episode as a picture."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.colors import to_rgb

import marl_pricing
from marl_pricing.environments.render import COLOURS
from tests.environments.kinds import bankrupt_env, env_of
from tests.markets import UNLIMITED, make


def table_rows(text: str) -> list[list[str]]:
    """Cells of the rows between the rules of a text table."""
    return [re.split(r"\s*│\s*", line.strip("│ \n")) for line in text.splitlines() if line.startswith("│")]


def colour_count(picture: np.ndarray, colour: str) -> int:
    """Pixels of about this colour; a thin line is mixed with the white around it."""
    wanted = 255 * np.array(to_rgb(colour))
    return int((np.abs(picture - wanted).max(-1) < 64).sum())


def test_text_shows_the_last_epoch() -> None:
    env = env_of("several products", render_mode="ansi")
    env.reset(seed=0)
    assert "epoch 0 of 12" in env.render()
    assert table_rows(env.render()) == []
    for actions in ([7, 7], [0, 5]):
        _, _, _, _, infos = env.step(dict.fromkeys(env.agents, actions))
    text = env.render()
    assert "epoch 2 of 12" in text
    for name in ("seller", "price", "stock", "on order", "demand", "sales", "unmet", "reward"):
        assert name in text
    rows = table_rows(text)
    assert len(rows) == 4
    for row, (seller, product) in zip(rows, [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True):
        info = infos[f"seller_{seller}"]
        names = ("prices", "stock", "on_order", "demand", "sales", "unmet")
        expected = [str(seller), str(product), *(f"{info[name][product]:.2f}" for name in names)]
        expected += [f"{info['reward_raw']:.2f}"] if product == 0 else []
        assert [cell for cell in row if cell] == expected


def test_text_marks_who_has_left() -> None:
    env = bankrupt_env(render_mode="ansi")
    env.reset(seed=0)
    while "seller_1" in env.agents:
        env.step(dict.fromkeys(env.agents, 3))
    assert "–" not in env.render()  # it was still there in its last epoch
    env.step({"seller_0": 3})
    staying, gone = table_rows(env.render())
    assert staying[2] == "1.70"
    assert [cell for cell in gone if cell] == ["1", "0"] + ["–"] * 6


def test_picture_shows_every_seller_and_grows() -> None:
    env = env_of("different sellers", render_mode="rgb_array")
    env.reset(seed=0)
    empty = env.render()
    assert empty.dtype == np.uint8
    assert empty.ndim == 3
    assert empty.shape[2] == 3
    assert [colour_count(empty, colour) for colour in COLOURS[:3]] == [0, 0, 0]
    env.step({"seller_0": 0, "seller_1": 3, "seller_2": 7})
    env.step({"seller_0": 7, "seller_1": 3, "seller_2": 0})
    first = env.render()
    assert all(colour_count(first, colour) > 0 for colour in COLOURS[:3])
    for _ in range(5):
        env.step({"seller_0": 0, "seller_1": 3, "seller_2": 7})
    second = env.render()
    assert all(colour_count(second, colour) > colour_count(first, colour) for colour in COLOURS[:3])
    env.reset()
    np.testing.assert_array_equal(env.render(), empty)


def test_picture_has_no_stock_where_there_is_none_to_keep_and_paths_end_where_sellers_leave() -> None:
    stocked = env_of("discrete", render_mode="rgb_array")
    stocked.reset(seed=0)
    env = bankrupt_env(render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().shape[0] * 2 == stocked.render().shape[0]
    while "seller_1" in env.agents:
        env.step({"seller_0": 7, "seller_1": 3} if len(env.agents) == 2 else {"seller_0": 7})
    before = env.render()
    env.step({"seller_0": 7})
    env.step({"seller_0": 7})
    after = env.render()
    assert colour_count(after, COLOURS[1]) == colour_count(before, COLOURS[1]) > 0
    assert colour_count(after, COLOURS[0]) > colour_count(before, COLOURS[0])


def test_nothing_is_drawn_without_a_render_mode() -> None:
    env = marl_pricing.parallel_env(make(inventory=UNLIMITED))
    env.reset(seed=0)
    env.step({"seller_0": 0, "seller_1": 0})
    assert env.render() is None
    assert env._history == []
    turns = marl_pricing.aec_env(make(), render_mode="ansi")
    turns.reset(seed=0)
    turns.step(0)
    turns.step(0)
    assert "epoch 1 of 12" in turns.render()
