"""What learners of action values share: exploration, targets, the loss, a gradient step."""
