"""Builds Jobs: what a command is asked, what it mounts, where it runs. Pure, but for the inputs."""
