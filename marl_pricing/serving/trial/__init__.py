"""A shop tried as a whole: killed under load, and beside the market that its policy was trained in."""
