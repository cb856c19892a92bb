"""Runs as the doors see them: train one, load one, train a whole study and evaluate it."""
