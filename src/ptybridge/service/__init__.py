"""Behaviour bound to the contract: one dispatcher, and handlers grouped by what they are about."""
