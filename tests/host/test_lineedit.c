// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: kernel/lineedit.c drivers/terminal.c kernel/string.c
// The line editor, judged by what a terminal of 20 columns shows and by the line it gives.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "drivers/terminal.h"
#include "kernel/kstring.h"
#include "kernel/lineedit.h"
#include "shim.h"

#define COLUMNS 20
#define ROWS	5
#define UP	"\x1b[A"
#define DOWN	"\x1b[B"
#define RIGHT	"\x1b[C"
#define LEFT	"\x1b[D"
#define HOME	"\x1b[H"
#define END	"\x1b[F"
#define DELETE	"\x1b[3~"
#define INSERT	"\x1b[2~"

static struct lineedit edit;
static struct terminal screen;
static struct terminal_cell cells[COLUMNS * ROWS];
static enum lineedit_event last;

static void write_screen(void *ctx, const char *text, size_t len)
{
	terminal_write(&screen, text, len);
}

static unsigned complete_word(void *ctx, const char *text, size_t from, size_t to, char *add,
			      size_t size)
{
	static const char *const words[] = {"volumes", "version", "down"};
	unsigned ways = 0;
	add[0] = 0;
	for (size_t n = 0; n < ARRAY_SIZE(words); n++) {
		if (strncmp(words[n], text + from, to - from))
			continue;
		const char *rest = words[n] + (to - from);
		size_t common = 0;
		while (ways && add[common] && add[common] == rest[common])
			common++;
		if (ways++)
			add[common] = 0;
		else
			kstrlcpy(add, rest, size);
	}
	return ways;
}

static int fresh(void **state)
{
	terminal_init(&screen, cells, COLUMNS, ROWS);
	edit = (struct lineedit){
	    .prompt = ":", .columns = COLUMNS, .write = write_screen, .complete = complete_word};
	lineedit_start(&edit);
	last = LINE_NONE;
	return 0;
}

static void type(const char *keys)
{
	for (; *keys; keys++)
		last = lineedit_byte(&edit, (uint8_t)*keys);
}

static void enter(const char *keys)
{
	type(keys);
	type("\r");
	assert_int_equal(last, LINE_DONE);
	lineedit_start(&edit);
}

static void expect(const char *line, unsigned cursor)
{
	assert_string_equal(edit.text, line);
	assert_int_equal(edit.cursor, cursor);
	assert_int_equal(edit.len, strlen(line));
}

// The row the cursor is in, and its column.
static void expect_row(const char *text, unsigned x)
{
	char row[COLUMNS + 1];
	size_t end = 0;
	for (unsigned n = 0; n < COLUMNS; n++) {
		row[n] = (char)terminal_row(&screen, screen.y)[n].code;
		if (row[n] != ' ')
			end = n + 1;
	}
	row[end] = 0;
	assert_string_equal(row, text);
	assert_int_equal(screen.x, x);
}

static void a_line_is_typed_and_taken(void **state)
{
	type("hello");
	expect_row(":hello", 6);
	type("\r");
	assert_int_equal(last, LINE_DONE);
	expect("hello", 5);
	type("\n"); // CR LF is one key
	assert_int_equal(last, LINE_NONE);
}

static void keys_move_and_edit(void **state)
{
	type("bcd" HOME "a" END "f" LEFT "e");
	expect("abcdef", 5);
	expect_row(":abcdef", 6);
	type(LEFT LEFT DELETE "\x7f");
	expect("abef", 2);
	expect_row(":abef", 3);
	type(RIGHT RIGHT RIGHT RIGHT "g");
	expect("abefg", 5);
	type("\x01\x04\x05\x02\x06\x06!\x08");
	expect("befg", 4);
	expect_row(":befg", 5);
}

static void other_terminals_keys(void **state)
{
	type("bc\x1bOH"
	     "a"
	     "\x1bOF"
	     "d"
	     "\x1b[1~"
	     "0"
	     "\x1b[4~"
	     "e"
	     "\x1b[7~"
	     "\x1b[8~"
	     "\x1b[1;5C");
	expect("0abcde", 6);
	static const char *const f1[] = {"\x1bOP", "\x1b[11~", "\x1b[[A"};
	for (size_t n = 0; n < ARRAY_SIZE(f1); n++) {
		type(f1[n]);
		assert_int_equal(last, LINE_HELP);
	}
	expect("0abcde", 6);
}

static void overwriting(void **state)
{
	type("abcd" HOME INSERT "XY");
	expect("XYcd", 2);
	expect_row(":XYcd", 3);
	type(END "Z" INSERT HOME "_");
	expect("_XYcdZ", 1);
}

static void erasing_to_start_end_and_word(void **state)
{
	type("one two three" LEFT LEFT "\x17");
	expect("one two ee", 8);
	type("\x17");
	expect("one ee", 4);
	type("\x0b");
	expect("one ", 4);
	type(LEFT "\x15");
	expect(" ", 0);
	expect_row(":", 1);
}

static void history_goes_up_and_down_and_keeps_the_draft(void **state)
{
	enter("first");
	enter("second");
	enter("second"); // not kept twice
	enter("");	 // not kept
	type("draft" UP);
	expect("second", 6);
	type(UP);
	expect("first", 5);
	type(UP);
	expect("first", 5);
	type(DOWN DOWN);
	expect("draft", 5);
	type(DOWN);
	expect("draft", 5);
	type(UP "!\r");
	assert_string_equal(edit.text, "second!");
}

static void history_keeps_the_last_hundred(void **state)
{
	char line[16];
	for (unsigned n = 0; n < 250; n++) {
		snprintf(line, sizeof line, "line %u", n);
		enter(line);
	}
	for (unsigned n = 0; n < 120; n++)
		type(UP);
	expect("line 150", 8);
}

static void a_long_line_scrolls_sideways(void **state)
{
	type("abcdefghijklmnopqrstuvwxyz");
	expect_row(":ijklmnopqrstuvwxyz", 19);
	type(HOME);
	expect_row(":abcdefghijklmnopqr", 1);
	type(END LEFT);
	expect_row(":hijklmnopqrstuvwxy", 19);
	type("\r");
	assert_string_equal(edit.text, "abcdefghijklmnopqrstuvwxyz");
}

static void a_line_has_an_end(void **state)
{
	for (unsigned n = 0; n < 400; n++)
		type("x");
	assert_int_equal(edit.len, LINEEDIT_BYTES - 1);
	type("\x01y\x0b");
	assert_int_equal(edit.len, 0);
}

static void tab_completes(void **state)
{
	type("d\t");
	expect("down ", 5);
	type("\x15v\t");
	expect("v", 1);
	type("o\t");
	expect("volumes ", 8);
	type("zz\t");
	expect("volumes zz", 10);
	type("\x15"
	     "ver\t");
	expect("version ", 8);
	expect_row(":version", 9);
}

static void hiding_and_showing_keeps_the_line_and_cursor(void **state)
{
	type("hello" LEFT LEFT);
	lineedit_hide(&edit);
	write_screen(NULL, "a log line\n", 11);
	lineedit_show(&edit);
	expect_row(":hello", 4);
	type("X");
	expect("helXlo", 4);
	expect_row(":helXlo", 5);
}

static void giving_a_line_up(void **state)
{
	type("rm everything\x03");
	assert_int_equal(last, LINE_NONE);
	expect("", 0);
	expect_row(":", 1);
}

static void other_bytes_are_kept_and_shown_as_question_marks(void **state)
{
	type("\xc3\xbc");
	expect("\xc3\xbc", 2);
	expect_row(":??", 3);
}

// Whatever is typed: the line is terminated, the cursor inside, and the row shows what is in the line.
static void noise_keeps_line_and_screen_in_step(void **state)
{
	static const char likely[] =
	    "ab \x1b[ABCDHF~O123;\x01\x02\x04\x05\x06\x08\x0b\x0e\x10\x15\x17\t\r";
	shim_seed();
	for (unsigned n = 0; n < 200000; n++) {
		uint8_t byte = shim_random_below(5)
				   ? (uint8_t)likely[shim_random_below(sizeof likely - 1)]
				   : (uint8_t)shim_random();
		if (lineedit_byte(&edit, byte) == LINE_DONE)
			lineedit_start(&edit);
		assert_int_equal(strlen(edit.text), edit.len);
		assert_in_range(edit.cursor, 0, edit.len);
		size_t first = edit.cursor > COLUMNS - 2 ? edit.cursor - (COLUMNS - 2) : 0;
		assert_int_equal(screen.x, 1 + edit.cursor - first);
		for (size_t i = 0; i < COLUMNS - 2 && first + i < edit.len; i++) {
			uint8_t c = (uint8_t)edit.text[first + i];
			assert_int_equal(terminal_row(&screen, screen.y)[1 + i].code,
					 c < ' ' || c >= 0x7f ? '?' : c);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(a_line_is_typed_and_taken, fresh),
	    cmocka_unit_test_setup(keys_move_and_edit, fresh),
	    cmocka_unit_test_setup(other_terminals_keys, fresh),
	    cmocka_unit_test_setup(overwriting, fresh),
	    cmocka_unit_test_setup(erasing_to_start_end_and_word, fresh),
	    cmocka_unit_test_setup(history_goes_up_and_down_and_keeps_the_draft, fresh),
	    cmocka_unit_test_setup(history_keeps_the_last_hundred, fresh),
	    cmocka_unit_test_setup(a_long_line_scrolls_sideways, fresh),
	    cmocka_unit_test_setup(a_line_has_an_end, fresh),
	    cmocka_unit_test_setup(tab_completes, fresh),
	    cmocka_unit_test_setup(hiding_and_showing_keeps_the_line_and_cursor, fresh),
	    cmocka_unit_test_setup(giving_a_line_up, fresh),
	    cmocka_unit_test_setup(other_bytes_are_kept_and_shown_as_question_marks, fresh),
	    cmocka_unit_test_setup(noise_keeps_line_and_screen_in_step, fresh),
	};
	return cmocka_run_group_tests_name("lineedit", tests, NULL, NULL);
}
