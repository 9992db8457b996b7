"""Writes the pictures of the documentation: ``python -m ocore_website.pictures [--check]``.

With ``--check`` nothing is written: the exit code is 1 if a file differs.
"""

import argparse
import sys
from pathlib import Path

from .drawing import Picture

FOLDER = Path(__file__).resolve().parents[2] / "docs/pictures"


def components() -> Picture:
    """Who may do what."""
    p = Picture("Components and their rights: only the Job has the Secrets, only the operator has rights", 880, 400)
    p.box(20, 30, 200, 80, "you\nkubectl, Argo CD, Flux\nREST clients: over the facade", "plain")
    p.box(320, 30, 200, 80, "API server\nEnvironment, SnapshotStore,\nSnapshot, Rollback, policy", "plain")
    p.box(620, 30, 240, 80, "operator\ncreates Jobs, scales workloads\nreads no Secret, runs no exec")
    p.arrow((220, 70), (318, 70))
    p.arrow((520, 70), (618, 70), both=True)
    p.box(620, 170, 240, 80, "Job (mover)\nSecrets as files, the claim\nno token of the API server")
    p.arrow((740, 110), (740, 168))
    p.label(750, 144, "starts", 80)
    p.box(320, 170, 200, 80, "PostgreSQL and files\nread in a snapshot,\nrestored beside in a rollback", "yours")
    p.arrow((620, 210), (522, 210), both=True)
    p.box(20, 170, 200, 80, "application\nruns in a snapshot,\nstops in a rollback: seconds", "yours")
    p.arrow((220, 210), (318, 210), both=True)
    p.box(620, 300, 240, 80, "store\nS3 or a claim\nmanifest, dump, tar, index", "yours")
    p.arrow((740, 250), (740, 298), both=True)
    p.box(
        20,
        300,
        500,
        80,
        "what the operator cannot do\nread a Secret, enter a pod, connect to a database or a store\nrun other Jobs",
        "kept",
    )
    return p


def snapshot() -> Picture:
    """One snapshot under writes."""
    p = Picture("One snapshot on a time line: the application writes all the time", 880, 380)
    p.label(20, 30, "time", 60, bold=True)
    p.arrow((60, 26), (860, 26))
    p.box(20, 50, 840, 44, "application: writes all the time", "yours")
    p.box(20, 130, 130, 60, "link\nolder files", "ours")
    p.box(170, 130, 200, 60, "freeze: part of a second\nlink new files, export", "kept")
    p.box(390, 130, 220, 60, "dump\npg_dump of the exported moment", "ours")
    p.box(390, 210, 220, 60, "copy\nthe linked files, into packs", "ours")
    p.box(630, 130, 110, 140, "manifest\nwritten last,\nread back", "ours")
    p.box(760, 130, 100, 140, "Complete\nevery SHA-256\nchecked", "yours")
    p.arrow((150, 160), (168, 160))
    p.arrow((370, 160), (388, 160))
    p.arrow((370, 175), (380, 175), (380, 240), (388, 240))
    p.arrow((610, 160), (628, 160))
    p.arrow((610, 240), (628, 240))
    p.arrow((740, 200), (758, 200))
    p.line(270, 94, 270, 128, dashed=True)
    p.label(278, 114, "the one moment that the snapshot shows", 300)
    p.box(
        20,
        300,
        410,
        60,
        "a file that is deleted after this moment\nis in the snapshot: its link keeps the bytes",
        "plain",
    )
    p.box(
        450,
        300,
        410,
        60,
        "a row that is committed after this moment\nis not in the snapshot, and its file is not either",
        "plain",
    )
    return p


def rollback() -> Picture:
    """One rollback, with downtime and undo window."""
    p = Picture("One rollback on a time line: restore beside, seconds of downtime, undo window", 880, 400)
    p.label(20, 30, "time", 60, bold=True)
    p.arrow((60, 26), (860, 26))
    p.label(20, 62, "application", 90, bold=True)
    p.box(110, 44, 300, 44, "runs on the live data", "yours")
    p.box(410, 44, 120, 44, "stopped: seconds", "stop")
    p.box(530, 44, 330, 44, "runs on the snapshot", "yours")
    p.label(20, 134, "Jobs", 90, bold=True)
    p.box(110, 112, 70, 60, "one Job\nprobes", "ours")
    p.box(180, 112, 140, 60, "restores beside\nthe live one", "ours")
    p.box(320, 112, 80, 60, "checks,\nconnects", "ours")
    p.box(400, 112, 130, 60, "waits, then\ntwo renames", "kept")
    p.box(540, 112, 150, 60, "no Job:\npods must be ready", "plain")
    p.label(20, 222, "live data", 90, bold=True)
    p.box(110, 200, 360, 44, "live, and users write to it", "yours")
    p.box(470, 200, 390, 44, "set aside, undo makes it live again", "kept")
    p.label(20, 284, "snapshot", 90, bold=True)
    p.box(110, 262, 360, 44, "restored and checked, closed to users", "plain")
    p.box(470, 262, 390, 44, "live", "yours")
    p.line(470, 88, 470, 111, dashed=True)
    p.line(470, 172, 470, 348, dashed=True)
    p.label(110, 336, "a failure up to here: nothing was changed", 300)
    p.label(860, 336, "not ready: switched back automatically", 380, "end")
    p.box(470, 350, 390, 36, "undo window: a day by default", "kept")
    return p


def month() -> Picture:
    """Full and differential snapshots, and what retention keeps of them."""
    p = Picture("A month of snapshots: fulls each week, differentials each day, and what retention keeps", 880, 330)
    p.label(20, 30, "keepDaily: 7, keepWeekly: 4, fullEvery: 7d, seen on the last day", 500, bold=True)
    for day in range(28):
        week, weekday = divmod(day, 7)
        full, x = weekday == 0, 30 + day * 29.5
        kept = day >= 21 or weekday == 6
        needed = full and not kept
        height = 110 if full else 20 + 9 * weekday
        colour = "yours" if kept else "kept" if needed else "plain"
        p.box(x, 180 - height, 24, height, "F" if full else "d", colour)
        if full:
            p.label(x, 200, f"week {week + 1}", 80)
    p.line(20, 182, 860, 182)
    p.box(30, 225, 250, 40, "kept by keepDaily or keepWeekly", "yours")
    p.box(300, 225, 290, 40, "kept: a differential still needs it", "kept")
    p.box(610, 225, 250, 40, "deleted with its data", "plain")
    p.label(
        30,
        300,
        "F: every file. d: what its full one lacks: it grows until the next F. The database is dumped whole each time.",
        830,
    )
    return p


def stores() -> Picture:
    """Two stores and two clusters."""
    p = Picture("Two stores and two clusters: each snapshot is copied, and another cluster imports it", 880, 330)
    p.box(20, 40, 240, 90, "cluster A\nEnvironment shop\nstoreRef: near, remoteStoreRef: far", "ours")
    p.box(340, 40, 200, 90, "store near\nbucket in the same region\nwritten first", "yours")
    p.box(340, 210, 200, 90, "store far\nanother region and account\nthe same bytes and keys", "yours")
    p.box(20, 210, 240, 90, "cluster B, after a loss\nSnapshotStore with import: true\nSnapshots come back", "ours")
    p.arrow((260, 85), (338, 85))
    p.arrow((440, 130), (440, 208))
    p.label(450, 174, "a Job copies each Complete snapshot", 300)
    p.arrow((338, 255), (262, 255))
    p.box(620, 40, 240, 90, "near is lost\nrollbacks read far", "kept")
    p.box(620, 210, 240, 90, "cluster A is lost\ncluster B rolls back from far", "kept")
    return p


def neutralising() -> Picture:
    """A copy of production is neutralised before anything can start on it."""
    p = Picture("Neutralising: the copy is closed until it is proven that mail, jobs and payments are off", 880, 300)
    p.box(20, 40, 160, 90, "production\nruns, unchanged", "yours")
    p.box(230, 40, 160, 90, "snapshot\nin the store", "yours")
    p.arrow((180, 85), (228, 85))
    p.box(440, 40, 190, 90, "copy, closed\nmarked pending", "stop")
    p.arrow((390, 85), (438, 85))
    p.label(392, 30, "Restore", 70)
    p.box(680, 40, 180, 90, "neutralised\nscripts or odoo neutralize", "ours")
    p.arrow((630, 85), (678, 85))
    p.box(680, 180, 180, 90, "asserted\nno mail, jobs, payments", "ours")
    p.arrow((770, 130), (770, 178))
    p.box(440, 180, 190, 90, "marked neutralized\nthe switch checks the mark", "kept")
    p.arrow((680, 225), (632, 225))
    p.box(230, 180, 160, 90, "staging\nruns on the copy", "yours")
    p.arrow((440, 225), (392, 225))
    p.box(20, 180, 160, 90, "not proven\nstaging stays as it was", "stop")
    return p


ALL = (components, snapshot, rollback, month, stores, neutralising)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ocore_website.pictures")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file differs")
    check = parser.parse_args().check
    files = {FOLDER / f"{picture.__name__}.svg": picture().svg() for picture in ALL}
    if not check:
        FOLDER.mkdir(exist_ok=True)
        for path, text in files.items():
            path.write_text(text)
        return
    differ = [path.name for path, text in files.items() if not path.exists() or path.read_text() != text]
    differ += [path.name for path in FOLDER.glob("*.svg") if path not in files]
    if differ:
        sys.exit(f"{', '.join(differ)}: not as drawn. Run `make generate` and commit the result.")


if __name__ == "__main__":
    main()
