"""Search on top of the model: a library of videos, its engine, and the moments it answers with."""
