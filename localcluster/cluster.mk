# The local cluster: included by ../Makefile. OCORE_CLUSTER names a cluster other than the default.
##@ Local cluster
cluster: ## Start a one-node Kubernetes on this machine (kind, if Docker and kind are installed)
	localcluster/cluster up

cluster-down: ## Stop the local cluster and delete all of its state
	localcluster/cluster down

cluster-status: ## Show what runs in the local cluster
	localcluster/cluster status

images: ## Build the images whose inputs changed and load them into the local cluster
	localcluster/cluster images

.PHONY: cluster cluster-down cluster-status images
