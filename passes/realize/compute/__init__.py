"""What each integer kernel computes, in TE: definitions only, no schedule and no target."""
