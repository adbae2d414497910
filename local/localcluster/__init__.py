"""A local Kubernetes with a local Kafka for machines without Docker; the standard library is all it needs."""
