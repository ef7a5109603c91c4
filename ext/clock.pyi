"""The processor's time stamp counter."""

def tsc_khz() -> int:
    """Its frequency in kHz, measured for 50 ms against the raw monotonic clock; 0 where there is no such counter."""
