"""Participants of an experiment with a shop: what each is to do there, who is a person and who an agent, what came.

The methodology's first half: a pool of goals, runs that draw from it, an assignment of a goal to every participant,
whose name the storefront sends along as `experimentId`. The log then tells whose each session was.
"""
