"""Our own shoppers, learned from a log of the prices that sessions were shown and of what they ordered."""
