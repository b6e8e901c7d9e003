"""What the supervisors of one worker process share: leases, wake-ups, clocks."""
