"""Commands, in the foreground and in the background, shells, terminals and processes."""
