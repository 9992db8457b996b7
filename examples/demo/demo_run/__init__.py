"""What ``make demo`` runs: a snapshot, a rollback, a staging copy and an undo of a running application, with everything
they need."""
