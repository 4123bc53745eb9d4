"""What a pod shows: the only place where its status is interpreted."""
