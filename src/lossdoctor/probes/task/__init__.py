"""What kind of task a model is trained for, and short trainings of it."""
