"""Requests to the API server, and logs: what the operator and the REST facade share.

`transport` has the connection, `types` the resource types, `errors` what a request can raise; `logs` configures
structured logs. No decision about any kind belongs here.
"""
