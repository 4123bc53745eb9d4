"""What belongs to the process: settings, metrics, HTTP, leadership."""
