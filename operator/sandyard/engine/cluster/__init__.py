"""What the engine reads and writes in the cluster, each kind of thing in a file of its own."""
