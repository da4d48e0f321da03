"""Industrial decisions under uncertainty: train, judge, promote, replay."""
