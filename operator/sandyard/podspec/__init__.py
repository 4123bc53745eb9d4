"""Pure: a template becomes a Pod, a network profile becomes a NetworkPolicy."""
