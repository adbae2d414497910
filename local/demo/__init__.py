"""The demo, and what it shares with the end-to-end tests: feeding, reading back, killing, checking."""
