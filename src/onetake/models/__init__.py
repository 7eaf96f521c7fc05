"""What a model is, where its weights are, and how it is loaded."""
