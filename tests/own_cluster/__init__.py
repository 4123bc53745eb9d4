"""Tests that make a cluster of their own: they may run beside those of tests/cluster."""
