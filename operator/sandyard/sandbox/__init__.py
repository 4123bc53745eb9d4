"""Pure: phases and conditions of a Sandbox, its expiry, the order of its teardown."""
