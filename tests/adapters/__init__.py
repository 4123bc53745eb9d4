"""Adapters, with the packages that they are for: hack/adapters runs them in an environment that has these."""
