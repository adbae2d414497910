"""Kafleet's operator: reads resources, makes topics and Deployments, reports."""
