"""What can go wrong when talking to the API server."""

from __future__ import annotations

from typing import Any

__all__ = ["ApiError", "ConfigError", "NotConnected", "TransportError"]


class ConfigError(Exception):
    """There is no usable kubeconfig or service account."""


class TransportError(Exception):
    """No reply arrived; whether the request took effect is not known."""


class NotConnected(TransportError):
    """There was no connection: the request was not sent, and has not taken effect."""


class ApiError(Exception):
    """The API server refused a request.

    Attributes
    ----------
    status
        HTTP status code.
    reason
        ``reason`` of the Status object, for example ``AlreadyExists``.
    message
        What the server said.
    retry_after_seconds
        How long the server asks to wait, where it does.
    """

    def __init__(self, status: int, body: dict[str, Any], retry_after_seconds: float | None = None) -> None:
        self.status = status
        self.reason = str(body.get("reason") or "")
        self.message = str(body.get("message") or "")
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{status} {self.reason}: {self.message}")

    @property
    def not_found(self) -> bool:
        """The object (or its kind) does not exist."""
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """The object has changed since it was read, or exists already."""
        return self.status == 409

    @property
    def already_exists(self) -> bool:
        """A create found an object of that name."""
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def forbidden(self) -> bool:
        """Who asks has no right to it, or there is none: asked of a namespace, it may be on its way out."""
        return self.status in (403, 404)

    @property
    def refused(self) -> bool:
        """What was sent is not taken, by its form or by admission: the same will be refused again."""
        return self.status in (400, 403, 413, 422)

    @property
    def too_large(self) -> bool:
        """The object would be larger than what etcd takes, or the API server's client of it sends."""
        return "request is too large" in self.message or "message larger than max" in self.message

    @property
    def unsure(self) -> bool:
        """A server that fails may have done what was asked before it did."""
        return self.status >= 500 or self.status == 408

    @property
    def gone(self) -> bool:
        """The resource version asked for is too old."""
        return self.status == 410
