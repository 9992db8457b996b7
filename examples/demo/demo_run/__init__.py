"""What ``make demo`` runs: a snapshot and a rollback of a running application, with everything they need."""
