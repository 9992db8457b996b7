"""What a running Job reports, as steps and progress of its owner's status."""
