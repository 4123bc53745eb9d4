"""For all tests."""

# Its pytest plugin imports it when the summary is printed, deep in the stack, where the parser of
# Python 3.11.7 fails ("AST constructor recursion depth mismatch"): import it before.
import hypothesis  # noqa: F401
