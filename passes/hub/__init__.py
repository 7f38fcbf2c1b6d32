"""The Q/DQ form and what describes it: nothing here changes a model."""
