"""Who may enter the queue, who is next, and how long it takes. Pure rules."""
