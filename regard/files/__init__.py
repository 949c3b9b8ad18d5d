"""Files: opened with bounds, read as lines or JSON, and written whole."""

from regard.files.lines import LONGEST_LINE, TextForm, check_encoding, decoded, read_lines, text_form, too_long
from regard.files.opening import LONGEST_TEXT, bounded, opened, plain_suffix, read_whole
from regard.files.plain_json import parse_json, parse_object, read_json
from regard.files.writing import cache_folder, json_line, sha256, write_atomically, written_whole

__all__ = [
    "LONGEST_LINE",
    "LONGEST_TEXT",
    "TextForm",
    "bounded",
    "cache_folder",
    "check_encoding",
    "decoded",
    "json_line",
    "opened",
    "parse_json",
    "parse_object",
    "plain_suffix",
    "read_json",
    "read_lines",
    "read_whole",
    "sha256",
    "text_form",
    "too_long",
    "write_atomically",
    "written_whole",
]
