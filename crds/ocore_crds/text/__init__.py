"""Text for people and for Kubernetes: sentences, command lines, quantities, times. Pure."""
