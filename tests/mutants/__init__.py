"""Guards, each taken out by a small patch, and the tests that must fail then (docs: CONTRIBUTING.md, "Mutants")."""
