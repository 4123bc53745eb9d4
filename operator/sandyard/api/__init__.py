"""What users write and read: the kinds, their fields, and every name that is a promise."""
