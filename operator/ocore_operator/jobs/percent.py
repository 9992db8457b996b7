"""The percentage of an operation, from the weights of its steps and the bytes of the running ones. Pure."""

from collections.abc import Collection, Mapping

from ocore_crds.protocol import ProgressReport, Step

#: Rough shares of an operation's time. A step that is missing here counts 1.
WEIGHTS: dict[Step, int] = {
    Step.PREPARE: 2,
    Step.DUMP_DATABASE: 45,
    Step.COPY_FILESTORE: 40,
    Step.CAPTURE_CONFIG: 1,
    Step.PUBLISH: 4,
    Step.VERIFY: 8,
    Step.PREFLIGHT: 2,
    Step.RESTORE_DATABASE: 50,
    Step.RESTORE_FILESTORE: 25,
    Step.CHECK: 5,
    Step.NEUTRALIZE: 5,
    Step.QUIESCE: 4,
    Step.SWITCH: 3,
    Step.RESUME: 3,
    Step.HEALTH_CHECK: 5,
    Step.SWITCH_BACK: 3,
    Step.CLEANUP: 3,
}
#: Never 100 before the operation has ended: a bar at 100 that still runs is misleading (velero#7798).
MOST = 99


def fraction(report: ProgressReport | None) -> float:
    """How much of a step is done, 0 to 1, by bytes, else by files."""
    if report is None:
        return 0.0
    for done, total in ((report.bytes_done, report.bytes_total), (report.files_done, report.files_total)):
        if total > 0:
            return min(max(done / total, 0.0), 1.0)
    return 0.0


def percent(order: Collection[Step], done: Collection[Step], running: Mapping[Step, ProgressReport]) -> int:
    """The percentage of the whole operation, 0 to 99."""
    total = sum(WEIGHTS.get(s, 1) for s in order)
    if total == 0:
        return 0
    reached = sum(WEIGHTS.get(s, 1) * (1.0 if s in done else fraction(running.get(s))) for s in order)
    return min(int(100 * reached / total), MOST)
