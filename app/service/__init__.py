"""Use cases: functions of (services, …) that the web, the tasks and the ticks call.

No framework, no SQL text, no Redis command.
"""
