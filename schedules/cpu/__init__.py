"""Rules and the analytic model for CPUs: x86 and ARM alike, from the row."""
