.DEFAULT_GOAL := help
.PHONY: help demo test test-all soak lint unit adapters api api-oldest cluster-tests attack faults mutants bench bench-loop bench-many bench-admission dashboard profile generate lock up down clean

help: # Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Start a cluster (or use KUBECONFIG), install Sandyard, show a sandbox (a minute; the first time 15)
	@python3 hack/demo

test: ## Run every check and test: lint, unit, API server, real cluster (half an hour)
	@hack/test

test-all: test adapters soak mutants bench-loop ## Run every check, test and measurement, the long ones too (hours)

soak: ## Run the long forms of the tests that have a short one (an hour and a half; SANDYARD_SEED repeats a run)
	@SANDYARD_SOAK=1 hack/test -m soak

lint: ## Run the static checks (a minute)
	@hack/lint

unit: ## Run the unit tests (a quarter of an hour)
	@hack/test tests/unit

adapters: # Run the adapters' tests, with the packages that they are for (five minutes)
	@hack/adapters

api: ## Run the tests against a real API server, without a node (ten minutes)
	@hack/test tests/api

api-oldest: ## Run those against the oldest Kubernetes that is supported (ten minutes; the first time 20)
	@SANDYARD_TEST_KUBERNETES=oldest hack/test tests/api -m "not newest"

cluster-tests: ## Run the tests on a real cluster with gVisor (half an hour)
	@hack/test tests/cluster -m "not attack"

attack: ## Try every attack of tests/attacks, on the API server and on real sandboxes (half an hour)
	@hack/test tests/api/test_attacks.py tests/api/test_pod_security.py tests/cluster/test_attacks.py -v

faults: ## Put every fault between operator and API server, and write docs/faults.md (an hour)
	@SANDYARD_SOAK=1 SANDYARD_FAULTS_REPORT=docs/faults.md hack/test tests/api/test_faults.py tests/api/test_faults_around.py tests/api/test_faults_gone.py tests/api/test_faults_outages.py -s

bench: ## Measure claims beside a sketch of the claim path, and write docs/performance.md (half an hour)
	@hack/bench --report docs/performance.md

bench-many: ## Measure an operator with 10,000 pods and 10,000 Sandboxes (a quarter of an hour)
	@hack/bench-many

bench-admission: ## Measure what admission policies cost each write of a life (a minute)
	@hack/bench-admission

dashboard: # Draw docs/dashboard.svg from what an operator shows while claims come (five minutes)
	@hack/dashboard

profile: ## Show where time goes in operator and API server while claims come (a minute)
	@hack/profile

bench-loop: ## Measure what the operator's loop costs as pools grow (a minute, no cluster)
	@hack/bench-loop

mutants: ## Put each bug of tests/mutants into a copy of the tree; its test must notice (half an hour)
	@hack/mutants

generate: ## Write the CRDs and the pages that are made of the sources (seconds)
	@hack/setup && .venv/bin/python hack/generate

lock: # Resolve the dependencies anew
	@hack/lock

up: ## Start the local cluster (seconds)
	@hack/cluster up

down: ## Stop the local cluster; only the cache of built tools and images stays (seconds)
	@hack/cluster down

clean: ## Remove that cache of 2.3 to 10 GB (seconds; the next start builds all again)
	@hack/cluster clean
