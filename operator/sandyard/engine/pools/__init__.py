"""Pools: one look at one, and what is done about it."""
