"""One Sandbox and its connection: what every part of the client is given."""
