"""Agents: who acts, and what is learned from a batch."""
