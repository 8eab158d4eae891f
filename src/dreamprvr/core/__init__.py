"""Reading and writing files safely, shared by all parts of the project."""
