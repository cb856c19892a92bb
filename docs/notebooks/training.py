# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train, look, ask
#
# Two sellers that look to their own profit (ω = 1), for a few updates; then what they do, and what answers them best.

# %%
import marl_pricing

changes = {"market.num_sellers": 2, "learner.num_updates": 6, "learner.num_envs": 16, "run.evaluate_every": 2}
run = marl_pricing.train("competitive", changes, folder="runs/notebook")

# %% [markdown]
# `evaluations` is play on shoppers that no training meets: *greedy* takes the most probable price, *sampled* draws as
# training does. While the two differ, training is not over. Six updates are not enough; three hundred are.

# %%
seen = run.evaluations.pivot_table(index="update", columns="policy", values="profit", aggfunc="sum")
print(seen)

# %% [markdown]
# The policies sit at the table of the run's own environment. Memory is theirs; `act` keeps it.

# %%
env, players = run.env(), run.players(seed=0)
observations, infos = env.reset(seed=3)
posted = []
for _ in range(10):
    actions = players.act(observations, infos)
    posted.append(dict(actions))
    observations, rewards, terminations, truncations, infos = env.step(actions)
print(posted[0], "…", posted[-1])

# %% [markdown]
# `run.evaluate()` makes the whole report; [how to read it](../reading_a_report.md).
