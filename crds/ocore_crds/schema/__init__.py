"""From models to schemas, rules in CEL and the reference of fields. Does no I/O."""
