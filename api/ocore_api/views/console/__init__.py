"""The fields of the answers and requests of the console's API, `/console/v1`, and pure functions that make them.

`models` and `requests` describe them as the rooms beside this one do for the API of existing clients. What depends on
the time, or on other objects, is added when an answer is made: an entry of the cache has the rest as JSON.
"""
