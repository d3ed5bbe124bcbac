"""Changed settings of many samples are one line of the log."""

import logging

from imap.runs.request import Found, log_found


def test_changed_settings_are_told_once_for_all_samples(caplog):
    caplog.set_level(logging.INFO)
    changed = Found(True, ["settings.seed", "settings.fps"])
    log_found({"000-a": changed, "001-b": Found(False), "002-c": Found(True)})
    log_found({"000-a": changed, "001-b": Found(True, ["settings.seed", "settings.height"])})
    assert caplog.messages == [
        "000-a: settings have changed (seed, fps); the new result replaces the old one",
        "2 samples: settings have changed (seed, fps, height); the new results replace the old ones",
    ]
    assert [one.is_finished for one in (changed, Found(False), Found(True), Found(True, [], ["a"]))] == [
        False,
        False,
        True,
        False,
    ]
