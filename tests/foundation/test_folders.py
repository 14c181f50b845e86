"""Files of a folder: links, loops and order."""

from __future__ import annotations

from flairnb.folders import files_below


def test_links_are_followed_to_each_real_folder_once_and_loops_end(tmp_path):
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for folder in (data / "b", elsewhere):
        folder.mkdir(parents=True)
        (folder / "one.txt").touch()
    (data / "a.txt").touch()
    (data / "link").symlink_to(elsewhere)
    (data / "link_again").symlink_to(elsewhere)
    (data / "b" / "up").symlink_to(data)
    (elsewhere / "above").symlink_to(tmp_path)
    (data / "b" / "linked.txt").symlink_to(data / "a.txt")
    found = [path.relative_to(data).as_posix() for path in files_below(data)]
    assert found == ["a.txt", "b/linked.txt", "b/one.txt", "link/one.txt"]


def test_an_empty_or_absent_folder_has_no_files(tmp_path):
    assert list(files_below(tmp_path)) == list(files_below(tmp_path / "none")) == []
