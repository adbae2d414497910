"""`kafleet dev`: one agent on a laptop, with a broker inside. Pods never run any of this."""
