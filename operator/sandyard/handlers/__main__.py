"""``python -m sandyard.handlers``."""

from sandyard.handlers.main import main

main()
