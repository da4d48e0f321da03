"""What is measured across generations."""
