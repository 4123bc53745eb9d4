"""Sandboxes for programs of others: each module needs an extra of its own, and is imported by whoever uses it."""
