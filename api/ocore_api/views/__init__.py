"""The fields of every request and answer, and pure functions that make them from resources.

`models` describes them: it makes the OpenAPI document and docs/rest-api-fields.md, and the tests check every answer
against it. `requests` has the bodies of requests; they are validated. `rows` makes snapshots and rollback logs,
`settings` the settings, `events` the data of server-sent events. Answers are JSON-ready dictionaries: a facade that
built a model for each of 50,000 objects would start too slowly.
"""
