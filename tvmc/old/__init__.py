"""What command lines of the old ``tvmc`` (TVM 0.8 to 0.19) say that TVM 0.27 or tvmq has no such thing for."""
