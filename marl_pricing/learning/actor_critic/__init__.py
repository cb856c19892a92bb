"""What learners with an actor and a critic share: networks, values, targets, advantages, gradient steps."""
