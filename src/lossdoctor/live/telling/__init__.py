"""Telling people: through logging, webhooks, and when a run stands still."""
