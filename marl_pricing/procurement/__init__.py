"""Bargains and contracts with NegMAS, the only room that knows it.

NegMAS is under the AGPL-3.0 and no part of what `pip install marl-pricing` brings: the extra `procurement` does, and
`library.load` imports it where it is used.
"""
