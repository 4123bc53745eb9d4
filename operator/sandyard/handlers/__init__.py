"""Where it comes in: kopf watches Sandboxes and pools and hands each event to the engine."""
