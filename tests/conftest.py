"""For all tests."""

# Its pytest plugin imports it when the summary is printed, deep in the stack, where the parser of
# Python 3.11.7 fails ("AST constructor recursion depth mismatch"): import it before.
import hypothesis

# An example that is slow speaks of the machine, which does other things beside.
hypothesis.settings.register_profile("sandyard", deadline=None)
hypothesis.settings.load_profile("sandyard")
