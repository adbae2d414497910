"""`kafleet dev`: one agent on a laptop, with a broker inside. Nothing in here is part of what runs in pods."""
