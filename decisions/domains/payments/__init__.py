"""Payments: which interventions to apply to an attempt, learned from logged authorisations."""
