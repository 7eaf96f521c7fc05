"""How the embedded model was made: data, training, evaluation. Not in the package."""
