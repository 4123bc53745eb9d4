"""What keeps the engine turning: queues of keys, timers, and the clock."""
