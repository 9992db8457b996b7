#!/bin/sh
# A step of a pipeline, with a kubeconfig that has the rights of rights.yaml. The step fails where the deployment must
# not continue.
set -eu
kubectl ocore snapshot shop --namespace shop --before-deployment "${CI_COMMIT_SHA:?set it to the commit}"
