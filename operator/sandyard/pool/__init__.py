"""Pure: what a pool's pods are, and what to create, hand out, replace and delete."""
