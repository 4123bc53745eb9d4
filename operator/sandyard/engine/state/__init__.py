"""One entry for each object: what is known of it, kept up to date as changes arrive, and dropped whole."""
