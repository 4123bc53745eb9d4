module sandyard.dev/hack/tools/pod-security

go 1.26.2

require k8s.io/pod-security-admission v0.37.2
