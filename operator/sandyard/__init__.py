"""Sandyard: isolated sandboxes in milliseconds from warm pools of gVisor pods.

This package's own import is kept empty: ``python -m sandyard.probe`` runs it in every
sandbox before the tenant's process, so each import here would be paid at every pod start.
"""

__version__ = "0.1.0"
