"""Make a board with the real pins: `make_pins.py DIR`. Run with an interpreter that has pins."""

import sys
import time

import pandas as pd
import pins


def main(directory: str) -> None:
    """Write two versions of one pin and one of another."""
    board = pins.board_folder(directory, versioned=True, allow_pickle_read=False)
    frame = pd.DataFrame({"animal": ["bear", "bass"], "legs": [4, 0]})
    board.pin_write(frame, "zoo", type="csv", title="The zoo", description="animals", metadata={"rows": 2})
    time.sleep(1.1)  # a version's name begins with its second
    board.pin_write(frame[:1], "zoo", type="csv", title="The zoo", metadata={"rows": 1})
    board.pin_write({"a": 1}, "settings", type="json")


if __name__ == "__main__":
    main(sys.argv[1])
