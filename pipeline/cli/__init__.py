"""The `taskloom` command: one thin function per verb."""
