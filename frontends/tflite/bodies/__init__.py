"""What each TFLite operator computes: functions of its inputs' names and its options, and their table."""
