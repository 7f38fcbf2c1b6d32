"""What quantization did to each tensor of a model: figures, tables, one HTML page, and advice in words."""
