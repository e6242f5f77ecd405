"""What joins GoTaskQ to frameworks; each is imported only by those who use it."""
