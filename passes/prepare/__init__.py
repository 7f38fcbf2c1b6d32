"""Float to float: one form of each thing."""
