"""Estimates of demand → prices for the next period, under a shop's constraints."""
