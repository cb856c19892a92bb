"""A policy in the simulator and behind a live shop: the same prices, epoch by epoch, and the same figures."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import market
from marl_pricing.export.export import ExportSettings, export
from marl_pricing.export.reading import load_policy
from marl_pricing.serving.trial.__main__ import main
from marl_pricing.studies.loading import load_run
from tests.export.test_export import make_run
from tests.serving.asking import shop

EPOCHS = 30


@pytest.mark.slow
def test_a_live_shop_plays_as_the_simulator_does(tmp_path: Path) -> None:
    """Seller 0 is the shop: orders come as purchases over HTTP, rivals' prices and stock as feeds, and nothing else."""
    grid = ["market.prices.low=1.0", "market.prices.high=2.4", "market.prices.num_price_levels=15"]
    seen_of = "market.features=[own_price,rival_price,stock,on_order,demand,time]"
    run = make_run(tmp_path / "run", *grid, seen_of, "learner.num_seeds=2")
    file = tmp_path / "policy.npz"
    export(ExportSettings(run=str(run), format="flax", out=str(file), seed=1))
    policy = load_policy(file)
    # An evaluation names the policies that it played as their files do.
    assert load_run(run, "latest").digests[1] == policy.about["provenance"]["parameters_sha256"]
    shape, params = load_run(run, "latest").experiment.market
    step = jax.jit(lambda key, state, action: market.step(key, shape, state, action, params))
    state, seen = market.reset(jax.random.key(0), shape, params)
    start = float(state.prices[0])
    (tmp_path / "shop.csv").write_text(
        f"id,mode,name,base_price,cost,floor,cap,stock\na,hotel,A,{start:.2f},0.5,0.9,2.5,{float(state.stock[0])}\n"
    )
    memory, played = policy.start(2), []
    given = {"pricer": "policy", "policy": str(file), "policy_products": ["a"]}
    with shop(
        tmp_path / "shop", catalogue=str(tmp_path / "shop.csv"), max_change=9.0, max_change_day=9.0, **given
    ) as own:
        own.event("search")  # opens the first window
        for epoch in range(EPOCHS):
            rival = {"prices": {"seller_1": {"a": float(state.prices[1])}}}
            assert own.post("/api/rivals", rival).status == 200
            own.until(300 * (epoch + 1))
            told = policy.step(np.asarray(seen.local), [0, 1], memory)
            memory, action = told["memory_after"], jnp.asarray(told["price_index"], jnp.int32)
            state, seen, outcome = step(jax.random.key(epoch + 1), state, market.Action(action))
            live = own.get("/api/hotel/price/a").json
            played.append((live["price"], round(float(outcome.prices[0]), 4)))
            orders = round(float(outcome.demand[0]))
            assert orders == float(outcome.demand[0])
            for number in range(orders):
                own.event("purchase_complete", 300 * (epoch + 1) + 1 + number / 100, f"{epoch}-{number}", product="a")
            ready, later = float(state.stock[0] + state.pipeline[0, 0]), float(state.pipeline[0, 1:].sum())
            assert own.post("/api/stock", {"stock": {"a": ready + orders}, "on_order": {"a": later}}).status == 200
    assert [a for a, _ in played] == pytest.approx([b for _, b in played], abs=1e-4)
    assert len({a for a, _ in played}) > 1  # it answers to what it sees


@pytest.mark.slow
def test_shoppers_over_http_are_the_simulated_markets(tmp_path: Path, capsys) -> None:
    """Twelve epochs of what `python -m marl_pricing.serving.trial life` plays 200 of."""
    run = make_run(
        tmp_path / "run", "market.num_sellers=1", "market.num_products=2", "traffic=chain", "traffic.agent_share=0.4",
        "market.agent={level_sensitivity: 0.5}", "traffic.sessions_per_epoch=40", "market/inventory=unlimited",
        "market.level.volatility=0", "market.features=[own_price,demand,events,proxy_share,proxy_trend,time]",
    )  # fmt: skip
    episode = load_run(run, "latest").experiment.market.shape.episode_length
    epochs = min(12, episode)
    assert main(["life", f"run={run}", f"epochs={epochs}", "runs=16", "seed=1"]) == 0
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()] == ["revenue", "orders", "proxy", "share", "inputs"]
    assert main(["life", f"run={run}", f"epochs={episode + 1}"]) == 2
    assert f"epochs={episode + 1}: accepted is at most the episode's {episode}" in capsys.readouterr().err
