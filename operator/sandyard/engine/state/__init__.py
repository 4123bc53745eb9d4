"""One entry per object: what the engine knows, kept up to date as changes arrive."""
