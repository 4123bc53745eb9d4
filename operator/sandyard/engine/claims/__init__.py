"""The way of a Sandbox to a warm pod: its place in a queue, the choice, the write."""
