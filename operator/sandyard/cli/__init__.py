"""The command line ``sandyard``, also as ``kubectl sandyard``."""
