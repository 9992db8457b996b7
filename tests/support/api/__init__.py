"""For tests of the REST facade: `issuer` (keys and tokens), `serving` (the application on a real server), `objects`
(raw objects for its cache)."""
