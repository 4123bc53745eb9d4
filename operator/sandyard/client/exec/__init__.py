"""One command in a sandbox, from its beginning to its end."""
