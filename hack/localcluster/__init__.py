"""A real Kubernetes cluster on one Linux machine, without Docker or a registry.

etcd, API server, controller manager, scheduler, kubelet, containerd, kube-proxy and an
enforcing network policy controller run as plain processes inside a network namespace of
their own; pods run under gVisor (RuntimeClass handler ``runsc``) or runc.  A second
namespace plays the outside world, so no packet of a test leaves the machine.

It needs Python's standard library, Go (to build the tools once), root, and a handful of
Debian packages that it installs by itself.
"""
