"""Everything that is written down: SQL, artefacts, experiment tracking."""
