"""Pages of the documentation that are made from the code, and what they are made with."""
