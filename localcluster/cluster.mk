# The local cluster: included by ../Makefile. OCORE_CLUSTER names another one than the default.
##@ Local cluster
cluster: ## A Kubernetes of one node on this machine, ready to use (Docker and kind where they are there)
	localcluster/cluster up

cluster-down: ## End the local cluster and delete all of its state
	localcluster/cluster down

cluster-status: ## What runs in the local cluster, and where
	localcluster/cluster status

images: ## Build the images whose inputs changed and load them into the local cluster
	localcluster/cluster images

.PHONY: cluster cluster-down cluster-status images
