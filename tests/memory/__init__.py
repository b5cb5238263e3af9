"""What things weigh, that nothing grows, and that nothing is kept."""
