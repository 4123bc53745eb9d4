"""How Sandyard reaches a Kubernetes cluster: client, informer, lease. No Sandyard words here."""
