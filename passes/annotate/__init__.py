"""What is quantized, and with how many bits."""
