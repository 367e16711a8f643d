"""The page for those who come from cmdop has every row of its table, and each promise on it is watched by tests."""

import re
from pathlib import Path

import pytest
from tests.mcp.test_reference import names

PAGE = Path(__file__).parents[2] / "docs" / "coming-from-cmdop.md"
# What another machine, or another system, would be needed for, and what was left out on purpose.
NOT_HERE = {3, 4, 5, 6, 12, 18, 23, 26, 27, 30, 59, 80, 82, 84, 87, 88}
LATER = {3, 4, 5, 26, 84, 87}
ROWS: dict[int, str] = {
    1: "a_dialogue_is_led_with_expect",
    2: "one_order_of_parameters_in_both",
    7: "the_client_starts_a_daemon",
    8: "no_daemon_is_unreachable",
    9: "the_guides_programs_run_as_they_stand",
    10: "s12_directory_and_socket_are_for_their_owner_alone",
    11: "a_key_logs_a_browser_in_with_its_own_level",
    13: "s14_a_server_of_another_user_is_refused",
    14: "as_json_a_new_key_is_told_with_its_value",
    15: "an_error_inside_a_block_closes_the_session_and_comes_through",
    16: "a_transport_that_is_no_socket",
    17: "only_this_machine_can_be_chosen",
    19: "settings_come_from_arguments_then_from_the_environment",
    20: "an_answer_that_does_not_come_is_a_time_out",
    21: "a_daemon_without_a_sign_of_life_is_given_up_and_asked_again",
    22: "a_busy_daemon_is_asked_again",
    24: "a_body_beyond_the_limit_is_not_read",
    25: "errors_have_a_code_a_hint_and_say_whether_to_try_again",
    28: "errors_are_json",
    29: "every_operation_has_a_method_with_all_its_parameters",
    31: "a_terminal_by_its_id",
    32: "a_terminal_by_its_id",
    33: "a_terminal_by_its_id",
    34: "a_terminal_by_its_id",
    35: "the_modes_are_kept",
    36: "a_terminal_by_its_id",
    37: "a_terminal_by_its_id",
    38: "reading_goes_on_from_the_handles_own_place",
    39: "a_terminal_by_its_id",
    40: "an_unknown_signal_is_refused_with_the_names",
    41: "a_terminal_by_its_id",
    42: "execute_keeps_the_order_of_both_streams",
    43: "execute_is_a_child_of_its_own",
    44: "a_shell_is_talked_with_by_callbacks",
    45: "a_terminal_shows_the_screen_and_then_what_comes",
    46: "a_session_is_left_as_it_is_and_taken_up_again",
    47: "a_shell_is_talked_with_by_callbacks",
    48: "a_stream_goes_on_after_the_daemon_was_killed",
    49: "filters_narrow_the_list_which_is_oldest_first",
    50: "only_this_machine_can_be_chosen",
    51: "ready_alive_and_stopping",
    52: "everything_goes_on_after_the_daemon_was_killed",
    53: "detach_and_attach_again_shows_the_same_screen",
    54: "streams_stay_apart_and_the_status_is_the_programs",
    55: "searching_and_moving_by_keys",
    56: "cursor_modes_and_title",
    57: "history_has_commands_with_codes_directories_and_output",
    58: "a_browser_gets_a_page_of_ours_that_is_soon_gone",
    60: "a_ticket_opens_one_terminal_of_its_session",
    61: "files_are_bytes",
    62: "list_in_pages_sorted_and_hidden",
    63: "list_in_pages_sorted_and_hidden",
    64: "the_owner_is_not_kept_to_roots_and_others_are",
    65: "files_are_bytes",
    66: "a_range_of_a_file",
    67: "append_and_if_match",
    68: "files_are_bytes",
    69: "failures_say_what_and_change_nothing",
    70: "delete_never_follows",
    71: "copy",
    72: "move_to_another_file_system",
    73: "mkdir",
    74: "info",
    75: "archives_are_waited_for_with_progress",
    76: "names",
    77: "lines_with_their_neighbours",
    78: "a_file_is_watched_by_its_name",
    79: "info",
    81: "info",
    83: "an_upload_that_is_cut_off_anywhere_goes_on_there",
    85: "a_url_becomes_a_file",
    86: "s30_credentials_are_kept_from_confined_callers",
}
DEFECTS: dict[int, str] = {
    1: "failures_say_what_and_change_nothing",
    2: "copy",
    3: "a_wait_goes_on_with_the_time_that_is_left",
    5: "one_order_of_parameters_in_both",
    6: "a_terminal_by_its_id",
    7: "a_large_file_is_streamed_with_flat_memory",
    8: "everything_goes_on_after_the_daemon_was_killed",
    9: "no_daemon_is_unreachable",
    10: "execute_is_a_child_of_its_own",
    11: "the_modes_are_kept",
    12: "what_a_callback_raises_is_raised_and_not_swallowed",
    13: "a_shell_is_talked_with_by_callbacks",
    16: "a_forgotten_stream_warns_and_is_closed",
}


def table(heading: str) -> dict[int, str]:
    """Return what stands in the last column of a section's table, by number."""
    section = PAGE.read_text("utf-8").split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|$", section, re.MULTILINE)
    assert len(rows) == len(dict(rows)), "a number stands twice"
    return {int(number): text for number, text in rows}


def test_the_page_has_every_row() -> None:
    rows = table("Clients") | table("Terminal") | table("Files")
    assert sorted(rows) == list(range(1, 89))
    assert {number for number, text in rows.items() if text.startswith("later")} == LATER
    assert set(ROWS) == set(rows) - NOT_HERE
    assert set(DEFECTS) == set(table("What went wrong there"))


@pytest.mark.parametrize("promises", [ROWS, DEFECTS], ids=["rows", "defects"])
def test_every_promise_of_the_page_has_a_test(promises: dict[int, str]) -> None:
    there = names()
    assert {number: name for number, name in promises.items() if f"test_{name}" not in there} == {}
