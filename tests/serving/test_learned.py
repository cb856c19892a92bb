"""A policy file behind a shop: it sees what it saw in training, and remembers through a restart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.config import ConfigError, Market
from marl_pricing.export.numpy_policy import numpy_file
from marl_pricing.export.numpy_policy import step as numpy_step
from marl_pricing.export.reading import ENTRY, FORMAT, FORMAT_VERSION, ExportedPolicy
from marl_pricing.market.units import entries
from marl_pricing.serving.learned import Figures, ShopPolicy, State, policies_in
from marl_pricing.serving.pipeline import replay
from marl_pricing.serving.service import Service
from marl_pricing.serving.settings import ServeSettings
from tests.markets import UNLIMITED, make, programs
from tests.serving.asking import shop

HIDDEN, LEVELS = 4, 8
ALL = ("own_price", "rival_price", "all_rival_prices", "stock", "on_order", "demand", "time")


def description(made: Market, **changes: Any) -> dict[str, Any]:
    """As `export.description` writes it, of a small network."""
    shape, params = made
    size = (shape.num_sellers, shape.num_products)

    def told(*last: int, kind: str = "float32") -> dict[str, Any]:
        return {"type": kind, "shape": ["batch", *last]}

    return {
        "format": FORMAT, "format_version": FORMAT_VERSION, "sellers": [f"seller_{i}" for i in range(size[0])],
        "num_products": size[1],
        "inputs": {
            "observation": told(len(entries(shape, params))), "seller": told(kind="int64"), "memory": told(HIDDEN),
        },
        "outputs": {
            "price_index": told(size[1], kind="int64"), "price_log_prob": told(size[1], LEVELS),
            "memory_after": told(HIDDEN),
        },
        "observation": [entry._asdict() for entry in entries(shape, params)], "memory": {"shape": [HIDDEN]},
        "prices": {
            "map": "levels", "low": np.reshape(params.prices.low, size).tolist(),
            "high": np.reshape(params.prices.high, size).tolist(),
            "levels": np.reshape(params.prices.levels, (*size, -1)).tolist(),
        },
        "orders": None, "episode_length": shape.episode_length,
        "network": {
            "cell": "gru", "hidden_size": HIDDEN, "stacked": False, "num_sellers": size[0], "head_sizes": [LEVELS],
        },
    } | changes  # fmt: skip


def seat(made: Market, seller: int = 0, **changes: Any) -> ShopPolicy:
    policy = ExportedPolicy(description(made, **changes), lambda inputs: [])
    return ShopPolicy(policy, seller, [f"p{k}" for k in range(made.shape.num_products)])


def figures_of(made: Market, state: market.MarketState, seller: int) -> Figures:
    """What a shop in this seat would know of a simulated market, in money and units."""
    size = (made.shape.num_sellers, made.shape.num_products)

    def by_seller(values: Any) -> np.ndarray:
        return np.asarray(values, np.float64).reshape(size)

    prices = np.roll(by_seller(state.prices), -seller, 0)
    limited = state.stock is not None
    on_hand = by_seller(state.stock + state.pipeline[:, 0]) if limited else np.zeros(size)
    later = by_seller(state.pipeline[:, 1:].sum(-1)) if limited else np.zeros(size)
    return Figures(
        prices[0].tolist(), prices[1:].tolist(), on_hand[seller].tolist(), later[seller].tolist(),
        by_seller(state.demand)[seller].tolist(), by_seller(state.events)[seller].tolist(),
        by_seller(0.0 * state.prices if state.trend is None else state.trend)[seller].tolist(), int(state.epoch),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_sellers", "features"), [(3, ALL), (1, ("events", "proxy_share", "proxy_trend", "own_price"))]
)
def test_it_is_shown_what_it_was_shown_in_training(num_sellers, features) -> None:
    sessions = {"model": "chain", "sessions_per_epoch": 20} if num_sellers == 1 else {}
    made = make(
        sessions, num_sellers=num_sellers, num_products=2, features=list(features)
    )  # fmt: skip
    step = jax.jit(lambda key, state, action: market.step(key, made.shape, state, action, made.params))
    state, seen = programs.reset(jax.random.key(0), made.shape, made.params)
    drawn = np.random.default_rng(0)
    for epoch in range(8):
        for seller in range(num_sellers):
            own = seat(made, seller)
            raw = own.raw(figures_of(made, state, seller))
            np.testing.assert_allclose(own.policy.show([raw], [seller])[0], seen.local[seller], atol=1e-6, rtol=1e-5)
        price = jnp.asarray(drawn.integers(0, LEVELS, (num_sellers, 2)), jnp.int32)
        state, seen, _ = step(jax.random.key(epoch + 1), state, market.Action(price))
    assert float(jnp.abs(state.events).sum()) > 0


def test_a_q_table_prices_by_the_row_of_what_the_shop_sees() -> None:
    made = make({}, num_sellers=1, num_products=2, features=["own_price"])
    values = np.random.default_rng(0).normal(size=(1, 9, 2 * LEVELS)).astype(np.float32)
    about = description(made)
    about["network"] |= {"cell": "table", "bins": 3, "stacked": True, "epsilon": 0.1}
    policy = ExportedPolicy(about, lambda inputs: numpy_step({"table/values": values}, about, **inputs))
    shop_policy, grid = ShopPolicy(policy, 0, ["p0", "p1"]), np.asarray(about["prices"]["levels"][0])
    posted = set()
    for first, second in ((0, 0), (0, -1), (-1, 0), (3, -1)):
        prices = [float(grid[0][first]), float(grid[1][second])]
        nothing = [0.0, 0.0]
        found, _ = shop_policy.step(Figures(prices, [], nothing, nothing, nothing, nothing, nothing, 0), [])
        shown = policy.show([prices], [0])[0]
        row = sum(int(np.round(np.clip(own, -1, 1) + 1)) * 3**place for place, own in enumerate(shown))
        best = values[0, row].reshape(2, LEVELS).argmax(-1)
        assert found == [grid[0][best[0]], grid[1][best[1]]]
        posted.add(tuple(found))
    assert len(posted) > 1


@pytest.mark.parametrize(("price_map", "action", "posted"), [
    ("range", [1.234, 2.5], [1.234, 2.5]), ("adjust", [0.1, 0.3], [1.65, 2.5]),
])  # fmt: skip
def test_continuous_prices_are_posted_as_the_file_says(
    price_map: str, action: list[float], posted: list[float]
) -> None:
    made = make({}, num_products=2, features=["own_price"])
    told = {"map": price_map, "low": [[1.0, 1.0]] * 2, "high": [[2.5, 2.5]] * 2}
    outputs = {
        "price_action": {"type": "float32", "shape": ["batch", 2]},
        "memory_after": {"type": "float32", "shape": ["batch", HIDDEN]},
    }
    answer = [np.array([action], np.float32), np.zeros((1, HIDDEN), np.float32)]
    about = description(made, prices=told, outputs=outputs)
    own = ShopPolicy(ExportedPolicy(about, lambda inputs: answer), 0, ["p0", "p1"])
    nothing = Figures([1.5, 2.2], [[1.5, 1.5]], [0.0] * 2, [0.0] * 2, [0.0] * 2, [0.0] * 2, [0.0] * 2, 0)
    np.testing.assert_allclose(own.step(nothing, [])[0], posted, rtol=1e-6)


def write(path: Path, made: Market, **changes: Any) -> Path:
    """A policy file with weights that nobody trained, and that answer to what they see."""
    about, drawn = description(made, **changes), np.random.default_rng(3)
    width = len(about["observation"]) + (len(about["sellers"]) if len(about["sellers"]) > 1 else 0)
    outputs = LEVELS * about["num_products"]

    def weights(*shape: int) -> np.ndarray:
        return drawn.normal(0.0, 6.0, shape).astype(np.float32)

    tree = {
        "embed": {"kernel": weights(width, HIDDEN), "bias": weights(HIDDEN)},
        "cell": {
            "kernel_in": weights(HIDDEN, 3 * HIDDEN), "kernel_hidden": weights(HIDDEN, 3 * HIDDEN),
            "bias": weights(3 * HIDDEN), "bias_hidden": weights(HIDDEN),
        },
        "head": {"kernel": weights(HIDDEN, HIDDEN), "bias": weights(HIDDEN)},
        "out": {"kernel": weights(HIDDEN, outputs), "bias": weights(outputs)},
    }  # fmt: skip
    path.write_bytes(numpy_file(about, tree, ENTRY))
    return path


CATALOGUE = """id,mode,name,base_price,cost,floor,cap,stock
a,hotel,A,1.60,1,1.0,2.5,50
b,hotel,B,1.80,1,1.0,2.5,50
c,hotel,C,9,1,1,20,
"""


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    made = make({}, num_sellers=2, num_products=2, features=[*ALL])
    (tmp_path / "shop.csv").write_text(CATALOGUE)
    return {
        "pricer": "policy", "policy": str(write(tmp_path / "policy.npz", made)), "policy_seller": 1,
        "policy_products": ["a", "b"], "catalogue": str(tmp_path / "shop.csv"), "max_change": 10.0,
        "max_change_day": 10.0,
    }  # fmt: skip


def play(folder: Path, given: dict[str, Any], restarts: bool) -> list[dict[str, Any]]:
    """Ten windows: a hand with stock, rivals who move, people who look and buy."""
    drawn = np.random.default_rng(4)
    for windows in [range(4), range(4, 7), range(7, 10)] if restarts else [range(10)]:
        with shop(folder, **given) as own:
            for window in windows:
                rival = {"a": float(drawn.uniform(1.1, 2.5)), "b": float(drawn.uniform(1.1, 2.5))}
                if window:
                    assert own.post("/api/rivals", {"prices": {"seller_0": rival}}).status == 200
                if window == 5:
                    assert own.post("/api/stock", {"stock": {"a": 3}, "on_order": {"a": 7.5}}).status == 200
                for number in range(int(drawn.integers(1, 9))):
                    at = 300 * window + number
                    own.event("view_item_page", at, f"{window}-{number}", product="a")
                    own.event("purchase_complete", at, f"{window}-{number}", product="a")
                own.until(300 * (window + 1))
            vectors = own.service._reader.vectors()
            records = own.service._reader.read(1, 100_000)
    assert json.dumps(replay(records, policies_in(folder))) == json.dumps(vectors)
    return vectors


def test_a_policy_prices_through_restarts_and_replays(tmp_path: Path, given) -> None:
    whole = play(tmp_path / "one", given, restarts=False)
    parts = play(tmp_path / "three", given, restarts=True)
    assert [vector["prices"] for vector in whole] == [vector["prices"] for vector in parts]
    assert whole[0]["prices"] == {"a": 1.6, "b": 1.8, "c": 9.0}
    assert whole[0]["lines"]["a"]["moved_by"] == ["no_rival_prices"]  # the base price until somebody tells them
    chosen = {vector["prices"]["a"] for vector in whole[1:]}
    assert len(chosen) > 1 and all(vector["prices"]["c"] == 9.0 for vector in whole)
    with pytest.raises(ValueError, match="accepted is a fold that is given its policies"):
        replay(_records(tmp_path / "one"))


def _records(folder: Path) -> Any:
    from marl_pricing.serving.sqlite_log import SqliteLog

    return SqliteLog(folder / "events.sqlite").read(1, 100_000)


def test_an_episode_begins_as_in_training_and_begins_anew() -> None:
    made = make({}, num_sellers=1, features=["own_price", "demand", "time"], episode_length=3)
    seen: list[tuple[Any, Any]] = []

    def run(inputs: dict[str, Any]) -> list[Any]:
        seen.append((inputs["observation"][0], inputs["memory"][0].copy()))
        return [np.array([[5]]), np.zeros((1, 1, LEVELS)), inputs["memory"] + 1.0]

    own = ShopPolicy(ExportedPolicy(description(made), run), 0, ["a"])
    state = State()
    for _ in range(4):
        prices, why = own.decide(state, [1.5], [20.0], [0.0], [None])
        assert why is None and prices == [pytest.approx(float(made.params.prices.levels[0, 5]))]
    assert [memory[0] for _, memory in seen] == [0.0, 1.0, 2.0, 0.0]
    assert [float(observation[1]) for observation, _ in seen] == [0.0, 2.0, 2.0, 0.0]  # 20 of 10 sessions
    assert [float(observation[2]) for observation, _ in seen] == pytest.approx([0.0, 1 / 3, 2 / 3, 0.0])


def test_a_trend_is_from_one_epoch_with_events_to_the_next() -> None:
    """As `market` has it: none before two such epochs, and none over an epoch in which nothing happened."""
    made = make({"model": "chain"}, num_sellers=1, num_products=2, features=["proxy_trend"], inventory=UNLIMITED)
    seen: list[list[float]] = []

    def run(inputs: dict[str, Any]) -> list[Any]:
        seen.append(inputs["observation"][0].tolist())
        return [np.array([[5, 5]]), np.zeros((1, 2, LEVELS)), inputs["memory"]]

    own, state = ShopPolicy(ExportedPolicy(description(made), run), 0, ["a", "b"]), State()
    for events in ([9.0, 9.0], [3.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]):
        own.decide(state, [1.5, 1.5], [0.0, 0.0], events, [None, None])
    scale = description(made)["observation"][0]["scale"][0]
    assert [first * scale for first, _ in seen] == pytest.approx([0.0, 0.0, -0.25, 0.0, 0.0, -1.0])


def test_a_policy_that_a_shop_cannot_play_is_refused(tmp_path: Path, given) -> None:
    def refused(**changes: Any) -> str:
        with pytest.raises(ConfigError) as error:
            Service(ServeSettings(out=str(tmp_path / "shop"), **given | changes))
        return str(error.value)

    assert refused(policy=None) == "policy: has to be given for pricer=policy"
    assert refused(pricer="surge").startswith("policy='") and "null for pricer=surge" in refused(pricer="surge")
    assert refused(policy_seller=2) == "policy_seller=2: accepted is 0 to 1, a seat of the policy"
    assert refused(policy_products=["a"]).startswith("policy_products=['a']: accepted is 2 ids")
    assert (
        refused(policy_products=["a", "x"]) == "policy_products='x': accepted is the id of a product of the catalogue"
    )
    assert "accepted is a file of `export format=flax`" in refused(policy="policy.onnx")
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    assert refused(policy=str(tmp_path / "broken.npz")).startswith("policy: ")
    made = make({}, num_sellers=1, reward={"unit_cost": 1.0}, features=["own_price"])
    with pytest.raises(ConfigError, match="it observes cash, which a shop cannot tell"):
        seat(made, observation=[description(made)["observation"][0] | {"feature": "cash"}])
    rivals = make({}, num_sellers=2, features=["own_price"])
    with pytest.raises(
        ConfigError, match="it observes proxy_share, which a shop with rivals cannot tell: accepted are own"
    ):
        seat(rivals, observation=[description(rivals)["observation"][0] | {"feature": "proxy_share"}])
    with pytest.raises(ConfigError, match="it orders from suppliers too"):
        seat(made, orders={"levels": [0.0, 1.0]})


def test_feeds_are_checked(tmp_path: Path, given) -> None:
    with shop(tmp_path / "shop", **given) as own:
        for path, body, field in (
            ("/api/stock", {"stock": {"x": 1}}, "stock"), ("/api/stock", {"stock": {"a": -1}}, "stock.a"),
            ("/api/stock", {}, "stock"), ("/api/stock", {"units": {}}, "units"),
            ("/api/stock", {"on_order": 3}, "on_order"),
            ("/api/rivals", {"prices": {"seller_1": {"a": 1}}}, "prices"),
            ("/api/rivals", {"prices": {"seller_0": {"a": "1"}}}, "prices.seller_0.a"), ("/api/rivals", {}, "prices"),
        ):  # fmt: skip
            answer = own.post(path, body)
            assert answer.status == {"stock": 404, "prices": 409}.get(field, 422) or body == {}, answer.body
            assert answer.json["field"] == field
        assert own.post("/api/stock", b"[").status == 400
    with shop(tmp_path / "other", catalogue=given["catalogue"]) as own:
        assert own.post("/api/stock", {"stock": {"a": 4}}).status == 200
        assert "no pricer looks at rivals" in own.post("/api/rivals", {"prices": {"x": {"a": 1}}}).json["error"]
