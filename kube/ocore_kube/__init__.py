"""Requests to the API server: what the operator and the REST facade share.

`transport` has the connection, `types` the resource types, `errors` what a request can raise. No decision about any kind belongs here.
"""
