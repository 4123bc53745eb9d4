"""The Sandbox object that a call of ``create`` stands for."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

from sandyard.api import names, rfc3339
from sandyard.client.errors import InvalidArgument

__all__ = ["check_name", "check_seconds", "sandbox"]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
# Ten years, as the schema has it.
_LONGEST_SECONDS = 315_360_000
_ON_EXPIRY = {"delete": "Delete", "stop": "Stop", "suspend": "Suspend"}


def sandbox(
    *, pool: str | None, template: Mapping[str, Any] | str | None, name: str | None, timeout: int | None,
    idle_timeout: int | None, env: Mapping[str, str] | None, network: Mapping[str, Any] | None,
    labels: Mapping[str, str] | None, wait_seconds: int | None, now: float, on_timeout: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The object, named after its pool and by chance where no name is given; *now* in seconds since the epoch.

    Its time counts from its creation, so that it ends whatever becomes of it and of whoever has made it.
    """
    check_name("pool", pool)
    check_name("name", name)
    if on_timeout is not None and on_timeout not in _ON_EXPIRY:
        raise InvalidArgument(f"on_timeout: {on_timeout!r} is none of {', '.join(_ON_EXPIRY)}")
    if on_timeout is not None and timeout is None and idle_timeout is None:
        raise InvalidArgument("on_timeout: there is neither a timeout nor an idle_timeout")
    on_expiry = _ON_EXPIRY[on_timeout] if on_timeout is not None else None
    shape = {"image": template} if isinstance(template, str) else _with_quantities(template or {})
    spec: dict[str, Any] = {"poolRef": {"name": pool}} if pool is not None else {"template": shape}
    if timeout is not None or idle_timeout is not None:
        for what, seconds in (("timeout", timeout), ("idle_timeout", idle_timeout)):
            check_seconds(what, seconds)
        ends = timeout if timeout is not None else idle_timeout
        # In full, since a lifetime of its own takes the place of the pool's as a whole.
        lifetime = {"idleSeconds": idle_timeout, "secondsAfterFinished": ends, "onExpiry": on_expiry,
                    "deadline": rfc3339.timestamp(now + timeout) if timeout is not None else None}  # fmt: skip
        spec["lifetime"] = {key: value for key, value in lifetime.items() if value is not None}
    if env:
        spec["env"] = [{"name": key, "value": value} for key, value in env.items()]
    if network is not None:
        spec["network"] = dict(network)
    if wait_seconds is not None:
        spec["waitSeconds"] = wait_seconds
    made_name = name or f"{(pool or 'sandbox')[:40].rstrip('-.')}-{secrets.token_hex(4)}"
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.SANDBOX_KIND,
        "metadata": {"name": made_name, **({"labels": dict(labels)} if labels else {})},
        "spec": spec,
    }


def _with_quantities(template: Mapping[str, Any]) -> dict[str, Any]:
    """The template, with sizes that are numbers as the text that the API server takes: ``cpu: 0.5``, as in a pod."""
    found = dict(template)
    if isinstance(resources := found.get("resources"), Mapping):
        found["resources"] = {key: _quantity(value) for key, value in resources.items()}
        if isinstance(requests := resources.get("requests"), Mapping):
            found["resources"]["requests"] = {key: _quantity(value) for key, value in requests.items()}
    return found


def _quantity(value: Any) -> Any:
    return f"{value:f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def check_seconds(what: str, seconds: int | None) -> None:
    """Raise `InvalidArgument` unless *seconds* is a time that a Sandbox may live."""
    if seconds is None:
        return
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not 1 <= seconds <= _LONGEST_SECONDS:
        raise InvalidArgument(f"{what}: {seconds!r} is not from 1 to {_LONGEST_SECONDS} seconds; None is for no limit")


def check_name(what: str, name: str | None) -> None:
    """Raise `InvalidArgument` unless *name* may be that of an object: another would lead elsewhere (``../``, ``?``)."""
    if name is not None and not _NAME.fullmatch(name):
        raise InvalidArgument(f"{what}: {name!r} is no name: lower-case letters, digits, '-' and '.', 253 at most")
