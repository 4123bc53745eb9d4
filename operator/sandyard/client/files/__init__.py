"""Files of a sandbox, and copies of them."""
