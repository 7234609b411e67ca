// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: drivers/terminal.c
// The screen's terminal: what a text with control sequences leaves on a grid of 10 x 4.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "drivers/terminal.h"
#include "kernel/kstring.h"
#include "shim.h"

#define COLUMNS 10
#define ROWS	4

static struct terminal t;
static struct terminal_cell cells[COLUMNS * ROWS];

static int fresh(void **state)
{
	terminal_init(&t, cells, COLUMNS, ROWS);
	return 0;
}

static void write_text(const char *text)
{
	terminal_write(&t, text, strlen(text));
}

// All rows, blanks at their ends cut, each ended with '|'.
static void expect_screen(const char *expected)
{
	char got[ROWS * (COLUMNS + 1) + 1];
	size_t len = 0;
	for (unsigned row = 0; row < ROWS; row++) {
		size_t end = len;
		for (unsigned x = 0; x < COLUMNS; x++) {
			got[len++] = (char)terminal_row(&t, row)[x].code;
			if (got[len - 1] != ' ')
				end = len;
		}
		len = end;
		got[len++] = '|';
	}
	got[len] = 0;
	assert_string_equal(got, expected);
}

static void expect_cursor(unsigned x, unsigned y)
{
	assert_int_equal(t.x, x);
	assert_int_equal(t.y, y);
}

static void lines_and_scrolling(void **state)
{
	write_text("one\ntwo\nthree\nfour\nfive");
	expect_screen("two|three|four|five|");
	expect_cursor(4, 3);
	write_text("\n\n");
	expect_screen("four|five|||");
}

static void a_full_row_wraps_only_with_the_next_character(void **state)
{
	write_text("0123456789");
	expect_screen("0123456789||||");
	write_text("\n");
	expect_cursor(0, 1);
	write_text("abcdefghijK");
	expect_screen("0123456789|abcdefghij|K||");
	write_text("\x1b[2;10HZ\r!");
	expect_screen("0123456789|!bcdefghiZ|K||");
}

static void cursor_moves_stay_inside(void **state)
{
	write_text("\x1b[9999;9999H*");
	expect_screen("|||         *|");
	write_text("\x1b[99A\x1b[99D<\x1b[2B\x1b[3C>\x1b[2G^\x1b[H@");
	expect_screen("@||"
		      " ^  >"
		      "|         *|");
	expect_cursor(1, 0);
}

static void erasing(void **state)
{
	const char *full = "\x1b[Haaaaaaaaa\nbbbbbbbbb\nccccccccc\nddddddddd\x1b[2;4H";
	write_text(full);
	write_text("\x1b[K");
	expect_screen("aaaaaaaaa|bbb|ccccccccc|ddddddddd|");
	write_text(full);
	write_text("\x1b[1K");
	expect_screen("aaaaaaaaa|    bbbbb|ccccccccc|ddddddddd|");
	write_text(full);
	write_text("\x1b[J");
	expect_screen("aaaaaaaaa|bbb|||");
	write_text(full);
	write_text("\x1b[1J");
	expect_screen("|    bbbbb|ccccccccc|ddddddddd|");
	write_text("\x1b[2J");
	expect_screen("||||");
	expect_cursor(3, 1);
}

static void backspace_and_tab(void **state)
{
	write_text("abc\b\bX\tY");
	expect_screen("aXc     Y||||");
	write_text("\r0123456789\bZ");
	expect_screen("01234567Z9||||");
}

static void colours(void **state)
{
	write_text("\x1b[1;31mA\x1b[7mB\x1b[0;44mC\x1b[mD");
	assert_int_equal(cells[0].attribute, 0x0c);
	assert_int_equal(cells[1].attribute, 0xc0);
	assert_int_equal(cells[2].attribute, 0x17);
	assert_int_equal(cells[3].attribute, 0x07);
}

static void utf8_is_decoded_and_damage_shows(void **state)
{
	write_text("\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\xc3(\xff\x80");
	static const uint16_t expected[] = {0xfc, 0x20ac, '?', '?', '(', '?', '?'};
	for (unsigned n = 0; n < ARRAY_SIZE(expected); n++)
		assert_int_equal(cells[n].code, expected[n]);
}

static void the_cursor_hides_and_comes_back(void **state)
{
	write_text("\x1b[?25l");
	assert_true(t.cursor_hidden);
	write_text("\x1b[?25h\x1b[3;3H\x1b[s\x1b[H\x1b[u");
	assert_false(t.cursor_hidden);
	expect_cursor(2, 2);
}

static void unknown_sequences_print_nothing(void **state)
{
	write_text("\x1b[5;6;7;8;9;10;11;12;13;14z\x1b(Bx");
	assert_int_equal(t.lost, 2);
	expect_screen("Bx||||");
}

// Painting only what terminal_changed names shows what is there.
static void paint_changed(struct terminal_cell shown[ROWS][COLUMNS])
{
	unsigned from, to;

	terminal_changed(&t, &from, &to);
	for (unsigned row = 0; row < ROWS; row++) {
		if (row >= from && row < to)
			memcpy(shown[row], terminal_row(&t, row), sizeof(shown[row]));
		assert_memory_equal(shown[row], terminal_row(&t, row), sizeof(shown[row]));
	}
	terminal_changed(&t, &from, &to);
	assert_true(from >= to);
}

static void noise_stays_on_the_grid_and_is_painted(void **state)
{
	static struct terminal_cell shown[ROWS][COLUMNS];
	static const char likely[] = "\x1b[;?0123456789ABCDGHfJKmsuhl\b\t\n\r\xc3\xe2\xf0\x80";
	shim_seed();
	for (unsigned n = 0; n < 300000; n++) {
		char c = shim_random_below(4) ? likely[shim_random_below(sizeof likely - 1)]
					      : (char)shim_random();
		terminal_write(&t, &c, 1);
		assert_in_range(t.x, 0, COLUMNS);
		assert_in_range(t.y, 0, ROWS - 1);
		if (!shim_random_below(3))
			paint_changed(shown);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(lines_and_scrolling, fresh),
	    cmocka_unit_test_setup(a_full_row_wraps_only_with_the_next_character, fresh),
	    cmocka_unit_test_setup(cursor_moves_stay_inside, fresh),
	    cmocka_unit_test_setup(erasing, fresh),
	    cmocka_unit_test_setup(backspace_and_tab, fresh),
	    cmocka_unit_test_setup(colours, fresh),
	    cmocka_unit_test_setup(utf8_is_decoded_and_damage_shows, fresh),
	    cmocka_unit_test_setup(the_cursor_hides_and_comes_back, fresh),
	    cmocka_unit_test_setup(unknown_sequences_print_nothing, fresh),
	    cmocka_unit_test_setup(noise_stays_on_the_grid_and_is_painted, fresh),
	};
	return cmocka_run_group_tests_name("terminal", tests, NULL, NULL);
}
