"""What every request passes, independent of what it asks for.

`edge` (the one layer around the application: token, limits, request id, security headers, audit, metrics), `problems`
(RFC 9457), `refusals` (what the API server refuses, as a problem), `limits` (rates and streams), `audit` (one line per
write), `metrics` (by route).
"""
