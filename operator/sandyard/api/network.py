"""What a sandbox may talk to, and who may talk to it."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from sandyard.api.model import ApiModel, Selector, rules

__all__ = ["AllowRule", "Dns", "EgressProfile", "IngressPeer", "Network", "NetworkPort"]


class Dns(ApiModel):
    """Name resolution of the sandbox."""

    nameservers: Annotated[
        list[
            Annotated[
                str,
                Field(max_length=45, json_schema_extra=rules(("isIP(self)", "must be an IP address such as 1.1.1.1"))),
            ]
        ],
        Field(min_length=1, max_length=3, description="Name servers to use instead of the cluster's."),
    ]


class NetworkPort(ApiModel):
    """A port, by its number and protocol."""

    port: Annotated[int, Field(ge=1, le=65535, description="Port number.")]
    protocol: Annotated[Literal["TCP", "UDP", "SCTP"], Field(description="Protocol.")] = "TCP"


class IngressPeer(ApiModel):
    """Who may open connections to the sandbox, and to which ports."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.podSelector) || has(self.namespaceSelector)",
                "set podSelector, namespaceSelector or both ({} selects all)",
            ),
        )
    )

    pod_selector: Annotated[
        Selector | None,
        Field(description="Pods that may connect; of the sandbox's own namespace unless namespaceSelector is set."),
    ] = None
    namespace_selector: Annotated[Selector | None, Field(description="Namespaces whose pods may connect.")] = None
    ports: Annotated[list[NetworkPort], Field(min_length=1, max_length=32, description="Ports that may be reached.")]


EgressProfile = Literal["None", "DNS", "Internet", "AllowList"]


class AllowRule(ApiModel):
    """Addresses that may be reached, and on which ports."""

    cidr: Annotated[
        str,
        Field(
            min_length=1,
            max_length=50,
            description="Addresses, for example 198.51.100.0/24 or 2001:db8::7/128.",
            json_schema_extra=rules(
                (
                    # Older API servers cannot tell what a comparison of ranges costs, and refuse it.
                    "isCIDR(self) && cidr(self) in [cidr(self).masked()]",
                    "must be a range such as 198.51.100.0/24, without host bits (a single address: 198.51.100.7/32)",
                )
            ),
        ),
    ]
    ports: Annotated[
        list[NetworkPort] | None, Field(min_length=1, max_length=32, description="Ports; omitted: all.")
    ] = None


class Network(ApiModel):
    """What the sandbox may talk to. The API server and cloud metadata are out of reach under every profile."""

    model_config = pydantic.ConfigDict(
        json_schema_extra=rules(
            (
                "(has(self.egress) && self.egress == 'AllowList') == has(self.allow)",
                "allow belongs to egress AllowList: set both or neither",
            ),
        )
    )

    egress: Annotated[
        EgressProfile,
        Field(
            description="None: nothing at all, not even DNS. DNS: names are resolved, by the cluster's DNS or "
            "dns.nameservers; note that data can leave by that way too. Internet: everything but private, link-local, "
            "metadata and cluster ranges, and DNS. AllowList: what allow lists, and dns.nameservers if set."
        ),
    ] = "None"
    allow: Annotated[
        list[AllowRule] | None, Field(min_length=1, max_length=64, description="What egress AllowList may reach.")
    ] = None
    ingress_from: Annotated[
        list[IngressPeer] | None, Field(max_length=16, description="Who may connect to the sandbox; default: nobody.")
    ] = None
