"""`dreamer bench`: what a gradient step, an action, an environment and a stretch of training cost here."""
