"""Environments in processes that Gymnasium forks."""

import gymnasium

import marl_pricing  # noqa: F401

if __name__ == "__main__":
    gymnasium.make_vec("MarlPricing/OneSeller-v0", 2, "async").reset(seed=0)
