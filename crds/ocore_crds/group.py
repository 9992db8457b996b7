"""Group and version of the kinds."""

GROUP = "ocore.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
