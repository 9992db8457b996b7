"""The REST facade: requests become custom resources, watches become answers and server-sent events. It holds no state
of its own.

Rooms, from the bottom: `views` (the fields of answers and requests, pure), `auth` (who asks, and what they may see),
`cache` (a watch cache of our kinds: every read), `http` (errors, limits, audit, metrics), `writes` (custom resources),
`streams` (server-sent events), `routes` (the operations).
"""
