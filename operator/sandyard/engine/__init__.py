"""What moves: queues, claims, refill, teardown. Here pure decisions meet the cluster."""
