"""Chromium without a window, and without anything that it does of its own accord. The headless shell starts with a
third of the processor time of the whole browser."""

BROWSER = (
    "chromium-headless-shell", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
