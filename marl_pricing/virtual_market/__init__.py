"""Logged promotions → customers as they answer → one policy for all of them (`docs/virtual_market.md`)."""
