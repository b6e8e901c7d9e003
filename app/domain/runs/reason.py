"""Why a run, or one attempt of it, ended: the closed list."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why it ended."""

    COMPLETED = "Completed"
    NON_ZERO_EXIT = "NonZeroExit"
    SIGNALLED = "Signalled"
    OOM_KILLED = "OOMKilled"
    OUTPUT_LIMIT = "OutputLimit"
    DISK_LIMIT = "DiskLimit"
    EVICTED = "Evicted"
    NODE_LOST = "NodeLost"
    POD_DELETED = "PodDeleted"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    INVALID_IMAGE = "InvalidImage"
    INVALID_SPEC = "InvalidSpec"
    UNSCHEDULABLE = "Unschedulable"
    QUOTA_EXCEEDED = "QuotaExceeded"
    LAUNCH_FAILED = "LaunchFailed"
    AGENT_LOST = "AgentLost"
    RUN_TIMEOUT = "RunTimeout"
    QUEUE_TIMEOUT = "QueueTimeout"
    QUESTION_UNANSWERED = "QuestionUnanswered"
    CANCELLED_BY_USER = "CancelledByUser"
    CANCELLED_BY_ADMIN = "CancelledByAdmin"
