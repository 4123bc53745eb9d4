"""Programs in known languages."""
