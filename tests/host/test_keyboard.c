// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: drivers/keyboard.c
// Scan codes to characters.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/console.h"
#include "kernel/io.h"
#include "kernel/irq.h"
#include "kernel/keyboard.h"
#include "kernel/kstring.h"
#include "shim.h"

// What the driver's other half calls; not used here.
uint8_t inb(uint16_t port)
{
	return 0xff;
}
void outb(uint16_t port, uint8_t value) {}
const void *acpi_find(const char signature[4])
{
	return NULL;
}
void console_input(uint8_t byte) {}
int irq_attach_line(unsigned line, bool level, bool active_low, irq_handler handler, void *arg,
		    const char *name)
{
	return 0;
}

static struct keyboard keyboard;

static int fresh(void **state)
{
	keyboard = (struct keyboard){0};
	return 0;
}

static void expect_bytes(const uint8_t *codes, size_t count, const char *expected)
{
	char got[100];
	size_t len = 0;
	for (size_t n = 0; n < count; n++)
		len += keyboard_decode(&keyboard, codes[n], got + len);
	got[len] = 0;
	assert_string_equal(got, expected);
}
#define EXPECT_BYTES(expected, ...)                                                                \
	expect_bytes((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}),       \
		     expected)

static void letters_shift_and_caps_lock(void **state)
{
	EXPECT_BYTES("a", 0x1e, 0x9e);
	EXPECT_BYTES("A:", 0x2a, 0x1e, 0x9e, 0x27, 0xa7, 0xaa);
	EXPECT_BYTES("A1", 0x3a, 0xba, 0x1e, 0x9e, 0x02, 0x82);
	EXPECT_BYTES("a!", 0x36, 0x1e, 0x9e, 0x02, 0x82, 0xb6);
	EXPECT_BYTES("a", 0x3a, 0xba, 0x1e);
}

static void every_row_has_its_characters(void **state)
{
	EXPECT_BYTES("1234567890-=", 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13);
	EXPECT_BYTES("qwertyuiop[]", 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27);
	EXPECT_BYTES("asdfghjkl;'`", 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41);
	EXPECT_BYTES("\\zxcvbnm,./", 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53);
	EXPECT_BYTES("\x7f\t\r \x1b*", 0x0e, 0x0f, 0x1c, 0x39, 0x01, 0x37);
}

static void control_makes_control_characters(void **state)
{
	EXPECT_BYTES("\x01\x15\x0c", 0x1d, 0x1e, 0x9e, 0x16, 0x96, 0x26, 0xa6, 0x9d);
	EXPECT_BYTES("\x03", 0xe0, 0x1d, 0x2e, 0xae, 0xe0, 0x9d);
	EXPECT_BYTES("c", 0x2e);
}

static void cursor_keys_are_sequences(void **state)
{
	EXPECT_BYTES("\x1b[A\x1b[B", 0xe0, 0x48, 0xe0, 0xc8, 0xe0, 0x50, 0xe0, 0xd0);
	EXPECT_BYTES("\x1b[D\x1b[C\x1b[H\x1b[F", 0xe0, 0x4b, 0xe0, 0x4d, 0xe0, 0x47, 0xe0, 0x4f);
	EXPECT_BYTES("\x1b[3~\x1b[2~\x1bOP", 0xe0, 0x53, 0xe0, 0x52, 0x3b);
	EXPECT_BYTES("\r/", 0xe0, 0x1c, 0xe0, 0x35);
}

static void print_screen_and_pause_leave_nothing_behind(void **state)
{
	EXPECT_BYTES("*", 0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa);
	EXPECT_BYTES("a", 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5, 0x1e);
	assert_false(keyboard.shift || keyboard.control);
}

static void no_code_writes_more_than_promised(void **state)
{
	shim_seed();
	for (unsigned n = 0; n < 100000; n++) {
		char out[KEYBOARD_MAX_BYTES];
		assert_in_range(keyboard_decode(&keyboard, (uint8_t)shim_random(), out), 0,
				KEYBOARD_MAX_BYTES);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(letters_shift_and_caps_lock, fresh),
	    cmocka_unit_test_setup(every_row_has_its_characters, fresh),
	    cmocka_unit_test_setup(control_makes_control_characters, fresh),
	    cmocka_unit_test_setup(cursor_keys_are_sequences, fresh),
	    cmocka_unit_test_setup(print_screen_and_pause_leave_nothing_behind, fresh),
	    cmocka_unit_test_setup(no_code_writes_more_than_promised, fresh),
	};
	return cmocka_run_group_tests_name("keyboard", tests, NULL, NULL);
}
